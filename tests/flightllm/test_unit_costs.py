"""Check that what instructions cost without the profiler is what the units' models say."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.machine import make_machine
from hwsim.flightllm.csd_chain import node_cycle
from hwsim.flightllm.dequant import DequantJob, play_dequant
from hwsim.flightllm.spec import PRESETS, FlightSpec
from hwsim.flightllm.token_scoreboard import TokenPlay, play_scoreboard
from hwsim.flightllm.unit_costs import Cost, UnitCosts
from hwsim.flightllm.vector_sfu import OPS, SfuJob, job_interval, play_sfu

U280, PROFILE = PRESETS["u280"], PRESETS["vhk158"]
assert isinstance(U280, FlightSpec)
assert isinstance(PROFILE, FlightSpec)
NONE = np.zeros(0, np.bool_)
TOKEN_CYCLES = 2


def test_a_token_takes_as_long_as_in_the_scoreboard() -> None:
    waits: list[list[int]] = [[0], [], [], [0b10000], [], []]  # MV waits for LD
    run = play_scoreboard(U280.tokens, TokenPlay(waits, waits, [[0b00100], [], [], [], [], []]))
    assert run.cycles["o__3"][0] - run.cycles["done__0"][0] == TOKEN_CYCLES


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("beats", [1, 8, 256])
def test_special_functions_take_what_the_unit_takes(op: str, beats: int) -> None:
    jobs = [SfuJob(op, beats)] * 2  # type: ignore[arg-type]
    taken, _, emits = play_sfu(U280.sfu, jobs, NONE, NONE, NONE)
    cost = UnitCosts(U280).misc(op, 16 * beats)
    assert job_interval(U280.sfu, jobs[0]) == cost.busy == taken[1] - taken[0]
    # The last beat is taken in the cycle after it is offered, and the token goes on from there.
    assert cost.told == emits[beats - 1] + 1 - taken[0] + TOKEN_CYCLES


def test_a_long_sum_is_several_jobs_and_a_long_norm_is_refused() -> None:
    machine = make_machine("flightllm", "u280", settings=["sfu.max_beats=256"])
    assert isinstance(machine.spec, FlightSpec)
    costs = UnitCosts(machine.spec)
    one, rest = costs.misc("add", 4096), costs.misc("add", 16)
    assert costs.misc("add", 2 * 4096 + 16).busy == 2 * one.busy + rest.busy
    with pytest.raises(InputError, match=r"sfu.max_beats: need 257 for a rmsnorm over 4097 elem"):
        costs.misc("rmsnorm", 4097)


def test_the_preset_takes_every_vector_that_an_instruction_can_name() -> None:
    most = (1 << 14) - 1
    assert U280.sfu.max_beats == most
    assert UnitCosts(U280).misc("rmsnorm", 16 * most).busy > 2 * most


def test_a_product_is_told_when_the_last_node_has_its_sum() -> None:
    chain = U280.chain
    cost = UnitCosts(U280).matrix(3, Fraction(1))
    assert cost.busy == 3 * 8
    # The last issue is in cycle 23; its sum leaves with that of the chain's last node.
    assert cost.told == 3 * 8 - 1 + node_cycle(chain, chain.groups - 1) + 1 + TOKEN_CYCLES


@pytest.mark.parametrize("vectors", [1, 5, 64])
def test_low_bit_weights_are_unpacked_at_the_buffers_port(vectors: int) -> None:
    # One unpacker; memory is so fast that only it counts.
    hbm = U280.hbm.model_copy(update={"channel_bytes_per_5s": 10**15})
    spec = U280.model_copy(update={"hbm": hbm, "weight_bits_x10": 40})
    memory_bytes = Fraction(vectors * 16 * 4, 8)
    cost = UnitCosts(spec).transfer(
        memory_bytes * 2, Fraction(2), 8, is_crossed=False, port_bytes=16
    )
    jobs, _, emits = play_dequant(spec.dequant, [DequantJob(4, vectors)], NONE, NONE, NONE)
    # Loads follow each other while the unpacker is at work; the first vector is under way then.
    assert cost.busy == vectors
    assert cost.told == emits[-1] - jobs[0] + TOKEN_CYCLES
    wide = UnitCosts(spec).transfer(
        memory_bytes * 2, Fraction(2), 8, is_crossed=False, port_bytes=2048
    )
    assert wide.busy == 1


def test_the_profile_has_no_pipelines() -> None:
    costs = UnitCosts(PROFILE)
    assert costs.matrix(4, Fraction(7, 10)) == Cost(Fraction(224, 10), Fraction(224, 10))
    assert costs.misc("softmax", 1024) == Cost(Fraction(128), Fraction(128))
    assert costs.barrier() == Cost(Fraction(1), Fraction(1))
    assert costs.completion_gap_cycles == 0
