"""Draw what is played against the array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwsim.cli.rtl_cases.case import Case
from hwsim.core.formats import NMCompact, encode_nm
from hwsim.core.sparsity import index_bits
from hwsim.core.units import ceil_div
from hwsim.sat.spec import TileSpec
from hwsim.sat.systolic_tile import TileRun, play_product
from rtl.cosim.vectors import Schedule, Vectors, pack_words, random_stalls
from rtl.sat.tile_control import job_layout

__all__ = ["Product", "random_product", "systolic_tile_case", "systolic_tile_cases"]

DECODE_CYCLES = 2
"""From the acceptance of a job to its start."""


@dataclass(frozen=True)
class Product:
    """One matrix product on the array: Y = A · B, from ``stored`` sums or +0."""

    dataflow: Literal["ws", "os"]
    a: NDArray[np.uint16]
    b: NMCompact
    interleave: int
    stored: NDArray[np.uint32] | None = None

    def play(self, spec: TileSpec) -> TileRun:
        """Return what must pass the edges of the array."""
        return play_product(
            spec, self.dataflow, self.a, self.b, interleave=self.interleave, stored=self.stored
        )


def random_product(
    rng: np.random.Generator,
    spec: TileSpec,
    sizes: tuple[int, int, int],
    pattern: tuple[int, int],
    dataflow: Literal["ws", "os"],
    *,
    interleave: int | None = None,
    is_continued: bool = False,
) -> Product:
    """Return a product of normal values, m x k x n = ``sizes``, N:M = ``pattern`` along k."""
    m, k, n = sizes
    nm_n, nm_m = pattern
    a = rng.standard_normal((m, k)).astype(np.float16).view(np.uint16)
    weights = rng.standard_normal((k, n)).astype(np.float16)
    ranks = rng.random((ceil_div(k, nm_m), nm_m, n)).argsort(axis=1)
    b = encode_nm(weights, (ranks < nm_n).reshape(-1, n)[:k], nm_n, nm_m)
    stored = rng.standard_normal((m, n)).astype(np.float32).view(np.uint32)
    entries = spec.array.interleave if interleave is None else interleave
    return Product(dataflow, a, b, entries, stored if is_continued else None)


def systolic_tile_case(
    spec: TileSpec,
    products: list[Product],
    *,
    stall_share: float = 0.0,
    seed: int = 0,
    name: str = "products",
) -> Case:
    """Return what the array must do with ``products``; cycles are predicted while nobody stalls."""
    rng = np.random.default_rng(seed)
    runs = [product.play(spec) for product in products]
    inputs: dict[str, list[int]] = {"i": _jobs(spec, products, runs)}
    for row in range(spec.array.rows):
        inputs[f"i_west__{row}"] = [
            word for run in runs for word in _packed(run.west[row].words, 16)
        ]
    inputs["i_weights"] = [word for run in runs for word in _weights(spec, run)]
    inputs["i_sums"] = [word for run in runs for word in _packed(run.sums.words, 32)]
    expected = {"o": [word for run in runs for word in _packed(run.out.words, 32)]}
    cycles = sum(run.cycles for run in runs)
    vectors = Vectors(
        inputs=inputs,
        expected=expected,
        source_gaps={stream: random_stalls(rng, 2 * cycles, stall_share) for stream in inputs},
        sink_stalls={"o": random_stalls(rng, 2 * cycles, stall_share)},
        # Words wait while others pass, so that their number does not bound the cycles.
        extra_cycles=8 * cycles,
        seed=seed,
        name=name,
    )
    return vectors, None if vectors.has_stalls else _schedule(runs)


def _schedule(runs: list[TileRun]) -> Schedule:
    """Return the cycles of every edge; a job follows when the one before has left the array."""
    accepted, cycle = [], 0
    for run in runs:
        accepted.append(cycle)
        cycle += DECODE_CYCLES + run.cycles
    starts = [at + DECODE_CYCLES for at in accepted]

    def joined(streams: list[Any]) -> NDArray[np.int64]:
        return np.concatenate(
            [edge.cycles + start for edge, start in zip(streams, starts, strict=True)]
        )

    accepts = {"i": np.array(accepted, dtype=np.int64)}
    for row in range(len(runs[0].west)):
        accepts[f"i_west__{row}"] = joined([run.west[row] for run in runs])
    accepts["i_weights"] = joined([run.weights for run in runs])
    accepts["i_sums"] = joined([run.sums for run in runs])
    return Schedule(accepts, {"o": joined([run.out for run in runs])})


def _jobs(spec: TileSpec, products: list[Product], runs: list[TileRun]) -> list[int]:
    layout = job_layout(spec)
    words = []
    for product, run in zip(products, runs, strict=True):
        is_os = product.dataflow == "os"
        groups, nm_n, _ = product.b.values.shape
        lane = {
            "is_os": int(is_os),
            "is_continued": int(product.stored is not None),
            "last_slot": nm_n - 1,
            "last_beat": ceil_div(product.b.nm_m, spec.array.edge_elems_per_cycle) - 1,
            "entries": product.interleave,
            "count": groups if is_os else len(product.a),
        }
        fields = {"lane": lane, "tiles": run.tiles, "k_tiles": run.k_tiles}
        words.append(layout.const(fields).as_value().value)
    return words


def _weights(spec: TileSpec, run: TileRun) -> list[int]:
    fields: list[tuple[NDArray[Any], int]] = []
    for col in range(spec.array.cols):
        fields.append((run.weights.words[:, col], 16))
        fields.append((run.indices[:, col], index_bits(spec.nm_m)))
    return pack_words(fields)


def _packed(words: NDArray[Any], width_bits: int) -> list[int]:
    return pack_words([(words[:, lane], width_bits) for lane in range(words.shape[1])])


def systolic_tile_cases(spec: TileSpec, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    array = spec.array
    sizes = (array.rows + 1, array.rows * spec.nm_m + 1, array.cols + 1)
    sparse = (spec.nm_n, spec.nm_m)
    products = [
        random_product(rng, spec, sizes, sparse, "ws"),
        random_product(rng, spec, (3, array.rows + 1, 2), (1, 1), "ws", is_continued=True),
        random_product(rng, spec, sizes, sparse, "os", is_continued=True),
        random_product(rng, spec, (3, array.rows + 1, 2), (1, 1), "os"),
    ]
    return [
        systolic_tile_case(spec, products, stall_share=share, seed=seed) for share in (0.0, 0.05)
    ]
