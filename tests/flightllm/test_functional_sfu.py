"""Does the unit's arithmetic, job by job, equal its definition over whole vectors?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from hwsim.core.machine import make_machine
from hwsim.flightllm.isa import MISC
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.sfu_golden import exact_vectors
from hwsim.flightllm.unit_spec import SfuSpec
from hwsim.flightllm.vector_sfu import OPS, SfuJob, run_job
from mappers.greedy import map_graph
from models.llm.config import parse_config
from models.llm.graph import llm_graph
from models.workload import Workload
from tests.flightllm.tiny_model import TINY

SPEC = SfuSpec()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    op=st.sampled_from(OPS),
    elems=st.integers(1, 70),
    scale=st.sampled_from([0, 1, 77, 4096, 65535]),
    seed=st.integers(0, 999),
    values=st.sampled_from([(-128, 127), (-1, 1), (0, 0), (-128, -128), (127, 127)]),
)
def test_a_job_gives_what_the_definition_says(
    op: str, elems: int, scale: int, seed: int, values: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(values[0], values[1] + 1, (2, elems))
    golden = exact_vectors(SPEC, op, x[None], y[None], np.array([scale]), np.array([elems]))[0]
    beats = -(-elems // SPEC.lanes)
    padding = rng.integers(-128, 128, (2, beats * SPEC.lanes))
    padding[0, :elems], padding[1, :elems] = x, y
    job = SfuJob(op, beats, scale, elems % SPEC.lanes)  # type: ignore[arg-type]
    found = run_job(SPEC, job, *padding.reshape(2, beats, SPEC.lanes))
    assert found.ravel()[:elems].tolist() == golden.tolist()


def test_rows_of_different_lengths_are_independent() -> None:
    x = np.random.default_rng(0).integers(-128, 128, (3, 40))
    scale, length = np.array([300, 20, 4096]), np.array([1, 17, 40])
    whole = exact_vectors(SPEC, "softmax", x, x, scale, length)
    for row in range(3):
        own = x[row : row + 1, : length[row]]
        alone = exact_vectors(SPEC, "softmax", own, own, scale[row : row + 1], length[row:][:1])
        assert whole[row, : length[row]].tolist() == alone[0].tolist()
        assert not whole[row, length[row] :].any()
    assert whole[0, 0] == 255  # a single element has the whole share, of which 8 bits hold 255


def compiled(workload: Workload) -> tuple[FlightProgram, OpGraph]:
    machine = make_machine("flightllm", "vhk158")
    graph = llm_graph("tiny", parse_config(TINY), workload)
    program = machine.lower(graph, map_graph(graph, machine))
    assert isinstance(program, FlightProgram)
    return program, graph


def test_every_op_of_the_unit_has_instructions_fused_or_not() -> None:
    for setting in ("is_fused=true", "is_fused=false"):
        machine = make_machine("flightllm", "vhk158", settings=(setting,))
        for workload in (
            Workload(phase="decode", kv_tokens=20),
            Workload(phase="prefill", seq_tokens=20),
        ):
            graph = llm_graph("tiny", parse_config(TINY), workload)
            program = machine.lower(graph, map_graph(graph, machine))
            assert isinstance(program, FlightProgram)
            done = [name for run in program.runs for name in run.by_sfu]
            kinds = ("elementwise", "normalization", "softmax")
            assert sorted(done) == sorted(o.name for o in graph.ops() if o.kind.value in kinds)


def test_an_instruction_too_short_for_its_vector_is_refused() -> None:
    machine = make_machine("flightllm", "vhk158")
    program, _ = compiled(Workload(phase="decode", kv_tokens=20))
    x = np.ones((2, 20), np.int8)
    found = machine.execute(program, {"l0.attn.softmax.x": x})["l0.attn.softmax"]
    # scale 0: twenty equal shares of 256, cut.
    assert found.tolist() == [[256 // 20] * 20] * 2
    for body in program.bodies:
        body.code["k"][body.code["unit"] == MISC] = 1
    with pytest.raises(InputError, match="instructions over 20 elements, found 16"):
        machine.execute(program, {"l0.attn.softmax.x": x})


def test_an_op_without_instructions_and_codes_beyond_int8_are_refused() -> None:
    machine = make_machine("flightllm", "vhk158")
    program, _ = compiled(Workload(phase="decode", kv_tokens=20))
    with pytest.raises(InputError, match="op lm_head: need SFU instructions"):
        machine.execute(program, {"lm_head.x": np.ones((1, 8), np.int8)})
    with pytest.raises(InputError, match="norm.x: need codes of -128 to 127, found 128"):
        machine.execute(program, {"norm.x": np.full((1, 8), 128)})
