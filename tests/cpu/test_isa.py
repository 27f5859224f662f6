"""Hold the micro-op form to its contract: loops, streams, pointers and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.cpu.isa import GENERAL, OPCODES, UopBuilder, UopKernel

X0 = GENERAL


def sparse_rows() -> UopKernel:
    """Two strips over channels whose nonzeros a stream counts."""
    b = UopBuilder("rows")
    with b.loop(2):
        b.rewind("nnz")
        with b.loop(3):
            b.op("load_x", (X0 + 1,), (X0,), pointer="count", size=4, step=("count", 4))
            with b.loop("nnz"):
                b.op("load_q", (1,), (X0,), pointer="in", size=16, step=("in", "step"))
                b.op("fma_q", (0,), (0, 1, 2), macs=4)
    return b.build()


def test_streams_count_the_trips_of_each_entry_and_start_again_after_a_rewind() -> None:
    kernel = sparse_rows()
    streams = {"nnz": np.array([2, 0, 5]), "step": np.zeros(7, dtype=np.int64)}
    counts = kernel.dynamic_counts(streams)
    by_name = {
        OPCODES[op]: n for op, n in zip(kernel.rows["opcode"], counts, strict=True) if op >= 0
    }
    assert by_name == {"load_x": 2 * 3, "load_q": 2 * (2 + 0 + 5), "fma_q": 2 * (2 + 0 + 5)}


def test_disassembly_shows_loops_addresses_and_steps() -> None:
    text = sparse_rows().disassemble()
    assert "loop next of nnz:" in text
    assert "[in + 0] 16 B  in += next of step" in text
    assert "rewind nnz" in text
    assert sparse_rows().disassemble(limit=2).endswith("more")


def bad(change: str) -> UopKernel:
    kernel = sparse_rows()
    rows = kernel.rows.copy()
    if change == "loop":
        rows = rows[:-1]
    elif change == "opcode":
        rows["opcode"][3] = len(OPCODES)
    elif change == "register":
        rows["dst"][3] = 64
    elif change == "pointer":
        rows["pointer"][3] = 2
    elif change == "no pointer":
        rows["pointer"][3] = -1
    elif change == "stream":
        rows["count"][4] = -3
    return UopKernel("bad", rows, kernel.pointers, kernel.streams)


@pytest.mark.parametrize(
    ("change", "need"),
    [
        ("loop", "every loop closed"),
        ("opcode", "an opcode below"),
        ("register", "registers below 64"),
        ("pointer", "a pointer below 2"),
        ("no pointer", "a pointer exactly if"),
        ("stream", "a stream below 2"),
    ],
)
def test_rows_that_break_the_contract_are_named(change: str, need: str) -> None:
    with pytest.raises(InputError, match=need):
        bad(change).verify()
