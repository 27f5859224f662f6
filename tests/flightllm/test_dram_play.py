"""Check layers behind HBM command by command: addresses, order, tokens, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hwsim.components.dram.arrival import ArrivalDram
from hwsim.components.dram.devices import load_device
from hwsim.components.dram.state import Controller
from hwsim.components.energy_dram import dram_energy
from hwsim.core.errors import HwsimError, InputError, SpecError
from hwsim.core.machine import make_machine
from hwsim.flightllm.body import Body, BodyBuilder, Transfer, bits
from hwsim.flightllm.dram_play import check_capacity, dram_layer_time, transfers
from hwsim.flightllm.emit_prompt import emit_prompt
from hwsim.flightllm.emit_step import emit_step
from hwsim.flightllm.isa import CODE, LD, MM, ROW, SPREAD, ST, STRIPED, SYS
from hwsim.flightllm.lower import _balance
from hwsim.flightllm.places import INPUT, NOWHERE, Place
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import PRESETS, FlightSpec
from hwsim.flightllm.timing import play_body
from mappers.greedy import map_graph
from models.llm.config import parse_config
from models.llm.graph import llm_graph
from models.workload import Workload
from tests.flightllm.tiny_model import STEP_LAYERS, TINY

U280 = PRESETS["u280"]
assert isinstance(U280, FlightSpec)


def body(layer: Layer) -> Body:
    b = BodyBuilder(U280)
    (emit_step if layer.tokens == 1 else emit_prompt)(b, layer)
    b.barrier(bits(LD))
    built = b.build()
    _balance(built.code)
    return built


def one_load(size: int, at: Place) -> Body:
    """Return a load, a store of nothing that waits for it, and the barrier."""
    b = BodyBuilder(U280)
    b.load(size, Transfer(), mode=0, release=bits(ST), at=at)
    b.store(0, Transfer(), wait=bits(LD), release=bits(5))
    b.barrier(0)
    return b.build()


def test_transfers_say_what_moves_on_each_channel() -> None:
    """First channel and how many, address, bytes of a piece, pieces and their stride."""
    code = np.zeros(8, CODE)
    code["operand"], code["channel"], code["address"] = INPUT, 3, 640
    code["length"], code["stride"] = 100, 128
    code["loops"][1] = 2 | 3 << 8
    code["flags"][2] = STRIPED
    code["flags"][3], code["length"][3] = SPREAD, 800
    code["flags"][4], code["length"][4] = ROW, 40
    code["operand"][5] = NOWHERE
    code["length"][6] = 0
    code["unit"][7] = MM
    assert transfers(code)[:5].tolist() == [
        [3, 1, 640, 100, 1, 128],
        [3, 1, 640, 100, 6, 128],
        [0, 8, 80, 13, 1, 128],
        [0, 8, 640, 100, 1, 128],
        [3, 1, 640, 16, 3, 256],
    ]
    assert transfers(code)[5:, 4].tolist() == [0, 0, 0]  # nothing in memory


@pytest.mark.evidence("flightllm", "T2")
@pytest.mark.parametrize(
    "layer",
    [
        *STEP_LAYERS,
        Layer("linear", 128, k=256, n=96, functions=("silu",)),
        Layer("norm", 128, n=512, function="rmsnorm"),  # its loads wait for room
    ],
    ids=lambda layer: f"{layer.kind}{layer.tokens}",
)
def test_without_memory_all_starts_are_those_of_the_other_player(layer: Layer) -> None:
    built = body(layer)
    costs = tuple(Fraction(-(-c.numerator // c.denominator)) for c in built.costs)
    told = tuple(c + t - b for c, t, b in zip(costs, built.told, built.costs, strict=True))
    built = replace(built, costs=costs, told=told)
    code = built.code.copy()
    code["operand"] = 0  # nothing of it lies in memory
    assert dram_layer_time(built, code, U280).cycles == play_body(built).cycles


def test_a_load_takes_what_its_channel_takes() -> None:
    size, address = 5000, 1 << 20
    built = one_load(size, Place(INPUT, address, channel=5))
    memory = ArrivalDram(
        load_device("hbm2-1800", 1), Controller(mapping="ChRoRaBaCoBg"),
        cycle_hz=U280.clock_hz, path_cycles=U280.memory.path_cycles,
    )  # fmt: skip
    done = memory.access(address, size, 0)
    time = dram_layer_time(built, built.code, U280)
    assert time.busy[LD] == done
    # Two cycles per token; the store and the barrier take a cycle each.
    assert time.cycles == done + 2 + (1 + 2) + (1 + 2)


def test_rows_of_one_bank_take_longer_than_a_stream() -> None:
    stream = one_load(64, Place(INPUT, 0, rows=64, stride=64))
    rows = one_load(64, Place(INPUT, 0, rows=64, stride=1 << 14))
    times = []
    for built in (stream, rows):
        built.code["length"][0] = 64
        times.append(dram_layer_time(built, built.code, U280).cycles)
    assert times[1] > 1.5 * times[0]


def test_a_step_is_between_the_peak_of_its_channels_and_one_load_after_the_other() -> None:
    layer = Layer("linear", 1, k=4096, n=6144)
    built = body(layer)
    found = dram_layer_time(built, built.code, U280)
    peak = U280.hbm.channels_per_core * U280.hbm.channel_bytes_per_s
    least = built.hbm_read * U280.clock_hz / peak
    assert least < found.cycles < 1.3 * least
    one = dram_layer_time(replace(built, in_flight=1), built.code, U280)
    assert one.cycles > 4 * found.cycles


@pytest.mark.parametrize(("decoders", "is_bound"), [(1, True), (64, False)])
def test_codewords_wait_for_memory_and_decoders(decoders: int, is_bound: bool) -> None:
    settings = ["experts.format=qmoe", f"experts.decoders_per_core={decoders}"]
    spec = make_machine("flightllm", "u280", settings=settings).spec
    assert isinstance(spec, FlightSpec)
    b = BodyBuilder(spec)
    emit_step(b, Layer("linear", 1, k=2048, n=3 * 512, coding="qmoe"))
    b.barrier(0)
    built = b.build()
    _balance(built.code)
    time = dram_layer_time(built, built.code, spec)
    decoding = 2048 * 512 / spec.experts.weights_per_codeword / decoders
    assert time.cycles > decoding
    assert (time.cycles < 1.1 * decoding) == is_bound


def test_a_store_has_moved_when_the_barrier_is_reached() -> None:
    b = BodyBuilder(U280)
    b.store(4096, Transfer(), release=bits(SYS), at=Place(INPUT, channel=2))
    b.barrier(0)
    built = b.build()
    time = dram_layer_time(built, built.code, U280)
    peak = U280.hbm.channel_bytes_per_s / U280.clock_hz
    assert time.busy[ST] < 4096 / peak < time.cycles  # answered when taken; half waits in a queue


def test_a_token_that_nobody_gives_is_a_deadlock() -> None:
    built = body(STEP_LAYERS[0])
    built.code["release"][built.code["unit"] == LD] = 0
    with pytest.raises(HwsimError, match="need tokens for instruction"):
        dram_layer_time(built, built.code, U280)


def run(workload: Workload, *asked: str, **how: Any) -> Any:
    machine = make_machine("flightllm", "u280", settings=asked)
    graph = llm_graph("tiny", parse_config(TINY), workload)
    return machine.run(machine.lower(graph, map_graph(graph, machine)), **how)


@pytest.mark.parametrize(
    "asked",
    [
        {"phase": "decode", "kv_tokens": 40},
        {"phase": "prefill", "seq_tokens": 20},
        {"phase": "request", "prompt_tokens": 20, "generate_tokens": 3},
    ],
    ids=lambda asked: asked["phase"],
)
def test_a_phase_runs_behind_dram_and_moves_the_same_bytes(asked: Any) -> None:
    step = Workload(**asked)
    simple, dram = run(step), run(step, "memory.model=dram")
    ideal = run(step, "memory.model=ideal")
    assert ideal.cycles < min(dram.cycles, simple.cycles)
    assert dram.stats.bytes == simple.stats.bytes == ideal.stats.bytes
    assert dram.cycles != simple.cycles
    dram.check()
    ideal.check()
    commands, moved = dram.extra["dram_commands"], dram.stats.bytes["dram"]
    for name, direction in (("RD", "read"), ("WR", "write")):
        assert moved[direction] <= 32 * commands[name]
    assert commands["RD"] * 32 < 1.2 * moved["read"]  # whole bursts of 32 bytes
    assert sum(dram.extra["dram_rows"].values()) == commands["RD"] + commands["WR"]
    parts = dram_energy(load_device("hbm2-1800"), commands, dram.cycles, 225_000_000)
    energy = dram.stats.energy_by_component_pj
    assert energy["hbm"] == pytest.approx(sum(parts.values()) - parts["background"])
    assert energy["hbm"] > simple.stats.energy_by_component_pj["hbm"]  # more rows opened
    assert "dram_commands" not in simple.extra
    machine = make_machine("flightllm", "u280", settings=["memory.model=dram"])
    graph = llm_graph("tiny", parse_config(TINY), step)
    bounds = machine.bounds(machine.lower(graph, map_graph(graph, machine)))
    assert bounds.min_cycles <= dram.cycles <= bounds.max_cycles
    tile = run(step, "memory.model=dram", detail="tile")
    assert tile.cycles == pytest.approx(dram.cycles, rel=0.01)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["timing=artifact"], "timing: need independent for memory.model dram, found artifact"),
        (["memory.device=ddr4-2400"], "memory.device: need 32 channels, found 4 on ddr4-2400"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(asked: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make_machine("flightllm", "u280", settings=["memory.model=dram", *asked])


def test_traces_and_models_too_large_are_refused() -> None:
    with pytest.raises(InputError, match="--trace: need memory.model=simple, found dram"):
        run(Workload(phase="decode", kv_tokens=40), "memory.model=dram", trace=True)
    check_capacity(1 << 28, U280)
    with pytest.raises(InputError, match="memory.device: need 268435457 bytes per channel"):
        check_capacity((1 << 28) + 1, U280)
