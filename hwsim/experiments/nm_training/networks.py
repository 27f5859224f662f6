"""Two small classifiers of 8x8 images as pure functions of their weights.

Both are as wide as the longest group of any schedule (64, of 8:64), so that every layer but the
dense ones can be masked in every frame. The first layer and the classifier stay dense, as do the
two products of attention, which have no weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hwsim.experiments.nm_training.optimisers import Parameters

__all__ = ["NETWORKS", "Network", "Product", "patches"]

WIDTH = 64
CLASSES = 10
SIDE = 8
_HEADS = 4
_HIDDEN = 64
_BLOCKS = 2
_PATCH = 2
_TOKENS = (SIDE // _PATCH) ** 2
_NORM_EPSILON = 1e-5

Product = Callable[[Array, Array, int], Array]
"""(x[batch, positions, k], w[k, co], input channels) -> y[batch, positions, co]."""


@dataclass(frozen=True)
class Network:
    """Names of a network and its optimiser, initial weights, and logits of images.

    ``apply(parameters, images[batch, 8, 8], product)`` returns float32[batch, 10]; ``product``
    multiplies in the layers that may be sparse.
    """

    name: str
    title: str
    optimiser: str
    initial: Callable[[np.random.Generator], dict[str, np.ndarray]]
    apply: Callable[[Parameters, Array, Product], Array]


def patches(x: Array, stride: int) -> Array:
    """Return float32[batch, oh * ow, 9 * c], the 3x3 neighbourhoods of x[batch, h, w, c].

    Padded by one; within a row the channels of one tap are consecutive.
    """
    batch, height, width, channels = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [
        padded[:, row : row + height : stride, column : column + width : stride]
        for row in range(3)
        for column in range(3)
    ]
    return jnp.concatenate(taps, axis=-1).reshape(batch, -1, 9 * channels)


def _normalise(x: Array, scale: Array) -> Array:
    """Return x[batch, positions, c] with each position's channels at mean 0, variance 1, scaled."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + _NORM_EPSILON) * scale


def _weights(rng: np.random.Generator, k: int, co: int) -> np.ndarray:
    return (rng.standard_normal((k, co)) * np.sqrt(2.0 / k)).astype(np.float32)


def _cnn_initial(rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = {"stem": _weights(rng, 9, WIDTH), "mix": _weights(rng, WIDTH, WIDTH)}
    found |= {name: _weights(rng, 9 * WIDTH, WIDTH) for name in ("down", "deep")}
    scales = {f"{name}.scale": np.ones(WIDTH, np.float32) for name in found}
    return found | scales | {"head": np.zeros((WIDTH, CLASSES), np.float32)}


def _cnn(parameters: Parameters, images: Array, product: Product) -> Array:
    """Convolve 3x3 to 4x4 pixels, 1x1 (shortcut), 3x3 to 2x2 pixels, 3x3 (shortcut)."""

    def layer(name: str, rows: Array) -> Array:
        y = product(rows, parameters[name], WIDTH)
        return jax.nn.relu(_normalise(y, parameters[f"{name}.scale"]))

    stem = patches(images[..., None], 2) @ parameters["stem"]
    x = jax.nn.relu(_normalise(stem, parameters["stem.scale"]))
    x = x + layer("mix", x)
    x = layer("down", patches(x.reshape(-1, 4, 4, WIDTH), 2))
    x = x + layer("deep", patches(x.reshape(-1, 2, 2, WIDTH), 1))
    return x.mean(1) @ parameters["head"]


def _transformer_initial(rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = {
        "embed": _weights(rng, _PATCH**2, WIDTH),
        "position": (0.1 * rng.standard_normal((_TOKENS, WIDTH))).astype(np.float32),
    }
    shapes = {
        "qkv": (WIDTH, 3 * WIDTH),
        "mix": (WIDTH, WIDTH),
        "rise": (WIDTH, _HIDDEN),
        "fall": (_HIDDEN, WIDTH),
    }
    for block in range(_BLOCKS):
        found |= {f"{block}.{name}": _weights(rng, *shape) for name, shape in shapes.items()}
        found |= {f"{block}.scale{i}": np.ones(WIDTH, np.float32) for i in range(2)}
    found["scale"] = np.ones(WIDTH, np.float32)
    return found | {"head": np.zeros((WIDTH, CLASSES), np.float32)}


def _attention(qkv: Array) -> Array:
    """Return softmax(Q K^T / sqrt(d)) V of qkv[batch, tokens, 3 * width], heads side by side."""
    batch, tokens, _ = qkv.shape
    q, k, v = jnp.moveaxis(qkv.reshape(batch, tokens, 3, _HEADS, WIDTH // _HEADS), 2, 0)
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(WIDTH / _HEADS)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, axis=-1), v)
    return mixed.reshape(batch, tokens, WIDTH)


def _transformer(parameters: Parameters, images: Array, product: Product) -> Array:
    """Two pre-norm blocks on sixteen 2x2 patches."""
    tiles = images.reshape(-1, SIDE // _PATCH, _PATCH, SIDE // _PATCH, _PATCH)
    tokens = jnp.swapaxes(tiles, 2, 3).reshape(-1, _TOKENS, _PATCH**2)
    x = tokens @ parameters["embed"] + parameters["position"]
    for block in range(_BLOCKS):
        weight = {name: parameters[f"{block}.{name}"] for name in ("qkv", "mix", "rise", "fall")}
        h = _normalise(x, parameters[f"{block}.scale0"])
        x = x + product(_attention(product(h, weight["qkv"], WIDTH)), weight["mix"], WIDTH)
        h = _normalise(x, parameters[f"{block}.scale1"])
        x = x + product(jax.nn.relu(product(h, weight["rise"], WIDTH)), weight["fall"], _HIDDEN)
    return _normalise(x, parameters["scale"]).mean(1) @ parameters["head"]


NETWORKS = {
    network.name: network
    for network in (
        Network("cnn", "small CNN", "sgd", _cnn_initial, _cnn),
        Network("transformer", "small transformer", "adam", _transformer_initial, _transformer),
    )
}
"""The classifiers by name."""
