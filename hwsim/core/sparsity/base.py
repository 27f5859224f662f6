"""The interface of all sparsity patterns, and the pattern that keeps everything."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from hwsim.core.errors import InputError

__all__ = ["Dense", "Mask", "Shape", "SparsityPattern", "index_bits", "require"]

Shape = tuple[int, ...]
Mask = NDArray[np.bool_]


def index_bits(nm_m: int) -> int:
    """Return ⌈log2 m⌉: bits of one index inside an N:M group (0 for m = 1)."""
    return (nm_m - 1).bit_length()


def require(condition: bool, field: str, need: str, found: object) -> None:
    """Raise :class:`InputError` for ``field`` unless ``condition`` holds."""
    if not condition:
        raise InputError(field, need, str(found))


class SparsityPattern(BaseModel, ABC):
    """Interface of all patterns. Shapes are tuples of elements; masks are bool, True = kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def kept(self, shape: Shape) -> int:
        """Return the elements kept in a tensor of ``shape`` (expected count if random)."""

    @abstractmethod
    def sample_mask(self, shape: Shape, rng: np.random.Generator) -> Mask:
        """Return a random mask of ``shape`` that obeys the pattern."""

    @abstractmethod
    def check(self, mask: Mask) -> bool:
        """Return whether ``mask`` obeys the pattern."""

    @abstractmethod
    def metadata_bits(self, shape: Shape) -> int:
        """Return the bits that say where the kept elements are, in this pattern's format."""

    @abstractmethod
    def density(self) -> float:
        """Return the fraction of elements kept, 0 to 1, ignoring ragged edges."""

    @property
    def is_dense(self) -> bool:
        """Return whether every element may be non-zero."""
        return self.density() >= 1.0


class Dense(SparsityPattern):
    """Keep everything."""

    kind: Literal["dense"] = "dense"

    def density(self) -> float:
        return 1.0

    def kept(self, shape: Shape) -> int:
        return math.prod(shape)

    def sample_mask(self, shape: Shape, rng: np.random.Generator) -> Mask:
        return np.ones(shape, dtype=bool)

    def check(self, mask: Mask) -> bool:
        return True

    def metadata_bits(self, shape: Shape) -> int:
        return 0
