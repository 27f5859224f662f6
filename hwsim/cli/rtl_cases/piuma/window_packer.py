"""Draw what is played against the window packer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.piuma.replay import pack_fields, replayed_case
from hwsim.piuma.unit_model import Word, play
from hwsim.piuma.unit_spec import WindowSpec
from hwsim.piuma.window_packer import Mark, Window, WindowPackerModel, marks_of, pack_rows
from rtl.cosim.vectors import random_stalls

__all__ = ["random_rows", "window_packer_case", "window_packer_cases"]

Rows = Sequence[Sequence[int]]
"""Columns of each row of A."""


def random_rows(spec: WindowSpec, rng: np.random.Generator, rows: int, most: int) -> Rows:
    """Return rows of up to ``most`` columns, every fourth about empty."""
    sizes = [rng.integers(0, (most if row % 4 else 1) + 1) for row in range(rows)]
    return [rng.integers(0, 1 << spec.column_bits, size).tolist() for size in sizes]


def window_packer_case(
    spec: WindowSpec,
    matrices: Sequence[Rows],
    lengths: Sequence[int],
    *,
    fetch_cycles: int = 1,
    stall_share: float = 0.0,
    seed: int = 0,
) -> Case:
    """Return the windows of one matrix behind the other, given the ``lengths`` of B's rows."""
    rng = np.random.default_rng(seed)
    pointers = np.cumsum([0, *lengths]) % (1 << spec.pointer_bits)

    def respond(stream: str, word: Word) -> tuple[str, Word, int] | None:
        if stream != "fetch":
            return None
        [column] = word
        return "fetched", tuple(pointers[column : column + 2].tolist()), fetch_cycles

    marks: list[Mark] = []
    windows: list[Window] = []
    for rows in matrices:
        marks += marks_of(rows)
        windows += pack_rows(spec, rows, lengths)
    cycles = 2 * len(marks)
    gaps = {"i": random_stalls(rng, cycles, stall_share)}
    stalls = {name: random_stalls(rng, cycles, stall_share) for name in WindowPackerModel.outputs}
    model = WindowPackerModel(spec)
    played = play(model, {"i": marks}, gaps=gaps, stalls=stalls, respond=respond)
    packings = {
        "i": pack_fields(1, 1, spec.column_bits),
        "fetch": pack_fields(spec.column_bits),
        "fetched": pack_fields(spec.pointer_bits, spec.pointer_bits),
        "o": pack_fields(spec.row_bits, spec.row_bits, spec.bound_bits, 1),
    }
    return replayed_case(
        model, played, packings, expected={"o": windows}, stalls=stalls, seed=seed, name="rows"
    )


def window_packer_cases(spec: WindowSpec, seed: int) -> list[Case]:
    """Return matrices whose rows are small and large beside the budget, without stalls and with."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, max(2, spec.budget_elems // 8), 1 << spec.column_bits).tolist()
    drawn = []
    for stall_share, fetch_cycles in ((0.0, 1), (0.0, 30), (0.4, 5)):
        matrices = [random_rows(spec, rng, rows, most) for rows, most in ((1, 1), (60, 6), (9, 20))]
        drawn.append(
            window_packer_case(
                spec,
                matrices,
                lengths,
                fetch_cycles=fetch_cycles,
                stall_share=stall_share,
                seed=seed,
            )
        )
    return drawn
