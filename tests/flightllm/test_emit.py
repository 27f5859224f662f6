"""Check how layers become instructions: tiles, buffers, tokens, and exact costs."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.core.errors import HwsimError
from hwsim.core.machine import make_machine
from hwsim.flightllm.body import Body, BodyBuilder, Ring, bits
from hwsim.flightllm.emit_prompt import emit_prompt
from hwsim.flightllm.emit_step import emit_step, k_tiles
from hwsim.flightllm.isa import LD, MISC, MM, MV, ST
from hwsim.flightllm.lower import _balance
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import PRESETS, FlightSpec
from hwsim.flightllm.timing import play_body

ARTIFACT = PRESETS["vhk158"]
assert isinstance(ARTIFACT, FlightSpec)


def body(layer: Layer, spec: FlightSpec = ARTIFACT) -> Body:
    b = BodyBuilder(spec)
    (emit_step if layer.tokens == 1 else emit_prompt)(b, layer)
    b.barrier(bits(LD))
    built = b.build()
    _balance(built.code)
    return built


@pytest.mark.parametrize(
    ("blocks", "tiles"),
    [(1, [1]), (128, [128]), (256, [128, 128]), (688, [114] * 6 + [4]), (1024, [128] * 8)],
)
def test_k_is_divided_rounding_down_and_the_rest_is_a_tile(blocks: int, tiles: list[int]) -> None:
    assert k_tiles(blocks, 16, 4096) == tiles


@given(st.integers(1, 3000), st.integers(1, 64))
def test_tiles_cover_k_and_two_fit_the_buffer(blocks: int, addresses: int) -> None:
    tiles = k_tiles(blocks, addresses, 4096)
    assert sum(tiles) == blocks
    assert 2 * max(tiles) * addresses <= 4096


@given(st.lists(st.integers(1, 2048), min_size=1, max_size=40))
def test_live_tiles_never_exceed_the_buffer(sizes: list[int]) -> None:
    ring = Ring(4096)
    live: list[int] = []
    for size in sizes:
        first, waits = ring.place(size)
        live = [*live[waits:], size]
        assert sum(live) <= 4096
        assert first < 4096


def test_a_projection_of_a_step_has_its_loads_and_products() -> None:
    # 3 groups of 512 (the last half full), 2 tiles of k each, 8 loads per tile; vector and bias.
    code = body(Layer("linear", 1, k=4096, n=1280)).code
    counts = np.bincount(code["unit"], minlength=6)
    assert counts[[LD, MV, ST, MISC]].tolist() == [2 + 3 * 2 * 8, 6, 1, 0]


def test_costs_are_exact_fractions() -> None:
    built = body(Layer("linear", 1, k=4096, n=512, density=Fraction(7, 10), is_sparse=True))
    mv = built.code[built.code["unit"] == MV]
    assert {built.costs[c] for c in mv["cost"]} == {8 * 128 * Fraction(7, 10)}
    tile = built.code[(built.code["unit"] == LD) & (built.code["mode"] == 4)]
    # A channel's bytes at 25.6 GiB/s, eight channels at once, 70 %, INT4 and 0.7 of the weights.
    rate = Fraction(2**37, 5) * 8 * Fraction(7, 10) * Fraction(2) / Fraction(7, 10)
    assert {built.costs[c] for c in tile["cost"]} == {128 * 16 * 64 * 225_000_000 / rate}


def test_density_shortens_products_and_shrinks_loads() -> None:
    dense = body(Layer("linear", 1, k=4096, n=4096))
    half = body(Layer("linear", 1, k=4096, n=4096, density=Fraction(1, 2), is_sparse=True))
    assert play_body(half).busy[MV] * 2 == play_body(dense).busy[MV]
    assert half.filled["a_buffer"] * 2 == dense.filled["a_buffer"]


@pytest.mark.parametrize(
    "layer",
    [
        Layer("linear", 1, k=11008, n=4096, functions=("mul",), operands=1),
        Layer("scores", 1, k=128, n=1040, heads=8, group=2, context=1040, functions=("softmax",)),
        Layer("mix", 1, k=1040, n=128, heads=8, group=2, context=1040),
        Layer("linear", 128, k=11008, n=64, functions=("mul", "mul", "add"), operands=2),
        Layer(
            "scores",
            256,
            k=128,
            n=256,
            heads=3,
            context=256,
            functions=("softmax",),
            is_causal=True,
        ),
        Layer("mix", 256, k=256, n=128, heads=4, context=256, is_causal=True),
        Layer("norm", 256, n=512, function="rmsnorm"),
    ],
)
def test_a_layer_leaves_no_token_behind_and_finishes(layer: Layer) -> None:
    built = body(layer)
    code = built.code
    for producer in range(5):
        for consumer in range(6):
            gives = (code["unit"] == producer) & (code["release"] >> consumer & 1 > 0)
            waits = (code["unit"] == consumer) & (code["wait"] >> producer & 1 > 0)
            assert gives.sum() == waits.sum(), (producer, consumer)
    time = play_body(built)
    busiest = max(time.busy)
    assert busiest <= time.cycles <= sum(time.busy)


def test_unseen_blocks_of_a_causal_prompt_are_skipped() -> None:
    full = Layer("scores", 256, k=128, n=256, heads=1, context=256, functions=("softmax",))
    causal = Layer(
        "scores", 256, k=128, n=256, heads=1, context=256, functions=("softmax",), is_causal=True
    )
    counts = [int((body(x).code["unit"] == MM).sum()) for x in (full, causal)]
    # Two groups of 128 rows by steps of 16 keys: 16 + 16, or 8 + 16.
    assert counts == [32, 24]


def test_repeated_row_groups_cost_what_each_costs() -> None:
    layer = Layer("linear", 128, k=256, n=64, functions=("mul",), operands=1)
    one = body(layer)
    five = body(Layer("linear", 640, k=256, n=64, functions=("mul",), operands=1))
    assert (five.counts()[:5] == 5 * one.counts()[:5]).all()
    assert (five.hbm_read, five.hbm_write) == (5 * one.hbm_read, 5 * one.hbm_write)
    assert five.issued_macs == 5 * one.issued_macs
    assert play_body(five).busy[MM] == 5 * play_body(one).busy[MM]


def test_cores_share_columns_and_heads_without_a_correction() -> None:
    machine = make_machine("flightllm", "vhk158", settings=["timing=independent"])
    assert isinstance(machine.spec, FlightSpec)
    layer = Layer("linear", 1, k=4096, n=4096)
    shared, whole = body(layer, machine.spec), body(layer)
    assert shared.counts()[MV] * 4 == whole.counts()[MV]
    assert (machine.spec.speed, ARTIFACT.speed) == (1, Fraction(16, 5))


def test_a_token_that_nobody_gives_is_a_deadlock() -> None:
    built = body(Layer("linear", 1, k=64, n=64))
    built.code["release"][built.code["unit"] == LD] = 0
    with pytest.raises(HwsimError, match="need tokens for instruction"):
        play_body(built)


def test_a_pair_that_holds_fewer_tokens_than_its_program_needs_is_a_deadlock() -> None:
    machine = make_machine("flightllm", "u280", settings=["tokens.depth=1"])
    assert isinstance(machine.spec, FlightSpec)
    built = body(Layer("norm", 128, n=64, function="rmsnorm"), machine.spec)
    play_body(built)  # a token at a time is enough
    two = np.flatnonzero(built.code["unit"] == MISC)[:2]
    built.code["wait"][two] = 0  # one token may stay; the last one waits for room for ever
    with pytest.raises(HwsimError, match="or room"):
        play_body(built)
