"""Do PIUMA's units on Verilator what golden and cycle models say? One compilation for all."""

from __future__ import annotations

import pytest

from hwsim.cli.rtl_cases import cases
from hwsim.piuma.unit_spec import (
    AtomicSpadSpec,
    BarrelSpec,
    GatherDmaSpec,
    HashSpec,
    IntersectSpec,
    MergeSpec,
    SpadCrossbarSpec,
    TokenQueueSpec,
    WindowSpec,
)
from rtl.cosim.bundle import run_bundle
from rtl.cosim.check import CosimError, check
from rtl.cosim.faults import Faulty
from rtl.registry import UNITS

SMALL_SPAD = AtomicSpadSpec(words=16, data_bits=8, tag_bits=3)
SPECS = {
    "hash_accumulate": HashSpec(
        slots=64, key_bits=12, column_bits=6, data_bits=16, hash="low_xor_row", comparators=4
    ),
    "atomic_spad": SMALL_SPAD,
    "spad_crossbar": SpadCrossbarSpec(bank=SMALL_SPAD, banks=4, ports=3, has_xor=True),
    "barrel_issue": BarrelSpec(threads=16),
    "gather_dma": GatherDmaSpec(address_bits=12, data_bits=8, count_bits=6, outstanding=8),
    "merge_unit": MergeSpec(ways=4, coordinate_bits=10, value_bits=8),
    "token_queue": TokenQueueSpec(entries=8, waiters=8, token_bits=8, tag_bits=4, ports=3),
    "window_packer": WindowSpec(
        column_bits=6,
        pointer_bits=10,
        row_bits=8,
        bound_bits=12,
        budget_elems=40,
        columns=64,
        window_rows=9,
    ),
    "intersect": IntersectSpec(coordinate_bits=9, position_bits=8, block=4),
}
BROKEN = "broken"


@pytest.fixture(scope="module")
def played():
    """Return {unit: [(observed, vectors, schedule)]}, one bank more that answers wrong."""
    drawn = {name: cases(f"piuma/{name}", spec, 5) for name, spec in SPECS.items()}
    units = {name: UNITS[f"piuma/{name}"].build(spec) for name, spec in SPECS.items()}
    units[BROKEN] = Faulty(UNITS["piuma/atomic_spad"].build(SMALL_SPAD), "flip")
    drawn[BROKEN] = drawn["atomic_spad"][:1]
    batches = [(name, case[0]) for name, found in drawn.items() for case in found]
    observed = iter(run_bundle(units, batches))
    return {name: [(next(observed), *case) for case in found] for name, found in drawn.items()}


@pytest.mark.evidence("piuma", "T3")
@pytest.mark.parametrize("name", SPECS)
def test_a_unit_equals_golden_and_cycle_model(name, played):
    for observed, vectors, schedule in played[name]:
        check(observed, vectors, schedule)
        assert schedule is not None
        assert all(len(cycles) for cycles in schedule.emit_cycles.values())


def test_a_broken_unit_is_found(played):
    [(observed, vectors, schedule)] = played[BROKEN]
    with pytest.raises(CosimError) as found:
        check(observed, vectors, schedule)
    assert found.value.category == "outputs"
