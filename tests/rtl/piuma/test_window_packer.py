# amaranth: UnusedElaboratable=no
# A unit refused by its constructor is never elaborated.
"""Are rows packed into windows as by the greedy rule, one column per cycle?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.cli.rtl_cases.piuma.window_packer import random_rows, window_packer_case
from hwsim.core.errors import SpecError
from hwsim.core.machine import UnitTiming
from hwsim.piuma import window_packer as model
from hwsim.piuma.unit_spec import WindowSpec
from hwsim.piuma.window_packer import Window, pack_rows
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.formal.bench import proof_rtlil
from rtl.formal.piuma_window_packer import window_packer_properties
from rtl.formal.prove import prove_rtlil
from rtl.piuma import window_packer
from rtl.piuma.units import WINDOW_PROOF_SPEC
from rtl.piuma.window_packer import WindowPacker

SPEC = WindowSpec(
    column_bits=4,
    pointer_bits=8,
    row_bits=6,
    bound_bits=8,
    budget_elems=20,
    columns=60,
    window_rows=5,
    outstanding=4,
)


class ForgetsTheRow(WindowPacker):
    """Opens a window without the row that closed the one before."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.ends_row & self.closes):
            m.d.sync += self.bound.eq(0)
        return m


def test_golden_packs_greedily_and_marks_a_row_beyond_the_budget():
    lengths = [7, 10, 30, 0]
    rows = [[0], [1], [3], [0], [], [2], [1, 1], [], [], [], [], []]
    assert pack_rows(SPEC, rows, lengths) == [
        Window(0, 3, 17, False),  # 7 + 10 + 0; 7 more would be 24
        Window(3, 2, 7, False),
        Window(5, 1, 30, True),
        Window(6, 5, 20, False),  # the budget exactly, and five rows
        Window(11, 1, 0, False),
    ]
    # A row of C has no more entries than B has columns.
    assert pack_rows(SPEC, [[2, 2, 2]], lengths) == [Window(0, 1, 60, True)]


@pytest.mark.parametrize("seed", range(5))
def test_windows_hold_every_row_once_and_none_could_take_one_more(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 12, 16).tolist()
    rows = random_rows(SPEC, rng, 40, 4)
    bounds = [min(sum(lengths[column] for column in row), 60) for row in rows]
    windows = pack_rows(SPEC, rows, lengths)
    assert sum(window.rows for window in windows) == len(rows)
    assert sum(window.bound for window in windows) == sum(bounds)
    for window, behind in zip(windows, windows[1:], strict=False):
        assert behind.first_row == window.first_row + window.rows
        assert window.rows == 5 or window.bound + bounds[behind.first_row] > 20


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    most=st.integers(0, 6),
    longest=st.sampled_from([1, 8, 80]),
    fetch_cycles=st.sampled_from([1, 2, 11]),
    stall_share=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 1000),
)
def test_rtl_equals_golden_and_cycle_model(sizes, most, longest, fetch_cycles, stall_share, seed):
    rng = np.random.default_rng(seed)
    vectors, schedule = window_packer_case(
        SPEC,
        [random_rows(SPEC, rng, rows, most) for rows in sizes],
        rng.integers(0, longest, 16).tolist(),
        fetch_cycles=fetch_cycles,
        stall_share=stall_share,
        seed=seed,
    )
    check(run_pysim(WindowPacker(SPEC), vectors), vectors, schedule)


def test_one_mark_per_cycle_and_two_cycles_from_the_closing_row():
    vectors, schedule = window_packer_case(SPEC, [[[]] * 20], [0] * 16)
    observed = run_pysim(WindowPacker(SPEC), vectors)
    check(observed, vectors, schedule)
    accepts, emits = observed.accept_cycles["i"], observed.emit_cycles["o"]
    # Five rows a window: the sixth, eleventh and sixteenth close one.
    [latency] = set((emits[:3] - accepts[5::5]).tolist())
    measured = UnitTiming(latency, int(np.diff(accepts).max()))
    assert window_packer.timing(SPEC) == model.timing(SPEC) == measured
    assert emits[3] - accepts[-1] == latency + 1


@pytest.mark.parametrize("fetch_cycles", [1, 2, 3, 9])
def test_pointers_that_come_late_show_once_or_when_marks_run_out(fetch_cycles):
    rows = [[0] * 4] * 10
    vectors, schedule = window_packer_case(SPEC, [rows], [5] * 16, fetch_cycles=fetch_cycles)
    observed = run_pysim(WindowPacker(SPEC), vectors)
    check(observed, vectors, schedule)
    accepts, emits = observed.accept_cycles["i"], observed.emit_cycles["o"]
    # A mark is inside from its acceptance to its sum, fetch_cycles + 2 later; four may be.
    assert (np.diff(accepts).max() == 1) == (fetch_cycles <= 2)
    # Every row reaches the budget alone, so every row but the first closes a window.
    if fetch_cycles == 1:
        assert set((emits[:9] - accepts[9::5]).tolist()) == {3}


def test_a_row_that_is_left_out_is_found():
    vectors, schedule = window_packer_case(SPEC, [[[0]] * 10], [7] * 16)
    with pytest.raises(CosimError) as found:
        check(run_pysim(ForgetsTheRow(SPEC), vectors), vectors, schedule)
    assert found.value.category == "outputs"


def test_conservation_and_limits_are_proved():
    unit = WindowPacker(WINDOW_PROOF_SPEC)
    result = prove_rtlil(proof_rtlil(unit, window_packer_properties))
    assert result.is_proved, result.log


def test_a_row_that_is_left_out_is_refuted():
    text = proof_rtlil(ForgetsTheRow(WINDOW_PROOF_SPEC), window_packer_properties)
    assert prove_rtlil(text, 10).status == "refuted"


@pytest.mark.parametrize(
    ("values", "need"),
    [
        ({"bound_bits": 5, "columns": 60}, "bounds of at most 31"),
        ({"row_bits": 2, "window_rows": 5}, "at most 3"),
    ],
)
def test_widths_that_do_not_hold_the_limits_are_refused(values, need):
    with pytest.raises(SpecError, match=need):
        WindowSpec(**{**SPEC.model_dump(), **values})
