"""Are codewords and kept groups decoded from memory, and do their products equal golden?"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.formats.gqsa import group_sparse_bits
from hwsim.core.machine import make_machine
from hwsim.core.sparsity import parse_pattern
from hwsim.experiments.weight_codes import WeightCodes, weight_codes
from hwsim.flightllm import functional_coded
from hwsim.flightllm.body import Body, BodyBuilder
from hwsim.flightllm.emit_step import emit_step
from hwsim.flightllm.functional_coded import decoded_codes
from hwsim.flightllm.gqsa_engine import task_split_cycles
from hwsim.flightllm.isa import LD, MV
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.machine import FlightMachine
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import PRESETS, FlightSpec
from hwsim.flightllm.unit_costs import UnitCosts
from hwsim.flightllm.unit_spec import QMoeSpec
from mappers.greedy import map_graph
from models.build import GraphBuilder
from models.sparsify.magnitude import mask_of, prune

U280 = PRESETS["u280"]
assert isinstance(U280, FlightSpec)
QMOE = ("experts.format=qmoe", "experts.unit.entries=330")
Array = np.ndarray[Any, Any]


class Projection:
    """An expert's matrix [81, 600] and INT8 activations: ragged k, two groups of columns."""

    def __init__(self, tokens: int, sparsity: str, settings: tuple[str, ...] = ()) -> None:
        machine = make_machine("flightllm", "u280", settings=settings)
        assert isinstance(machine, FlightMachine)
        b = GraphBuilder("one")
        x = b.input("hidden", (1, tokens, 81))
        graph = b.build([b.linear("l0.moe.e0.up", x, 600, bias=False)])
        if sparsity != "dense":
            graph = prune(graph, parse_pattern(sparsity))
        rng = np.random.default_rng(tokens)
        self.machine = machine
        self.program: FlightProgram = machine.lower(graph, map_graph(graph, machine))
        [op] = graph.ops()
        weights = rng.standard_normal((81, 600)).astype("f4")
        weights *= rng.random(weights.shape) < 0.2  # few codewords
        weights[:, 7] = 0
        mask = None
        if sparsity != "dense":
            assert op.weight is not None
            mask = mask_of(op, weights, op.weight.pattern)[None]
            weights = np.where(mask[0], weights, 0)
        self.weights: WeightCodes = weight_codes(op, weights[None], mask, machine.spec)
        self.a = rng.integers(-127, 128, (1, tokens, 81)).astype(np.int8)

    def outputs(self, **changed: Array) -> tuple[Array, Array, Array]:
        """Return what instructions, the golden model and unencoded integers give."""
        stored = self.weights.stored | changed
        self.program.tensors = {f"l0.moe.e0.up.{key}": v for key, v in stored.items()}
        inputs = {"l0.moe.e0.up.a": self.a}
        exact = self.a.astype(np.int64) @ self.weights.codes.astype(np.int64)
        found = self.machine.execute(self.program, inputs)["l0.moe.e0.up"]
        return found, self.machine.golden(self.program, inputs)["l0.moe.e0.up"], exact


@pytest.mark.evidence("flightllm", "T0")
@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize(
    ("sparsity", "settings"),
    [("dense", QMOE), ("block:16x1:0.5", ()), ("block:16x1:0", ("groups.engines_per_core=7",))],
)
def test_a_projection_from_compact_weights_equals_golden(
    tokens: int, sparsity: str, settings: tuple[str, ...]
) -> None:
    one = Projection(tokens, sparsity, settings)
    assert "b" not in one.weights.stored
    found, golden, exact = one.outputs()
    assert found.dtype == golden.dtype
    assert found.tobytes() == golden.tobytes()
    assert np.array_equal(found, exact)


@pytest.mark.parametrize(
    ("sparsity", "settings", "key"),
    [("dense", QMOE, "row_codes"), ("block:16x1:0.5", (), "zeros")],
)
def test_another_word_in_memory_is_another_product(
    sparsity: str, settings: tuple[str, ...], key: str
) -> None:
    one = Projection(1, sparsity, settings)
    other = one.weights.stored[key].copy()
    other.reshape(-1)[0] ^= 1
    found, golden, exact = one.outputs(**{key: other})
    assert np.array_equal(found, golden)
    assert not np.array_equal(found, exact)


def test_an_engine_that_skips_the_fix_up_is_noticed(monkeypatch: Any) -> None:
    def without_last(unit: Any, rows: Any, acts: Array, engines: int) -> Array:
        return real(unit, rows, acts, engines) - (engines > 1)

    real = functional_coded.stream_sums
    monkeypatch.setattr(functional_coded, "stream_sums", without_last)
    found, golden, _ = Projection(1, "block:16x1:0.5").outputs()
    assert not np.array_equal(found, golden)


def test_a_wrong_address_meets_other_groups() -> None:
    one = Projection(1, "block:16x1:0.5")
    found, _, exact = one.outputs()
    assert np.array_equal(found, exact)
    code = one.program.bodies[0].code
    tile = np.flatnonzero((code["unit"] == LD) & (code["mode"] == 4))[0]
    code["address"][tile] += 64
    one.program.met.clear()
    assert not np.array_equal(one.outputs()[0], exact)


@pytest.mark.parametrize(("words", "offsets"), [([3], [0, 1]), ([0] * 60, [0, 60])])
def test_rows_of_another_length_are_refused(words: list[int], offsets: list[int]) -> None:
    stored = {"codewords": np.array(words, np.uint16), "row_offsets": np.array(offsets, np.int32)}
    stored["row_codes"] = np.array([[-1, 1]], np.int8)
    tensors = {f"x.{key}": values for key, values in stored.items()}
    with pytest.raises(InputError, match=r"x.codewords: need rows of 81 weights"):
        decoded_codes(tensors, "x", 81, QMoeSpec(entries=330))


def step(density: Fraction, coding: Any = "gqsa") -> Body:
    b = BodyBuilder(U280)
    emit_step(b, Layer("linear", 1, k=4096, n=3 * 512, density=density, coding=coding))
    return b.build()


def test_groups_are_loaded_by_their_size_and_multiplied_at_the_engines_pace() -> None:
    """A core has 512 of 1536 columns; half of 256 groups of each are kept."""
    built, dense = step(Fraction(1, 2)), step(Fraction(1), "")
    kept = 512 * 256 // 2
    loaded = built.filled["a_buffer"]
    assert loaded == group_sparse_bits(512, kept) // 8 - 4  # the last pointer of all rows
    products = built.code[built.code["unit"] == MV]
    busy = sum(built.costs[c] for c in products["cost"].tolist())
    assert busy == kept / 64
    assert busy == sum(dense.costs[c] for c in dense.code["cost"][dense.code["unit"] == MV]) / 2
    assert built.issued_macs == 16 * kept


@pytest.mark.parametrize("count", [1, 64, 65, 4096])
def test_a_product_of_groups_is_told_when_its_last_row_is_whole(count: int) -> None:
    assert isinstance(U280, FlightSpec)
    cost = UnitCosts(U280).groups(count)
    assert cost.busy == -(-count // 64)
    # Two cycles more until an instruction that waits may start.
    assert cost.told == task_split_cycles(U280.groups.unit, count, 64) + 2


@pytest.mark.parametrize(
    ("sparsity", "message"),
    [
        ("block:32x1:0.5", "--sparsity: need block:16x1:S, groups of 16 along k, found block:32x1"),
        ("block:16x1:1", "--sparsity: need block:16x1:S with S below 1, found no group kept"),
    ],
)
def test_other_blocks_are_refused(sparsity: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Projection(1, sparsity)
