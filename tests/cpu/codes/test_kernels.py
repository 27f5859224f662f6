"""Hold codes that the simulator alone has to their tensors: what they store."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.units import ceil_div
from hwsim.cpu.codes.streams import channel_scale, convert_layout, pointwise
from hwsim.cpu.isa import OPCODES, UopKernel

sizes = st.integers(1, 19)


def stored(kernel: UopKernel) -> int:
    """Return the bytes stored."""
    counts = kernel.dynamic_counts({})
    names = np.array([OPCODES[max(op, 0)] for op in kernel.rows["opcode"]])
    is_store = np.char.startswith(names, "store") & (kernel.rows["opcode"] >= 0)
    return int((counts * kernel.rows["size"])[is_store].sum())


@given(sizes, sizes)
def test_passes_over_tensors_store_every_element(rows: int, columns: int) -> None:
    elems = rows * columns
    assert stored(pointwise("add", elems, 2)) == 16 * ceil_div(elems, 4)
    assert stored(channel_scale(rows, columns)) == 16 * rows * ceil_div(columns, 4)
    blocks = ceil_div(rows, 4) * ceil_div(columns, 4)
    assert stored(convert_layout(rows, columns, to_chw=True)) == 64 * blocks
