"""Do attention's products come from what loads and stores find at their addresses?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.machine import make_machine
from hwsim.flightllm.isa import LD, MM, MV, ROW, ST
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.places import CACHE, INPUT
from mappers.greedy import map_graph
from models.llm.config import parse_config
from models.llm.graph import llm_graph
from models.workload import Workload

WIDTH = 32
CONFIG = {
    "model_type": "llama", "hidden_size": 160, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 10, "num_key_value_heads": 5, "vocab_size": 64,
    "head_dim": WIDTH,
}  # fmt: skip


def compiled(workload: Workload, preset: str, **config: Any) -> tuple[Any, FlightProgram]:
    asked = () if preset == "u280" else ("query_key_percent=100",)
    machine = make_machine("flightllm", preset, settings=asked)
    graph = llm_graph("small", parse_config(CONFIG | config), workload)
    return machine, machine.lower(graph, map_graph(graph, machine), {})  # type: ignore[return-value]


def operands(program: FlightProgram, part: str) -> tuple[str, dict[str, Any]]:
    """Return the op and random codes for both of its operands, put into the program."""
    run = next(r for r in program.runs if r.op.endswith(f"attn.{part}"))
    layer = run.layer
    rng = np.random.default_rng(len(program))
    kv_heads = layer.heads // layer.group
    n = layer.n if part == "mix" else layer.context
    k = layer.context if part == "mix" else layer.k
    a = rng.integers(-127, 128, (kv_heads * run.steps, layer.group * layer.tokens, k))
    b = rng.integers(-127, 128, (kv_heads * run.steps, k, n))
    program.tensors[f"{run.op}.b"] = b.astype(np.int8)
    return run.op, {f"{run.op}.a": a.astype(np.int8)}


def is_golden(machine: Any, program: FlightProgram, part: str) -> bool:
    op, inputs = operands(program, part)
    found, golden = machine.execute(program, inputs)[op], machine.golden(program, inputs)[op]
    assert golden.any()
    return bool(found.tobytes() == golden.tobytes())


WORKLOADS = [
    Workload(phase="decode", kv_tokens=5),
    Workload(phase="decode", kv_tokens=150),
    Workload(phase="decode", kv_tokens=530),
    Workload(phase="prefill", seq_tokens=40),
    Workload(phase="prefill", seq_tokens=300),
]


@pytest.mark.evidence("flightllm", "T1")
@pytest.mark.parametrize("part", ["scores", "mix"])
@pytest.mark.parametrize("preset", ["u280", "vhk158"])
@pytest.mark.parametrize("work", WORKLOADS, ids=lambda w: f"{w.kv_tokens}-{w.seq_tokens}")
def test_attention_meets_its_operands_at_their_addresses(
    work: Workload, preset: str, part: str
) -> None:
    machine, program = compiled(work, preset)
    assert is_golden(machine, program, part)


def row_of(program: FlightProgram, part: str, unit: int, operand: int = 0) -> tuple[Any, int]:
    """Return the code of a run's body and its first row of ``unit`` that moves ``operand``."""
    run = next(r for r in program.runs if r.op.endswith(part))
    code = program.bodies[run.body].code
    is_chosen = (code["unit"] == unit) & (code["flags"] & 1 == 0 if unit == LD else True)
    if operand:
        is_chosen &= code["operand"] == operand
    return code, int(np.flatnonzero(is_chosen)[0])


_PRODUCT = [("a", 8), ("b", 8), ("bank", 1)]
_LOAD = [("address", 256), ("bank", 8), ("channel", 1)]
_WRONG = [
    *((CACHE, field, change) for field, change in [*_LOAD, ("length", 256), ("stride", 256)]),
    *((INPUT, field, change) for field, change in _LOAD[:2]),
    *((0, field, change) for field, change in _PRODUCT),
]


@pytest.mark.parametrize("part", ["scores", "mix"])
@pytest.mark.parametrize("work", [WORKLOADS[1], WORKLOADS[3]], ids=lambda w: w.phase)
def test_any_wrong_field_gives_a_wrong_product_or_none(work: Workload, part: str) -> None:
    machine, program = compiled(work, "u280")
    is_step = work.phase == "decode"
    for operand, field, change in _WRONG:
        unit = LD if operand else (MV if is_step else MM)
        code, row = row_of(program, f"attn.{part}", unit, operand)
        if field == "stride" and not code["stride"][row]:
            continue
        kept = code[field][row]
        code[field][row] += -change if kept >= change else change
        if field == "length":  # a single block is left
            code[field][row] = change
        program.met.clear()
        try:
            assert not is_golden(machine, program, part), (operand, field)
        except InputError as error:
            assert error.need == "all products in the program"  # written to another place
        code[field][row] = kept
    program.met.clear()
    assert is_golden(machine, program, part)


@pytest.mark.parametrize(
    ("work", "op", "change"),
    [
        (WORKLOADS[1], "attn.k.cache", ("address", 256)),
        (WORKLOADS[1], "attn.k.cache", ("channel", 1)),
        (WORKLOADS[3], "attn.k", ("address", 256)),
        (WORKLOADS[3], "attn.k", ("bank", 1)),
    ],
)
def test_a_key_stored_elsewhere_is_missed(work: Workload, op: str, change: tuple[str, int]) -> None:
    machine, program = compiled(work, "u280")
    assert is_golden(machine, program, "scores")
    code, row = row_of(program, op, ST)
    code[change[0]][row] += change[1]
    program.met.clear()
    assert not is_golden(machine, program, "scores")


@pytest.mark.parametrize("tokens", [150, 160])
def test_a_steps_row_is_a_line_of_its_block(tokens: int) -> None:
    _, program = compiled(Workload(phase="decode", kv_tokens=tokens), "u280")
    run = next(r for r in program.runs if r.op.endswith("attn.k.cache"))
    store = program.code(run)[program.code(run)["unit"] == ST][0]
    cache = next(r for r in program.layout.regions if r.name == "l0.attn.k.kept")
    # Token 149 or 159: slot 1 of 128 tokens, channel 1, line 5 or 15; two heads on a core.
    assert int(store["channel"]) == 1
    width = 2 * next(r.layer.k for r in program.runs if r.op.endswith("scores"))
    assert int(store["address"]) - cache.base == 16 * width + 16 * ((tokens - 1) % 16)
    assert (int(store["length"]), int(store["flags"])) == (width, ROW)


def test_a_request_fetches_what_its_prompt_and_steps_have_stored() -> None:
    work = Workload(phase="request", prompt_tokens=30, generate_tokens=4)
    machine, program = compiled(work, "u280")
    names = [r.op for r in program.runs if r.op.endswith(("scores", "mix"))]
    assert len(names) == 6  # a prompt and two buckets of two steps
    for part in ("scores", "mix"):
        for phase in {r.op.partition("/")[0] for r in program.runs}:
            assert is_golden(machine, only(program, phase), part)


def only(program: FlightProgram, phase: str) -> FlightProgram:
    """Return ``program`` with the runs of one phase first in what :func:`operands` looks at."""
    chosen = [i for i, r in enumerate(program.runs) if r.op.startswith(f"{phase}/")]
    others = [i for i in range(len(program.runs)) if i not in chosen]
    order = chosen + others
    layout = replace(
        program.layout,
        operands=[program.layout.operands[i] for i in order],
        rows={order.index(i): offset for i, offset in program.layout.rows.items()},
    )
    return replace(program, runs=[program.runs[i] for i in order], layout=layout, met={})
