"""Choose the N largest magnitudes of every M consecutive values, inside a compiled step.

The rule is that of :mod:`models.sparsify.magnitude`, written for traced arrays: ``nm_n`` may change
from step to step without compiling again, ``nm_m`` decides shapes.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

__all__ = ["nm_mask"]


def nm_mask(
    values: Array, nm_n: Array | int, nm_m: int, axis: int, *, keeps_smallest: bool = False
) -> Array:
    """Return where the ``nm_n`` largest of ``nm_m`` consecutive \\|values\\| lie along ``axis``.

    Parameters
    ----------
    values : float32[...]
        Finite; the length of ``axis`` is a multiple of ``nm_m``.
    nm_n : int
        Values kept per group, possibly traced. Of equal magnitudes the lowest index is kept.
    keeps_smallest : bool
        Turn the choice round: the control that shows what a wrong choice costs.

    Returns
    -------
    bool array of the shape of ``values``
    """
    scores = jnp.moveaxis(jnp.abs(values), axis, -1)
    groups = scores.reshape(*scores.shape[:-1], -1, nm_m)
    mine, others = groups[..., :, None], groups[..., None, :]
    is_better = others < mine if keeps_smallest else others > mine
    index = jnp.arange(nm_m)
    is_earlier_equal = (others == mine) & (index[None, :] < index[:, None])
    # Comparing all pairs of a group beats sorting it: groups are short and lanes are wide.
    rank = jnp.sum(is_better | is_earlier_equal, axis=-1)
    return jnp.moveaxis((rank < nm_n).reshape(scores.shape), -1, axis)
