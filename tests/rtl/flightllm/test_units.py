"""Does every unit of FlightLLM equal golden and cycle model, and is every fault of it found?

One body of checks for all of them; what is special about a unit is tested in its own file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwsim.cli.rtl_cases.flightllm.chain import (
    chain_case,
    dsp48_case,
    overflow_adjust_case,
    random_steps,
    random_works,
    sparse_mux_case,
)
from hwsim.cli.rtl_cases.flightllm.dequant import dequant_case, random_jobs
from hwsim.cli.rtl_cases.flightllm.gqsa import (
    gqsa_engine_case,
    gqsa_fixup_case,
    random_acts,
    random_partials,
    random_rows,
)
from hwsim.cli.rtl_cases.flightllm.qmoe import (
    qmoe_decoder_case,
    qmoe_dot_case,
    random_activations,
    random_codewords,
)
from hwsim.cli.rtl_cases.flightllm.sfu import random_sfu_jobs, vector_sfu_case
from hwsim.cli.rtl_cases.flightllm.tokens import random_play, scoreboard_case
from hwsim.flightllm import (
    csd_chain,
    dequant,
    dsp48,
    gqsa_engine,
    qmoe_decoder,
    token_scoreboard,
    vector_sfu,
)
from hwsim.flightllm.unit_spec import (
    CsdChainSpec,
    DequantSpec,
    DspSpec,
    GqsaSpec,
    LaneSpec,
    QMoeSpec,
    SfuSpec,
    TokenSpec,
)
from rtl.cosim.bundle import run_bundle
from rtl.cosim.check import CosimError, check
from rtl.cosim.faults import Faulty
from rtl.cosim.pysim import run_pysim
from rtl.flightllm.units import FLIGHTLLM_UNITS
from rtl.formal.bench import proof_rtlil
from rtl.formal.prove import prove_rtlil
from rtl.registry import UNITS

CELLS = (Path(__file__).parent / "dsp48e2.v").read_text()
NAMES = [unit.name.removeprefix("flightllm/") for unit in FLIGHTLLM_UNITS]
SMALL_CHAIN = CsdChainSpec(
    dsps=8, choices=8, lane=LaneSpec(operand_bits=6, lane_bits=14, segment_dsps=4)
)


def _sums(rng, spec, count):
    half = 1 << (spec.lane_bits - 1)
    pairs = rng.choice([-half, -half + 1, -1, 0, 1, half - 1], (count, 2))
    pairs = np.where(rng.random((count, 1)) < 0.5, pairs, rng.integers(-half, half, (count, 2)))
    return [(high << spec.lane_bits) + low for high, low in pairs.tolist()]


def _sparse_mux(spec, rng, count, **options):
    half = 1 << (spec.lane.operand_bits - 1)
    acts = rng.integers(-half, half, (count, 2, spec.choices))
    return sparse_mux_case(spec, acts, rng.integers(0, spec.choices, count), **options)


DRAWN = {
    "dsp48": lambda spec, rng, n, **o: dsp48_case(spec, random_steps(rng, n), **o),
    "sparse_mux": _sparse_mux,
    "overflow_adjust": lambda spec, rng, n, **o: overflow_adjust_case(
        spec, _sums(rng, spec, n), **o
    ),
    "csd_chain": lambda spec, rng, n, **o: chain_case(spec, random_works(rng, spec, n), **o),
    "token_scoreboard": lambda spec, rng, n, **o: scoreboard_case(
        spec, random_play(rng, spec, n), **o
    ),
    "dequant": lambda spec, rng, n, **o: dequant_case(
        spec, random_jobs(rng, spec, 1 + n // 10), **o
    ),
    "vector_sfu": lambda spec, rng, n, **o: vector_sfu_case(
        spec, random_sfu_jobs(rng, spec, 5 + n // 40), **o
    ),
    "qmoe_decoder": lambda spec, rng, n, **o: qmoe_decoder_case(
        spec, random_codewords(rng, spec, n), **o
    ),
    "qmoe_dot": lambda spec, rng, n, **o: qmoe_dot_case(
        spec, random_codewords(rng, spec, n), random_activations(rng, spec), **o
    ),
    "gqsa_engine": lambda spec, rng, n, **o: gqsa_engine_case(
        spec, random_rows(rng, spec, n), random_acts(rng, spec), **o
    ),
    "gqsa_fixup": lambda spec, rng, n, **o: gqsa_fixup_case(
        spec, random_partials(rng, spec, n), **o
    ),
}
"""Unit -> (spec, rng, about how many transfers, stall_share, seed) -> case."""

SPECS = {
    "dsp48": [DspSpec(), DspSpec(has_preadder=False)],
    "sparse_mux": [CsdChainSpec(choices=5)],
    "overflow_adjust": [LaneSpec(), LaneSpec(operand_bits=4, lane_bits=10, segment_dsps=8)],
    "csd_chain": [SMALL_CHAIN, CsdChainSpec(dsps=2, lane=LaneSpec(segment_dsps=2))],
    "token_scoreboard": [TokenSpec(units=3, depth=1, in_flight=2)],
    "dequant": [DequantSpec(), DequantSpec(word_bits=16, lanes=3, widths=(1, 3, 7))],
    "vector_sfu": [SfuSpec(lanes=4, max_beats=9), SfuSpec(lanes=1, max_beats=8, table_bits=4)],
    "qmoe_decoder": [QMoeSpec(entries=512)],
    "qmoe_dot": [QMoeSpec(entries=512, columns=128)],
    "gqsa_engine": [GqsaSpec(columns=64), GqsaSpec(group=4, columns=12, scale_bits=5)],
    "gqsa_fixup": [GqsaSpec(sum_bits=24)],
}
"""Parameters beside the default ones, which the one compiled simulation has."""

COMPILED = {
    "qmoe_decoder": QMoeSpec(entries=512),
    "qmoe_dot": QMoeSpec(entries=512, columns=512),
    "gqsa_engine": GqsaSpec(columns=512),
    "vector_sfu": SfuSpec(lanes=4),
}
"""What the one compiled simulation has in place of the default parameters: it compiles sooner."""

SIMULATED = {
    "dsp48": dsp48.timing,
    "sparse_mux": csd_chain.mux_timing,
    "overflow_adjust": csd_chain.mux_timing,
    "csd_chain": csd_chain.chain_timing,
    "token_scoreboard": token_scoreboard.timing,
    "dequant": dequant.timing,
    "vector_sfu": vector_sfu.timing,
    "qmoe_decoder": qmoe_decoder.timing,
    "qmoe_dot": qmoe_decoder.dot_timing,
    "gqsa_engine": gqsa_engine.engine_timing,
    "gqsa_fixup": gqsa_engine.fixup_timing,
}
"""The simulator's cycle contracts."""


def _build(name, spec=None):
    return UNITS[f"flightllm/{name}"].build(spec)


def _case(name, spec, count, share=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return DRAWN[name](spec, rng, count, stall_share=share, seed=seed)


@pytest.fixture(scope="module")
def played():
    """Return {unit: [(observed, vectors, schedule)]} on Verilator, slices as DSP48E2 cells."""
    specs = {name: UNITS[f"flightllm/{name}"].spec for name in NAMES} | COMPILED
    drawn = {
        name: [_case(name, spec, 800, share, seed) for seed, share in enumerate((0.0, 0.5))]
        for name, spec in specs.items()
    }
    units = {name: _build(name, spec) for name, spec in specs.items()}
    units["broken"] = Faulty(_build("csd_chain", SMALL_CHAIN), "flip")
    drawn["broken"] = [_case("csd_chain", SMALL_CHAIN, 50)]
    batches = [(name, vectors) for name, found in drawn.items() for vectors, _ in found]
    observed = iter(run_bundle(units, batches, CELLS))
    return {name: [(next(observed), *case) for case in found] for name, found in drawn.items()}


@pytest.mark.evidence("flightllm", "T3")
@pytest.mark.parametrize("name", NAMES)
def test_rtl_equals_golden_and_cycle_model_on_verilator(name, played):
    for observed, vectors, schedule in played[name]:
        check(observed, vectors, schedule)
        assert all(len(cycles) for cycles in schedule.emit_cycles.values())


def test_a_flipped_bit_is_found_on_verilator(played):
    [(observed, vectors, schedule)] = played["broken"]
    with pytest.raises(CosimError, match="outputs"):
        check(observed, vectors, schedule)


@pytest.mark.parametrize(("name", "spec"), [(n, s) for n, specs in SPECS.items() for s in specs])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_rtl_equals_golden_and_cycle_model_on_pysim(name, spec, share):
    vectors, schedule = _case(name, spec, 80, share)
    check(run_pysim(_build(name, spec), vectors), vectors, schedule)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("fault", "category"),
    [("flip", "outputs"), ("drop", "outputs"), ("retract", "stream rules"), ("late", "schedule")],
)
def test_each_fault_is_found(name, fault, category):
    spec = SPECS[name][-1]
    vectors, schedule = _case(name, spec, 60, 0.4 if fault == "retract" else 0.0)
    with pytest.raises(CosimError) as found:
        check(run_pysim(Faulty(_build(name, spec), fault), vectors), vectors, schedule)
    assert found.value.category == category


@pytest.mark.parametrize("name", NAMES)
def test_rtl_and_simulator_state_one_timing(name):
    unit = UNITS[f"flightllm/{name}"]
    for spec in [unit.spec, *SPECS[name]]:
        assert unit.timing(spec) == SIMULATED[name](spec)


@pytest.mark.parametrize("name", ["dsp48", "sparse_mux", "overflow_adjust", "csd_chain"])
def test_a_result_is_offered_at_its_latency_and_not_before(name):
    for spec in SPECS[name]:
        vectors, _ = _case(name, spec, 12)
        observed = run_pysim(_build(name, spec), vectors)
        timing = SIMULATED[name](spec)
        [measured] = set((observed.emit_cycles["o"] - observed.accept_cycles["i"]).tolist())
        [interval] = set(np.diff(observed.emit_cycles["o"]).tolist())
        assert (measured, interval) == (timing.latency_cycles, timing.interval_cycles)
        # Not offered at t - 1 (three cycles of reset come first).
        assert int(observed.streams["o"].valid.argmax()) == 3 + measured


@pytest.mark.parametrize("name", NAMES)
def test_streams_obey_their_rules_and_lose_and_repeat_nothing(name):
    unit = UNITS[f"flightllm/{name}"]
    text = proof_rtlil(unit.build(unit.proof_spec), unit.properties)
    result = prove_rtlil(text, unit.proof_depth)
    assert result.is_proved, result.log
