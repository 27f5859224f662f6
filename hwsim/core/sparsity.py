"""Describe which elements of a tensor may be non-zero.

A pattern answers four questions for a tensor of a given shape: how many elements it keeps
(``kept``), what a random mask of it looks like (``sample_mask``), whether a mask obeys it
(``check``) and how many metadata bits its compact form needs (``metadata_bits``).
N:M patterns use ``nm_n`` of ``nm_m`` consecutive elements along ``axis``.
"""

from __future__ import annotations

import base64
import math
from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from hwsim.core.errors import InputError
from hwsim.core.units import ceil_div

__all__ = [
    "NM",
    "Block",
    "Channel",
    "Composed",
    "Dense",
    "Explicit",
    "Group",
    "Pattern",
    "PerBlockN",
    "SparsityPattern",
    "TopK",
    "Unstructured",
    "index_bits",
    "parse_pattern",
    "pattern_from_json",
]

Shape = tuple[int, ...]
Mask = NDArray[np.bool_]


def index_bits(nm_m: int) -> int:
    """Return ⌈log2 m⌉: bits of one index inside an N:M group (0 for m = 1)."""
    return (nm_m - 1).bit_length()


def _require(condition: bool, field: str, need: str, found: object) -> None:
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
        _require(self.nm_m >= 1, "pattern.nm_m", "at least 1", self.nm_m)
        _require(1 <= self.nm_n <= self.nm_m, "pattern.nm_n", f"1 to {self.nm_m}", self.nm_n)
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
                _require(0 <= value <= self.nm_m, "pattern.nm_n_of_block", need, value)
        return self

    def _limits(self, shape: Shape) -> NDArray[np.int64]:
        """Return N for every (row, group along the last axis)."""
        n = np.asarray(self.nm_n_of_block, dtype=np.int64)
        rows = np.arange(shape[0]) // self.rows
        groups = np.arange(ceil_div(shape[1], self.nm_m)) * self.nm_m // self.cols
        need = (int(rows[-1]) + 1, int(groups[-1]) + 1)
        is_covered = all(have >= least for have, least in zip(n.shape, need, strict=True))
        _require(is_covered, "pattern.nm_n_of_block", f"at least {need} blocks", n.shape)
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
        _require(self.k <= self.experts, "pattern.k", f"1 to {self.experts}", self.k)
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
        _require(shape == self.shape, "pattern.shape", str(self.shape), shape)
        return int(self.mask().sum())

    def sample_mask(self, shape: Shape, rng: np.random.Generator) -> Mask:
        _require(shape == self.shape, "pattern.shape", str(self.shape), shape)
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


def parse_pattern(text: str) -> Pattern:
    """Parse the command line's PATTERN: ``dense``, ``nm:N:M``, ``unstructured:S``, ``block:RxC:S``.

    S is the fraction of zeros. N:M patterns group along the reduction axis (axis 0 of a
    [k, n] weight matrix). Raises :class:`InputError` naming the malformed part.
    """
    need = "dense, nm:N:M, unstructured:S or block:RxC:S (S = fraction of zeros)"
    kind, *rest = text.split(":")
    try:
        if kind == "dense" and not rest:
            return Dense()
        if kind == "nm" and len(rest) == 2:
            return NM(nm_n=int(rest[0]), nm_m=int(rest[1]))
        if kind == "unstructured" and len(rest) == 1:
            return Unstructured(keep=_keep(rest[0]))
        if kind == "block" and len(rest) == 2:
            rows, cols = (int(part) for part in rest[0].split("x"))
            _require(rows >= 1 and cols >= 1, "sparsity", "a block of at least 1x1", rest[0])
            return Block(rows=rows, cols=cols, keep=_keep(rest[1]))
    except ValueError as error:
        raise InputError("sparsity", need, repr(text)) from error
    raise InputError("sparsity", need, repr(text))


def _keep(zeros: str) -> float:
    fraction = float(zeros)
    _require(0.0 <= fraction <= 1.0, "sparsity", "a fraction of zeros from 0 to 1", zeros)
    return 1.0 - fraction
