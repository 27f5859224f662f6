"""Are experts in codewords loaded by their size, and no faster than decoders expand them?"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.machine import make_machine
from hwsim.experiments import flightllm_experts
from hwsim.experiments.flightllm_experts import independent_rows
from hwsim.experiments.pipeline import RunRequest, execute
from hwsim.flightllm.gqsa_engine import (
    engine_timing,
    play_reduction,
    row_split_cycles,
    task_split_cycles,
)
from hwsim.flightllm.qmoe_decoder import timing
from hwsim.flightllm.spec import FlightSpec
from hwsim.flightllm.unit_costs import UnitCosts
from hwsim.flightllm.unit_spec import GqsaSpec, QMoeSpec

CODED = ("experts.format=qmoe",)


def spec(*settings: str) -> FlightSpec:
    found = make_machine("flightllm", "vhk158", settings=settings).spec
    assert isinstance(found, FlightSpec)
    return found


def run(model: str, *settings: str, **asked: Any) -> Any:
    asked = {"phase": "decode", "kv_tokens": 16} | asked
    return execute(RunRequest(model, "flightllm", "u280", settings=settings, **asked))


def test_a_load_takes_the_longer_of_memory_and_decoders() -> None:
    size, ratio = Fraction(217 * 1000), Fraction(10)
    few, many = (
        UnitCosts(spec(*CODED, f"experts.decoders_per_core={n}")).decoded(
            size, ratio, 8, is_crossed=False
        )
        for n in (1, 10**6)
    )
    # 10 000 codewords of 21.7 weights, a codeword per cycle.
    assert few.busy == 10_000 * timing(QMoeSpec()).interval_cycles
    plain = UnitCosts(spec()).transfer(size, ratio, 8, is_crossed=False, port_bytes=1)
    assert many.busy == plain.busy


def test_the_codes_rate_is_the_codecs() -> None:
    for columns in (2080, 6144):
        bits, weights = independent_rows(columns)
        experts = spec().experts
        assert abs(float(experts.weights_per_codeword) / weights - 1) < 0.01
        assert abs(float(experts.bits_per_weight(columns)) / bits - 1) < 0.01


def test_experts_alone_shrink_and_wait_for_decoders() -> None:
    """One layer's first matrix in 512 columns at a time: 12 tiles, 4 a core, of 2080 rows."""
    plain, coded = run("switch-c2048"), run("switch-c2048", *CODED)
    layers = [{one.name: one for one in found.layers} for found in (plain, coded)]
    names = [name for name in layers[0] if layers[0][name].kind == "linear"]
    for name in names:
        before, after = (found[name] for found in layers)
        if ".moe.e" not in name:
            assert after.cycles - before.cycles in (-1, 0, 1)  # running totals are rounded
            assert after.bytes["dram"] == before.bytes["dram"]
        elif name.endswith(".gate"):
            assert before.bytes["dram"]["read"] > 5 * after.bytes["dram"]["read"]
            decoding = 4 * 512 * 2080 / 21.7 / 6
            assert decoding < after.cycles < 1.02 * decoding + 300
            assert before.cycles < after.cycles
    assert (
        "routed experts in QMoE's codewords: 0.77 bits a weight, 6 decoders a core" in coded.notes
    )


def test_a_prompts_experts_are_coded_too() -> None:
    asked = {"phase": "prefill", "seq_tokens": 8, "kv_tokens": None}
    plain, coded = (run("switch-base-128", *s, **asked) for s in ((), CODED))
    assert coded.extra["hbm_bytes"] < plain.extra["hbm_bytes"]


def test_the_simulated_stream_stays_below_its_slowest_stage() -> None:
    rates = flightllm_experts.rates()
    for count, closed in ((3, rates[0]), (768, rates[-1])):
        assert 0.5 * closed.weights_per_s < flightllm_experts.machine_rate(count)
        assert flightllm_experts.machine_rate(count) < closed.weights_per_s


def test_codewords_without_experts_or_with_masks_are_refused() -> None:
    with pytest.raises(InputError, match="experts.format: need plain for llama2-7b"):
        run("llama2-7b", *CODED)
    with pytest.raises(InputError, match="--sparsity: need experts without another pattern"):
        run("mixtral-8x7b", *CODED, sparsity="nm:8:16")


def test_engines_take_the_cycles_of_their_stream() -> None:
    timing, spec = engine_timing(GqsaSpec()), GqsaSpec()
    rows = np.array([5, 1, 9, 1])
    none = np.zeros(0, bool)
    [last] = play_reduction(timing, np.arange(10) == 9, none, none)[1]
    # Two engines of two rows: 6 groups, and 10.
    assert row_split_cycles(spec, rows, 2) == last
    # Evenly 8 and 8: two less, two more for the fix-up.
    assert task_split_cycles(spec, 16, 2) == last - 2 + 2
