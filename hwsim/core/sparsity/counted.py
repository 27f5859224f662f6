"""Patterns that keep so many of every so many elements: N:M and its relatives."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hwsim.core.sparsity.base import Mask, Shape, SparsityPattern, index_bits, require
from hwsim.core.units import ceil_div

__all__ = ["NM", "Group", "PerBlockN", "TopK"]


class NM(SparsityPattern):
    """Keep at most ``nm_n`` of every ``nm_m`` consecutive elements along ``axis``.

    ``nm_n == nm_m`` is allowed: dense values through the sparse path. A ragged last group of
    t elements keeps min(nm_n, t).
    """

    kind: Literal["nm"] = "nm"
    nm_n: int
    nm_m: int
    axis: int = 0

    @model_validator(mode="after")
    def _validate(self) -> NM:
        require(self.nm_m >= 1, "pattern.nm_m", "at least 1", self.nm_m)
        require(1 <= self.nm_n <= self.nm_m, "pattern.nm_n", f"1 to {self.nm_m}", self.nm_n)
        return self

    def density(self) -> float:
        return self.nm_n / self.nm_m

    def kept(self, shape: Shape) -> int:
        length = shape[self.axis]
        tail = min(self.nm_n, length % self.nm_m)
        per_line = (length // self.nm_m) * self.nm_n + tail
        return per_line * (math.prod(shape) // length)

    def _group_counts(self, mask: Mask) -> NDArray[np.int64]:
        lines = np.moveaxis(mask, self.axis, -1)
        pad = -lines.shape[-1] % self.nm_m
        lines = np.pad(lines, [(0, 0)] * (lines.ndim - 1) + [(0, pad)])
        counts: NDArray[np.int64] = lines.reshape(*lines.shape[:-1], -1, self.nm_m).sum(axis=-1)
        return counts

    def sample_mask(self, shape: Shape, rng: np.random.Generator) -> Mask:
        length = shape[self.axis]
        lines = [s for i, s in enumerate(shape) if i != self.axis % len(shape)]
        groups = ceil_div(length, self.nm_m)
        score = rng.random((*lines, groups, self.nm_m))
        valid = np.arange(groups * self.nm_m).reshape(groups, self.nm_m) < length
        score = np.where(valid, score, 2.0)
        order = np.argsort(np.argsort(score, axis=-1), axis=-1)
        mask = ((order < self.nm_n) & valid).reshape(*lines, groups * self.nm_m)[..., :length]
        return np.ascontiguousarray(np.moveaxis(mask, -1, self.axis))

    def check(self, mask: Mask) -> bool:
        return bool((self._group_counts(mask) <= self.nm_n).all())

    def metadata_bits(self, shape: Shape) -> int:
        groups = ceil_div(shape[self.axis], self.nm_m) * (math.prod(shape) // shape[self.axis])
        return 0 if self.nm_m == 1 else groups * self.nm_n * index_bits(self.nm_m)


class PerBlockN(SparsityPattern):
    """N:``nm_m`` along the last axis; N is chosen per ``rows`` x ``cols`` block (FlightLLM)."""

    kind: Literal["per_block_n"] = "per_block_n"
    nm_m: int = 16
    rows: int = 16
    cols: int = 16
    nm_n_of_block: tuple[tuple[int, ...], ...]

    @model_validator(mode="after")
    def _validate(self) -> PerBlockN:
        for row in self.nm_n_of_block:
            for value in row:
                need = f"0 to {self.nm_m}"
                require(0 <= value <= self.nm_m, "pattern.nm_n_of_block", need, value)
        return self

    def _limits(self, shape: Shape) -> NDArray[np.int64]:
        """Return N for every (row, group along the last axis)."""
        n = np.asarray(self.nm_n_of_block, dtype=np.int64)
        rows = np.arange(shape[0]) // self.rows
        groups = np.arange(ceil_div(shape[1], self.nm_m)) * self.nm_m // self.cols
        need = (int(rows[-1]) + 1, int(groups[-1]) + 1)
        is_covered = all(have >= least for have, least in zip(n.shape, need, strict=True))
        require(is_covered, "pattern.nm_n_of_block", f"at least {need} blocks", n.shape)
        return n[np.ix_(rows, groups)]

    def density(self) -> float:
        return float(np.mean(np.asarray(self.nm_n_of_block))) / self.nm_m

    def kept(self, shape: Shape) -> int:
        limits = self._limits(shape)
        sizes = np.minimum(self.nm_m, shape[1] - np.arange(limits.shape[1]) * self.nm_m)
        return int(np.minimum(limits, sizes).sum())

    def sample_mask(self, shape: Shape, rng: np.random.Generator) -> Mask:
        limits = self._limits(shape)
        score = rng.random((shape[0], limits.shape[1] * self.nm_m))
        score[:, shape[1] :] = 2.0
        grouped = score.reshape(shape[0], -1, self.nm_m)
        order = np.argsort(np.argsort(grouped, axis=-1), axis=-1)
        mask: Mask = (order < limits[..., None]).reshape(shape[0], -1)[:, : shape[1]]
        return mask

    def check(self, mask: Mask) -> bool:
        limits = self._limits(mask.shape)
        padded = np.zeros((mask.shape[0], limits.shape[1] * self.nm_m), dtype=bool)
        padded[:, : mask.shape[1]] = mask
        return bool((padded.reshape(mask.shape[0], -1, self.nm_m).sum(-1) <= limits).all())

    def metadata_bits(self, shape: Shape) -> int:
        return self.kept(shape) * index_bits(self.nm_m)


class Group(SparsityPattern):
    """Share one N:M choice along ``nm_axis`` between ``size`` consecutive lines of ``axis``."""

    kind: Literal["group"] = "group"
    nm_n: int = Field(ge=1)
    nm_m: int = Field(ge=1)
    size: int = Field(ge=1)
    nm_axis: int = 1
    axis: int = 0

    def _nm(self) -> NM:
        return NM(nm_n=self.nm_n, nm_m=self.nm_m, axis=self.nm_axis)

    def _line_shape(self, shape: Shape) -> Shape:
        lines = list(shape)
        lines[self.axis] = ceil_div(shape[self.axis], self.size)
        return tuple(lines)

    def density(self) -> float:
        return self.nm_n / self.nm_m

    def kept(self, shape: Shape) -> int:
        return self._nm().kept(shape)

    def sample_mask(self, shape: Shape, rng: np.random.Generator) -> Mask:
        few = self._nm().sample_mask(self._line_shape(shape), rng)
        return np.take(np.repeat(few, self.size, self.axis), np.arange(shape[self.axis]), self.axis)

    def check(self, mask: Mask) -> bool:
        first = np.arange(mask.shape[self.axis]) // self.size * self.size
        return bool((np.take(mask, first, self.axis) == mask).all()) and self._nm().check(mask)

    def metadata_bits(self, shape: Shape) -> int:
        return self._nm().metadata_bits(self._line_shape(shape))


class TopK(SparsityPattern):
    """Route each token to ``k`` of ``experts``: shape (tokens, experts)."""

    kind: Literal["topk"] = "topk"
    experts: int = Field(ge=1)
    k: int = Field(ge=1)

    @model_validator(mode="after")
    def _validate(self) -> TopK:
        require(self.k <= self.experts, "pattern.k", f"1 to {self.experts}", self.k)
        return self

    def _nm(self) -> NM:
        return NM(nm_n=self.k, nm_m=self.experts, axis=-1)

    def density(self) -> float:
        return self.k / self.experts

    def kept(self, shape: Shape) -> int:
        return self._nm().kept(shape)

    def sample_mask(self, shape: Shape, rng: np.random.Generator) -> Mask:
        return self._nm().sample_mask(shape, rng)

    def check(self, mask: Mask) -> bool:
        return self._nm().check(mask)

    def metadata_bits(self, shape: Shape) -> int:
        return self._nm().metadata_bits(shape)
