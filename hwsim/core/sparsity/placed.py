"""Patterns of free or blocky placement, real coordinates, and compositions."""

from __future__ import annotations

import base64
import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from hwsim.core.sparsity.base import Dense, Mask, Shape, SparsityPattern, require
from hwsim.core.sparsity.counted import NM, Group, PerBlockN, TopK
from hwsim.core.units import ceil_div

__all__ = [
    "Block",
    "Channel",
    "Composed",
    "Explicit",
    "Pattern",
    "Unstructured",
    "pattern_from_json",
]


class Unstructured(SparsityPattern):
    """Keep a fraction ``keep`` of the elements, anywhere. Metadata: one bit per element."""

    kind: Literal["unstructured"] = "unstructured"
    keep: float = Field(ge=0.0, le=1.0)

    def density(self) -> float:
        return self.keep

    def kept(self, shape: Shape) -> int:
        return round(self.keep * math.prod(shape))

    def sample_mask(self, shape: Shape, rng: np.random.Generator) -> Mask:
        mask = np.zeros(math.prod(shape), dtype=bool)
        mask[rng.choice(mask.size, self.kept(shape), replace=False)] = True
        return mask.reshape(shape)

    def check(self, mask: Mask) -> bool:
        return int(mask.sum()) <= self.kept(mask.shape)

    def metadata_bits(self, shape: Shape) -> int:
        return math.prod(shape)


class Block(SparsityPattern):
    """Keep a fraction ``keep`` of the ``rows`` x ``cols`` blocks of the last two axes."""

    kind: Literal["block"] = "block"
    rows: int = Field(ge=1)
    cols: int = Field(ge=1)
    keep: float = Field(ge=0.0, le=1.0)

    def _grid(self, shape: Shape) -> tuple[int, int, int]:
        outer = math.prod(shape[:-2])
        return outer, ceil_div(shape[-2], self.rows), ceil_div(shape[-1], self.cols)

    def _expand(self, blocks: Mask, shape: Shape) -> Mask:
        full = np.repeat(np.repeat(blocks, self.rows, axis=1), self.cols, axis=2)
        return full[:, : shape[-2], : shape[-1]].reshape(shape)

    def density(self) -> float:
        return self.keep

    def kept(self, shape: Shape) -> int:
        blocks = math.prod(self._grid(shape))
        return round(round(self.keep * blocks) * math.prod(shape) / blocks)

    def sample_mask(self, shape: Shape, rng: np.random.Generator) -> Mask:
        grid = self._grid(shape)
        chosen = Unstructured(keep=self.keep).sample_mask(grid, rng)
        return self._expand(chosen, shape)

    def check(self, mask: Mask) -> bool:
        outer, gr, gc = self._grid(mask.shape)
        pad = np.zeros((outer, gr * self.rows, gc * self.cols), dtype=bool)
        pad[:, : mask.shape[-2], : mask.shape[-1]] = mask.reshape(outer, *mask.shape[-2:])
        blocks = pad.reshape(outer, gr, self.rows, gc, self.cols).any(axis=(2, 4))
        return int(blocks.sum()) <= round(self.keep * outer * gr * gc)

    def metadata_bits(self, shape: Shape) -> int:
        return math.prod(self._grid(shape))


class Channel(SparsityPattern):
    """Keep a fraction ``keep`` of the slices along ``axis``. Metadata: one bit per slice."""

    kind: Literal["channel"] = "channel"
    keep: float = Field(ge=0.0, le=1.0)
    axis: int = 0

    def density(self) -> float:
        return self.keep

    def kept(self, shape: Shape) -> int:
        return round(self.keep * shape[self.axis]) * (math.prod(shape) // shape[self.axis])

    def sample_mask(self, shape: Shape, rng: np.random.Generator) -> Mask:
        line = Unstructured(keep=self.keep).sample_mask((shape[self.axis],), rng)
        index: list[Any] = [None] * len(shape)
        index[self.axis] = slice(None)
        return np.broadcast_to(line[tuple(index)], shape).copy()

    def check(self, mask: Mask) -> bool:
        axes = tuple(i for i in range(mask.ndim) if i != self.axis % mask.ndim)
        most: int = round(self.keep * mask.shape[self.axis])
        return int(mask.any(axis=axes).sum()) <= most

    def metadata_bits(self, shape: Shape) -> int:
        return shape[self.axis]


class Explicit(SparsityPattern):
    """Hold real coordinates: ``packed`` is base64 of the bits of a C-ordered mask of ``shape``."""

    kind: Literal["explicit"] = "explicit"
    shape: tuple[int, ...]
    packed: str

    @classmethod
    def from_mask(cls, mask: Mask) -> Explicit:
        """Return the pattern that keeps exactly ``mask``."""
        bits = np.packbits(mask.reshape(-1)).tobytes()
        return cls(shape=mask.shape, packed=base64.b64encode(bits).decode())

    @classmethod
    def from_coo(cls, shape: Shape, coords: NDArray[np.integer]) -> Explicit:
        """Return the pattern with non-zeros at ``coords`` : int[nnz, len(shape)]."""
        mask = np.zeros(shape, dtype=bool)
        mask[tuple(np.asarray(coords).T)] = True
        return cls.from_mask(mask)

    def mask(self) -> Mask:
        """Return the mask, bool of ``shape``."""
        raw = np.frombuffer(base64.b64decode(self.packed), dtype=np.uint8)
        return np.unpackbits(raw, count=math.prod(self.shape)).astype(bool).reshape(self.shape)

    def density(self) -> float:
        return float(self.mask().mean())

    def kept(self, shape: Shape) -> int:
        require(shape == self.shape, "pattern.shape", str(self.shape), shape)
        return int(self.mask().sum())

    def sample_mask(self, shape: Shape, rng: np.random.Generator) -> Mask:
        require(shape == self.shape, "pattern.shape", str(self.shape), shape)
        return self.mask()

    def check(self, mask: Mask) -> bool:
        if mask.shape != self.shape:
            return False
        return not bool((mask & ~self.mask()).any())

    def metadata_bits(self, shape: Shape) -> int:
        return math.prod(shape)


class Composed(SparsityPattern):
    """Keep what every one of ``parts`` keeps (for example channels, then N:M inside them).

    ``density`` and ``kept`` assume independent parts; attach an :class:`Explicit` mask when the
    exact count matters.
    """

    kind: Literal["composed"] = "composed"
    parts: tuple[Pattern, ...] = Field(min_length=1)

    def density(self) -> float:
        return math.prod(p.density() for p in self.parts)

    def kept(self, shape: Shape) -> int:
        return round(self.density() * math.prod(shape))

    def sample_mask(self, shape: Shape, rng: np.random.Generator) -> Mask:
        mask = np.ones(shape, dtype=bool)
        for part in self.parts:
            mask &= part.sample_mask(shape, rng)
        return mask

    def check(self, mask: Mask) -> bool:
        return all(part.check(mask) for part in self.parts)

    def metadata_bits(self, shape: Shape) -> int:
        return sum(part.metadata_bits(shape) for part in self.parts)


Pattern = Annotated[
    Dense | NM | PerBlockN | Unstructured | Block | Channel | Group | TopK | Explicit | Composed,
    Field(discriminator="kind"),
]
Composed.model_rebuild()
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Pattern)


def pattern_from_json(data: object) -> Pattern:
    """Return the pattern that ``model_dump()`` wrote as ``data``."""
    result: Pattern = _ADAPTER.validate_python(data)
    return result
