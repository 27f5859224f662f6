"""Check that threads' even shares of rows and non-zeros are whole, even, and know what is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.piuma.even_share import EvenShare
from hwsim.piuma.isa import THREAD, Assembler
from tests.piuma.conftest import run_threads

SEEN, VISITS, CUT, SECOND, TAKEN = range(1024, 1024 + 5 * 2048, 2048)
"""Addresses of 8 bytes per entry; per row: visits, marks, second threads; per thread: positions."""


def count_shares(lengths: list[int], threads: int, *, has_empty: bool) -> dict[int, Any]:
    """Let threads walk their shares of rows of ``lengths`` and count what they meet."""
    memory = np.zeros(2048, np.int64)
    ptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    memory.view(np.int32)[: len(ptr)] = ptr

    def walk(a: Assembler) -> None:
        share = EvenShare(a, len(lengths), 0)
        one, old, at, p, row = a.registers(5)
        a.move(one, 1)

        def count(array: int, index: Any) -> None:
            a.emit("shli", at, index, imm=3)
            a.atomic("aadd", old, at, one, array)

        share.emit_cut_row(a, row)
        with a.scratch(1) as (zero,):
            a.move(zero, 0)
            with a.when("ge", row, zero):
                count(SECOND, row)
        with share.pieces(a, has_empty=has_empty) as piece:
            count(VISITS, piece.row)
            with a.scratch(1) as (zero,):
                a.move(zero, 0)
                with a.when("ne", piece.is_cut, zero):
                    count(CUT, piece.row)
            a.add(p, piece.first, 0)
            with a.count_up(p, piece.stop):
                count(SEEN, p)
                count(TAKEN, THREAD)

    chip, _ = run_threads(walk, None, ("mtp.pipelines=1", f"mtp.threads={threads}"), memory)
    return {
        place: chip.mem[place // 8 :][:256].copy() for place in (SEEN, VISITS, CUT, SECOND, TAKEN)
    }


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.sampled_from([0, 0, 1, 2, 5, 70]), min_size=1, max_size=25),
    threads=st.sampled_from([1, 3, 16, 64]),
    has_empty=st.booleans(),
)
def test_every_entry_is_met_once_and_cut_rows_are_known(
    lengths: list[int], threads: int, has_empty: bool
) -> None:
    found = count_shares(lengths, threads, has_empty=has_empty)
    rows, entries = len(lengths), sum(lengths)
    assert (found[SEEN][:entries] == 1).all()
    assert (found[SEEN][entries:] == 0).all()
    visits, cut = found[VISITS][:rows], found[CUT][:rows]
    empty = np.array(lengths) == 0
    assert (visits[empty] == int(has_empty)).all()
    if has_empty:
        assert (visits >= 1).all()  # so that every row is stored
    assert ((cut == visits) | (cut == 0)).all()
    assert (cut[visits > 1] > 0).all()
    assert (found[SECOND][:rows] == (cut > 0)).all()
    # A share is at most ceil((rows + entries) / threads) positions.
    assert found[TAKEN].max() <= -(-(rows + entries) // threads)


def test_a_hub_row_is_everybodys_work() -> None:
    taken = count_shares([0, 250, 1], 16, has_empty=True)[TAKEN][:16]
    assert taken.sum() == 251
    assert taken.min() >= 15 - 2  # 15 or 16 of 254 positions each, the first two of them rows


def test_shares_that_overlap_show(monkeypatch: pytest.MonkeyPatch) -> None:
    right = EvenShare._emit_position

    def early(self: EvenShare, a: Assembler, position: Any, ahead: int) -> None:
        right(self, a, position, ahead)
        if not ahead:
            a.alu("sub", position, position, 1)

    monkeypatch.setattr(EvenShare, "_emit_position", early)
    assert (count_shares([9, 9], 3, has_empty=True)[SEEN][:18] > 1).any()
