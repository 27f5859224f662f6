# amaranth: UnusedElaboratable=no
"""Do a layer's instructions start in the simulator when the RTL's scoreboard starts them?

The scoreboard is told what the units do: a unit takes its next instruction when it has room, and
completes each when its model says. If starts agree under these conditions in every cycle, the
simulator's times are the ones that units and scoreboard come to together. A completion that finds
no room is offered until there is some, those behind it one after the other: when they are taken is
compared as well.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from hwsim.flightllm.body import Body, BodyBuilder, bits
from hwsim.flightllm.emit_prompt import emit_prompt
from hwsim.flightllm.emit_step import emit_step
from hwsim.flightllm.isa import LD, SYS, encode_mask
from hwsim.flightllm.lower import _balance
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import PRESETS, FlightSpec
from hwsim.flightllm.timing import BodyTimes, play_times
from hwsim.flightllm.token_scoreboard import TokenPlay, dispatch_cycles, play_scoreboard
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.cosim.vectors import Schedule, Vectors
from rtl.flightllm.token_scoreboard import TokenScoreboard
from tests.flightllm.tiny_model import STEP_LAYERS

SPEC = PRESETS["u280"]
assert isinstance(SPEC, FlightSpec)
FEW_ROWS = SPEC.model_copy(update={"mpe": SPEC.mpe.model_copy(update={"mm_rows": 32})})
"""A prompt's layers of fewer rows, so that the RTL plays them in seconds."""
NORM = Layer("norm", 32, n=32, function="rmsnorm")
"""Its loads outrun the SFU: 15 tokens wait, then 8 loads in flight."""
LAYERS = [
    *STEP_LAYERS,
    Layer("norm", 1, n=512, function="rmsnorm"),
    Layer("linear", 128, k=512, n=96, functions=("silu", "mul"), operands=1),
]
SHORT = [
    NORM,
    Layer("linear", 64, k=32, n=768, functions=("silu", "mul"), operands=1),
    Layer("scores", 32, k=32, n=64, heads=4, group=2, context=64, functions=("softmax",)),
    Layer("mix", 32, k=64, n=32, heads=4, group=2, context=64, is_causal=True),
]


def whole(layer: Layer, spec: FlightSpec = SPEC) -> Body:
    """Return the layer with loads and stores rounded up to cycles, as a controller takes them."""
    b = BodyBuilder(spec)
    (emit_step if layer.tokens == 1 else emit_prompt)(b, layer)
    b.barrier(bits(LD))
    body = b.build()
    _balance(body.code)
    costs = tuple(Fraction(-(-c.numerator // c.denominator)) for c in body.costs)
    told = tuple(c + t - b for c, t, b in zip(costs, body.told, body.costs, strict=True))
    return replace(body, costs=costs, told=told)


def scoreboard_work(body: Body, times: BodyTimes) -> tuple[Vectors, Schedule]:
    """Return what the scoreboard gets while the units behave as played, and what is expected.

    The barrier before the layer is taken in cycle 0 and completes in cycle 1; its followers start
    when that has passed.
    """
    late = 1 + dispatch_cycles(SPEC.tokens)
    assert times.per_cycle == 1
    code, told = body.code, np.array([int(t) for t in body.told])[body.code["cost"]]
    length = int((times.start + np.maximum(times.ticks, told)).max() + times.told.max()) + late + 1
    inputs: dict[str, list[int]] = {}
    gaps, stalls, starts, landed = {}, {}, {}, {}
    for u in range(6):
        mine = np.flatnonzero(code["unit"] == u)
        begin = times.start[mine] + late
        waits = [encode_mask(u, int(row["wait"])) for row in code[mine]]
        masks = [encode_mask(u, int(row["release"])) for row in code[mine]]
        # Complete when the model of the unit says, those in wait one cycle behind the other.
        ready = begin + told[mine] - dispatch_cycles(SPEC.tokens)
        done = times.told[mine] + late - dispatch_cycles(SPEC.tokens)
        ready = np.maximum(ready, np.concatenate([[0], done[:-1] + 1])[: len(mine)])
        if u == SYS:  # the barrier in front of the layer, and whoever waits for it
            followers = code["unit"][(code["wait"] >> SYS & 1) > 0].tolist()
            waits, masks = [0, *waits], [encode_mask(SYS, bits(*followers)), *masks]
            begin, ready, done = (np.concatenate([[1], x]) for x in (begin, ready, done))
        inputs[f"i__{u}"] = [w << 5 | r for w, r in zip(waits, masks, strict=True)]
        inputs[f"done__{u}"] = masks
        gaps[f"done__{u}"] = np.ones(length, np.bool_)
        gaps[f"done__{u}"][ready] = False
        gaps[f"i__{u}"] = np.zeros(0, np.bool_)
        is_busy = np.zeros(length, np.bool_)
        ticks = times.ticks[mine].tolist()
        for first, busy in zip(begin.tolist()[-len(mine) :], ticks, strict=True):
            is_busy[first + 1 : first + busy] = True
        stalls[f"o__{u}"] = is_busy
        starts[f"o__{u}"], landed[f"done__{u}"] = begin, done
    expected = {f"o__{u}": [x & 31 for x in inputs[f"i__{u}"]] for u in range(6)}
    vectors = Vectors(inputs, expected, gaps, stalls, seed=0, name="layer")
    return vectors, Schedule(landed, starts)


def schedule(vectors: Vectors) -> Schedule:
    waits, releases = (
        [[f(x) for x in vectors.inputs[f"i__{u}"]] for u in range(6)]
        for f in (lambda x: x >> 5, lambda x: x & 31)
    )
    dones = [vectors.inputs[f"done__{u}"] for u in range(6)]
    play = TokenPlay(waits, releases, dones)
    cycles = play_scoreboard(SPEC.tokens, play, vectors.source_gaps, vectors.sink_stalls).cycles
    arrays = {name: np.array(found, np.int64) for name, found in cycles.items()}
    return Schedule(
        {name: found for name, found in arrays.items() if not name.startswith("o")},
        {name: found for name, found in arrays.items() if name.startswith("o")},
    )


def agrees(found: Schedule, expected: Schedule) -> bool:
    """Return whether starts and completions are in the expected cycles."""
    pairs = [(found.emit_cycles[name], cycles) for name, cycles in expected.emit_cycles.items()] + [
        (found.accept_cycles[name], cycles) for name, cycles in expected.accept_cycles.items()
    ]
    return all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.evidence("flightllm", "T3")
@pytest.mark.parametrize(
    ("layer", "spec"),
    [*((layer, SPEC) for layer in LAYERS), *((layer, FEW_ROWS) for layer in SHORT)],
    ids=lambda x: f"{x.kind}-{x.tokens}" if isinstance(x, Layer) else "",
)
def test_starts_are_those_of_the_scoreboards_model(layer: Layer, spec: FlightSpec) -> None:
    body = whole(layer, spec)
    vectors, expected = scoreboard_work(body, play_times(body))
    assert agrees(schedule(vectors), expected)


@pytest.mark.evidence("flightllm", "T3")
@pytest.mark.parametrize("layer", [LAYERS[1], *SHORT[:2]], ids=lambda x: f"{x.kind}-{x.tokens}")
def test_starts_are_those_of_the_rtl(layer: Layer) -> None:
    body = whole(layer, FEW_ROWS)
    vectors, expected = scoreboard_work(body, play_times(body))
    accepts = schedule(vectors).accept_cycles | expected.accept_cycles
    observed = run_pysim(TokenScoreboard(SPEC.tokens), vectors)
    check(observed, vectors, Schedule(accepts, expected.emit_cycles))


def test_a_full_counter_holds_loads_back_until_the_sfu_has_taken_a_token() -> None:
    body = whole(NORM, FEW_ROWS)
    free = replace(body, token_depth=0, in_flight=0)
    bound, unbound = play_times(body), play_times(free)
    load = np.flatnonzero(body.code["unit"] == LD)
    depth, flights = SPEC.tokens.depth, SPEC.tokens.in_flight
    # The SFU holds one that it works on and one that is next: tokens of two more are taken.
    last = depth + flights + 2
    assert np.array_equal(bound.start[load[:last]], unbound.start[load[:last]])
    assert bound.start[load[last]] > unbound.start[load[last]]
    vectors, wrong = scoreboard_work(free, unbound)
    assert not agrees(schedule(vectors), wrong)


def test_a_completion_a_cycle_late_is_noticed() -> None:
    body = whole(LAYERS[3])
    late = replace(body, told=tuple(t + 1 for t in body.told))
    vectors, _ = scoreboard_work(body, play_times(body))
    wrong = scoreboard_work(late, play_times(late))[1]
    assert not agrees(schedule(vectors), wrong)
    accepts = schedule(vectors).accept_cycles
    with pytest.raises(CosimError):
        check(
            run_pysim(TokenScoreboard(SPEC.tokens), vectors), vectors,
            Schedule(accepts, wrong.emit_cycles),
        )  # fmt: skip
