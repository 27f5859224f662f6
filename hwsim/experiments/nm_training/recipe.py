"""Say what all methods share in training, and what a training yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["CONTROL", "DENSE", "GATED", "Recipe", "Training"]

DENSE, GATED, CONTROL = "dense", "bdwp-2:8", "control-2:8"
"""Cases that claims name: the reference, the one whose loss is bounded, one that must lose."""


@dataclass(frozen=True)
class Recipe:
    """Everything the methods share; assumed: chosen once on dense training, tuned for no method.

    Attributes
    ----------
    seeds : int
        Independent runs; each has its own split, noise, initial weights and order of batches,
        the same for every method.
    steps, warmup_steps, batch : int
        Optimiser steps, of which the first raise the learning rate linearly before it falls to 0
        as a half cosine; images per step. Enough for dense training of both networks to fit what it
        trains on (a loss below 0.01); shorter runs are among the cases.
    train_images : int
        The rest of the data set is for testing.
    noise : float
        Standard deviation, relative to the images' range.
    """

    seeds: int = 8
    steps: int = 1200
    warmup_steps: int = 20
    batch: int = 16
    train_images: int = 800
    noise: float = 0.15


@dataclass(frozen=True)
class Training:
    """Outcome of one method on one network.

    Attributes
    ----------
    accuracy : float64[seeds]
        Share of test images classified correctly by the weights that FF uses at the end, 0 to 1.
    loss : float64[steps]
        Cross entropy of each step's batch in nats, mean over seeds.
    """

    accuracy: np.ndarray
    loss: np.ndarray
