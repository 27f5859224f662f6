"""Check runs of whole models: published counts and times, accounts, requests, values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.machine import make_machine
from hwsim.core.result import Result
from hwsim.core.sparsity import NM
from hwsim.experiments.pipeline import RunRequest, execute
from mappers.greedy import map_graph
from models.llm.config import parse_config
from models.llm.graph import llm_graph
from models.sparsify.magnitude import prune
from models.workload import Workload
from tests.flightllm.tiny_model import TINY


def llama(phase: str, preset: str = "vhk158", **lengths: int) -> Result:
    return execute(RunRequest("llama2-7b", "flightllm", preset, phase=phase, **lengths))  # type: ignore[arg-type]


def tiny(workload: Workload, *settings: str) -> Result:
    machine = make_machine("flightllm", "vhk158", settings=settings)
    graph = llm_graph("tiny", parse_config(TINY), workload)
    return machine.run(machine.lower(graph, map_graph(graph, machine)))


@pytest.mark.evidence("flightllm", "T2")
@pytest.mark.parametrize(
    ("context", "loads", "products", "ms"),
    [(16, 82_386, 8_830, 9.113573), (2048, 114_130, 11_902, 12.226162)],
)
def test_steps_have_the_published_instructions_and_times(
    context: int, loads: int, products: int, ms: float
) -> None:
    result = llama("decode", kv_tokens=context)
    assert result.extra["instructions"] == {
        "LD": loads, "ST": 418, "MM": 0, "MV": products, "MISC": 4_545, "SYS": 418,
    }  # fmt: skip
    assert 1e3 * result.cycles / result.clock_hz == pytest.approx(ms, rel=1e-4)
    result.check()


def test_contexts_of_one_bucket_share_a_program() -> None:
    first, last, next_one = (
        tiny(Workload(phase="decode", kv_tokens=tokens)) for tokens in (17, 32, 33)
    )
    assert first.cycles == last.cycles < next_one.cycles


def test_a_request_takes_its_prompt_and_every_step() -> None:
    request = tiny(Workload(phase="request", prompt_tokens=30, generate_tokens=5))
    prompt = tiny(Workload(phase="prefill", seq_tokens=30))
    steps = {c: tiny(Workload(phase="decode", kv_tokens=c)) for c in (32, 48)}
    # Contexts 31, 32 fall into the bucket of 32; 33, 34, 35 into that of 48.
    expected = prompt.cycles + 2 * steps[32].cycles + 3 * steps[48].cycles
    assert request.cycles == pytest.approx(expected, abs=6)  # each run rounds up once
    assert request.extra["tokens"] == 5
    assert request.extra["end_to_end_tokens_per_s"] < request.extra["tokens_per_s"]
    request.check()


def test_energy_is_the_boards_power_over_the_run() -> None:
    result = llama("decode", "u280", kv_tokens=128)
    seconds = result.cycles / result.clock_hz
    assert result.stats.energy_pj == pytest.approx(45e12 * seconds, rel=1e-9)
    assert result.extra["joules_per_token"] == pytest.approx(45 * seconds, rel=1e-9)
    assert 0 < result.extra["bandwidth_utilization"] < 1


def test_bytes_are_those_of_all_cores() -> None:
    result = llama("decode", "u280", kv_tokens=128)
    weights = 32 * (2 * 0.7 + 2) * 4096**2 + 32 * 3 * 4096 * 11008 + 4096 * 32000
    cache = 2 * 32 * 128 * 4096
    # 4.1 bits per kept weight; keys and values are read by the cache layer and by the products.
    least = weights * 4.1 / 8 + 2 * cache
    # Columns go to cores in groups of 512: 8 groups are 3, 3 and 2, and all count as 3.
    assert least < result.stats.bytes["dram"]["read"] < 1.13 * least
    assert result.extra["hbm_bytes"] == sum(result.stats.bytes["dram"].values())


def test_fewer_kept_weights_take_less_time() -> None:
    machine = make_machine("flightllm", "u280")
    graph = llm_graph("tiny", parse_config(TINY), Workload(phase="decode", kv_tokens=16))
    cycles = []
    for kept in (16, 8, 4, 2):
        pattern = NM(nm_n=kept, nm_m=16)
        pruned = prune(graph, pattern) if kept < 16 else graph
        cycles.append(machine.run(machine.lower(pruned, map_graph(pruned, machine))).cycles)
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > cycles[-1]


def test_densities_that_a_block_cannot_say_are_refused() -> None:
    machine = make_machine("flightllm")
    graph = llm_graph("tiny", parse_config(TINY), Workload(phase="decode", kv_tokens=16))
    for kept, group in ((3, 16), (4, 8)):
        with pytest.raises(InputError, match="nm:N:16 with N of 2, 4, 8 or 16"):
            map_graph(prune(graph, NM(nm_n=kept, nm_m=group)), machine)


def values(masked: bool) -> tuple[Any, Any, dict[str, np.ndarray]]:
    machine = make_machine("flightllm")
    graph = llm_graph("tiny", parse_config(TINY), Workload(phase="decode", kv_tokens=40))
    pattern = NM(nm_n=4, nm_m=16)
    graph = prune(graph, pattern) if masked else graph
    rng = np.random.default_rng(0)
    k, n = 512, 256
    tensors = {"l0.ffn.down.b": rng.integers(-127, 128, (1, k, n)).astype(np.int8)}
    if masked:
        tensors["l0.ffn.down.mask"] = pattern.sample_mask((k, n), rng)[None]
    inputs = {"l0.ffn.down.a": rng.integers(-128 + 1, 128, (1, 3, k)).astype(np.int8)}
    return machine, machine.lower(graph, map_graph(graph, machine), tensors), inputs


@pytest.mark.parametrize("masked", [False, True])
def test_products_by_instruction_are_exact_at_the_extremes(masked: bool) -> None:
    machine, program, inputs = values(masked)
    for code in (127, -127, 0):
        inputs["l0.ffn.down.a"][:] = code
        program.tensors["l0.ffn.down.b"][:] = -127
        outputs, golden = machine.execute(program, inputs), machine.golden(program, inputs)
        assert outputs["l0.ffn.down"].tobytes() == golden["l0.ffn.down"].tobytes()


def test_the_most_negative_code_overflows_a_lane_and_is_refused() -> None:
    machine, program, inputs = values(False)
    inputs["l0.ffn.down.a"][0, 0, 0] = -128
    with pytest.raises(InputError, match="codes of -127 to 127"):
        machine.execute(program, inputs)
