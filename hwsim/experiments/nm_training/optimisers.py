"""Update dense master weights: stochastic gradient descent with momentum, or Adam.

Every method on a network uses that network's optimiser with the same numbers (assumed: chosen
once, by what dense training reaches). Convolutional networks are commonly trained with momentum,
as SR-STE's and SDGP's recipes are; transformers with Adam, as progressive gradient flow's recipe
is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["OPTIMISERS", "Moments", "Optimiser", "Parameters"]

Parameters = dict[str, Array]

_MOMENTUM = 0.9
_SQUARES_MOMENTUM = 0.999
_EPSILON = 1e-8


class Moments(NamedTuple):
    """Running means of gradients and of their squares (zeros where unused); updates so far."""

    first: Parameters
    second: Parameters
    updates: Array | int

    @classmethod
    def zeros(cls, parameters: Parameters) -> Moments:
        """Return the moments before the first update."""
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        return cls(zeros, zeros, jnp.int32(0))


Update = Callable[[Parameters, Moments, Parameters, Array, float], tuple[Parameters, Moments]]


@dataclass(frozen=True)
class Optimiser:
    """Peak learning rate, weight decay and the rule that uses them.

    ``update(parameters, moments, gradients, rate, weight_decay)`` returns the next parameters and
    moments.
    """

    name: str
    rate: float
    weight_decay: float
    update: Update


def _sgd(
    parameters: Parameters,
    moments: Moments,
    gradients: Parameters,
    rate: Array,
    weight_decay: float,
) -> tuple[Parameters, Moments]:
    """Take v = 0.9 v + g + decay w, w = w - rate v."""
    first = jax.tree.map(
        lambda v, g, w: _MOMENTUM * v + g + weight_decay * w, moments.first, gradients, parameters
    )
    moved = jax.tree.map(lambda w, v: w - rate * v, parameters, first)
    return moved, Moments(first, moments.second, moments.updates + 1)


def _adam(
    parameters: Parameters,
    moments: Moments,
    gradients: Parameters,
    rate: Array,
    weight_decay: float,
) -> tuple[Parameters, Moments]:
    """Take Adam's step with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019)."""
    updates = moments.updates + 1
    first = jax.tree.map(lambda m, g: _MOMENTUM * m + (1 - _MOMENTUM) * g, moments.first, gradients)
    second = jax.tree.map(
        lambda s, g: _SQUARES_MOMENTUM * s + (1 - _SQUARES_MOMENTUM) * g * g,
        moments.second,
        gradients,
    )
    first_scale = 1 / (1 - _MOMENTUM**updates)
    second_scale = 1 / (1 - _SQUARES_MOMENTUM**updates)

    def moved(w: Array, m: Array, s: Array) -> Array:
        step = m * first_scale / (jnp.sqrt(s * second_scale) + _EPSILON)
        return w - rate * (step + weight_decay * w)

    return jax.tree.map(moved, parameters, first, second), Moments(first, second, updates)


OPTIMISERS = {
    optimiser.name: optimiser
    for optimiser in (
        Optimiser("sgd", 0.1, 5e-4, _sgd),
        Optimiser("adam", 2e-3, 1e-2, _adam),
    )
}
"""The optimisers by name."""
