"""Split scikit-learn's digits (1797 images of 8x8, 17 levels) by seed, with noise added.

The noise and the small training part are there to leave dense training short of 100 %: on a data
set that everything solves, every method would look alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits

__all__ = ["Split", "batch_order", "split_digits"]

_LEVELS = 16.0


@dataclass(frozen=True)
class Split:
    """Images float32[count, 8, 8] and labels int32[count] to train and to test on."""

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def split_digits(rng: np.random.Generator, train_images: int, noise: float) -> Split:
    """Return a random split; all images keep their noise, of ``noise`` times the full range."""
    digits = load_digits()
    images = digits.images / _LEVELS
    images = images - images.mean()
    images = images + noise * rng.standard_normal(images.shape)
    order = rng.permutation(len(images))
    train, test = order[:train_images], order[train_images:]
    images, labels = images.astype(np.float32), digits.target.astype(np.int32)
    return Split(images[train], labels[train], images[test], labels[test])


def batch_order(rng: np.random.Generator, count: int, batch: int, steps: int) -> np.ndarray:
    """Return int32[steps, batch], indices of each step; every epoch in an order of its own."""
    per_epoch = count // batch
    epochs = -(-steps // per_epoch)
    orders = [rng.permutation(count)[: per_epoch * batch] for _ in range(epochs)]
    return np.concatenate(orders).reshape(-1, batch)[:steps].astype(np.int32)
