"""Multiply activations and weights with other operands in the backward pass than in the forward.

One product Y = X W stands for three in training: FF makes Y, BP the gradient of X, WU that of W.
Which operand is N:M sparse in which of them is the training method's business
(:mod:`models.training.masks`). Convolutions come here as matrix products over patches, so the
groups along Ci and Co are those that an accelerator skips in.

===================  ==========================  =================================  ==============
method               FF                          BP                                 WU
===================  ==========================  =================================  ==============
dense                W                           W                                  X^T dY
sr-ste, mask decay   W masked along Ci           the same masked W                  X^T dY + r
sdgp                 W                           dY masked along Co, dense W        X^T dY
sdwp                 W                           W masked along Co                  X^T dY
bdwp                 W masked along Ci           W masked along Co                  X^T dY + r
===================  ==========================  =================================  ==============

r = lambda (W - W_ff) is SR-STE's regulariser (repository aojunzz/NM-sparsity). The gradient goes
straight through the masks to the dense W.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.lax import stop_gradient

from hwsim.experiments.nm_training.masks import nm_mask
from models.training import TrainingMethod

__all__ = ["Knobs", "Masking", "masked_product"]

RESCALE_EPSILON = 1e-4
"""Keeps SDGP's rescaling from dividing by zero (its authors' code, repository sdgp)."""


@dataclass(frozen=True)
class Masking:
    """What of a method's masks decides the compiled step.

    Attributes
    ----------
    method : TrainingMethod
        Which operand is masked where.
    nm_m : int
        Length of a group.
    is_rescaled : bool
        Whether SDGP's pruned gradient gets back the L1 norm of each sample and channel.
    keeps_smallest : bool
        Whether weight masks keep the smallest magnitudes (a control).
    """

    method: TrainingMethod
    nm_m: int = 1
    is_rescaled: bool = False
    keeps_smallest: bool = False


class Knobs(NamedTuple):
    """What of a method's masks may change from step to step; scalars.

    Attributes
    ----------
    nm_n : int
        Values kept of ``nm_m``; all of them: dense.
    beta : float
        What masked weights are multiplied by in FF, 0 for a binary mask.
    regulariser : float
        SR-STE's lambda.
    """

    nm_n: Array | int
    beta: Array | float = 0.0
    regulariser: Array | float = 0.0


def masked_product(x: Array, w: Array, channels: int, masking: Masking, knobs: Knobs) -> Array:
    """Return x W as ``masking.method`` computes it, with that method's gradients.

    Parameters
    ----------
    x : float32[batch, positions, k]
    w : float32[k, co]
        Dense weights; k is a whole number of taps times ``channels``.
    channels : int
        Input channels Ci. A direction whose channels ``nm_m`` does not divide stays dense.

    Returns
    -------
    float32[batch, positions, co]
    """
    method, nm_m = masking.method, masking.nm_m
    has_groups = {"ci": channels % nm_m == 0, "co": w.shape[1] % nm_m == 0}
    fixed = stop_gradient(w)
    w_ff = fixed
    if method.prunes_forward_weights and has_groups["ci"]:
        mask = nm_mask(fixed, knobs.nm_n, nm_m, 0, keeps_smallest=masking.keeps_smallest)
        w_ff = jnp.where(mask, fixed, fixed * knobs.beta)
    w_bp = w_ff if method is TrainingMethod.SR_STE else fixed
    if method.prunes_backward_weights and has_groups["co"]:
        mask = nm_mask(fixed, knobs.nm_n, nm_m, 1, keeps_smallest=masking.keeps_smallest)
        w_bp = jnp.where(mask, fixed, 0.0)
    prunes_dy = method.prunes_gradients and has_groups["co"]
    nm_n = jnp.asarray(knobs.nm_n, jnp.int32)
    regulariser = jnp.asarray(knobs.regulariser, w.dtype)
    return _product(masking if prunes_dy else None, x, w, w_ff, w_bp, nm_n, regulariser)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(
    pruned: Masking | None,
    x: Array,
    w: Array,
    w_ff: Array,
    w_bp: Array,
    nm_n: Array,
    regulariser: Array,
) -> Array:
    """Return x W_ff; ``pruned`` says how BP prunes dY, None: not at all."""
    del pruned, w, w_bp, nm_n, regulariser
    return x @ w_ff


def _forward(
    pruned: Masking | None,
    x: Array,
    w: Array,
    w_ff: Array,
    w_bp: Array,
    nm_n: Array,
    regulariser: Array,
) -> tuple[Array, tuple[Array, ...]]:
    del pruned
    return x @ w_ff, (x, w, w_ff, w_bp, nm_n, regulariser)


def _backward(
    pruned: Masking | None, kept: tuple[Array, ...], dy: Array
) -> tuple[Array | None, ...]:
    x, w, w_ff, w_bp, nm_n, regulariser = kept
    dy_bp = dy if pruned is None else _prune_gradient(dy, nm_n, pruned)
    dx = dy_bp @ w_bp.T
    dw = jnp.einsum("bpk,bpc->kc", x, dy) + regulariser * (w - w_ff)
    return dx, dw, None, None, None, None


def _prune_gradient(dy: Array, nm_n: Array, masking: Masking) -> Array:
    """Return dY [batch, positions, co] with N of M channels left."""
    kept = jnp.where(nm_mask(dy, nm_n, masking.nm_m, -1), dy, 0.0)
    if not masking.is_rescaled:
        return kept
    whole, left = (jnp.sum(jnp.abs(part), axis=1, keepdims=True) for part in (dy, kept))
    return kept * whole / (left + RESCALE_EPSILON)


_product.defvjp(_forward, _backward)
