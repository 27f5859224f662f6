"""Hold the compiled pipeline to a literal one, to llvm-mca's counts and to its own rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwsim.core.result import STALL_REASONS
from hwsim.cpu.core_state import Core
from hwsim.cpu.isa import GENERAL, UopBuilder, UopKernel
from hwsim.cpu.kernel_run import KernelRun
from hwsim.cpu.rules import Pipeline, load_pipeline
from hwsim.cpu.spec import PRESETS, CpuSpec
from hwsim.experiments.cpu_loops import LOOPS, steady_state_cycles

X = GENERAL
N1 = PRESETS["sd855"]

# llvm-mca 19.1.7 on the inner loops of the generated code (`python -m benchmarks.llvm_mca
# llvm-mca-19`).
MCA_CYCLES = {
    "a57": (8.0, 8.0, 7.0, 13.0, 8.0, 16.0, 16.0, 24.0),
    "n1": (4.0, 4.0, 4.0, 6.5, 4.0, 8.0, 8.0, 12.0),
}


@pytest.mark.evidence("cpu", "T2")
@pytest.mark.parametrize("rules", list(MCA_CYCLES))
def test_steady_states_are_those_of_llvm_mca(rules: str) -> None:
    found = [steady_state_cycles(name, rules) for name in LOOPS]
    assert found == pytest.approx(MCA_CYCLES[rules], rel=0.002)


def test_the_comparison_with_llvm_mca_notices_a_slower_load_pipe() -> None:
    found = [steady_state_cycles(name, "a57") for name in LOOPS]
    assert found != pytest.approx(MCA_CYCLES["n1"], rel=0.05)


# A literal scheduler: every cycle it retires in order, issues the oldest ready instructions and
# dispatches. For rules that take their ports for one cycle it must agree with the calendar.

SINGLE_CYCLE = (
    *("alu", "alu_extend", "branch", "load_x", "load_s", "load_q", "load_dup"),
    *("fma_q", "fadd_q", "fmul_q", "move_q", "dup_x", "store_s"),
)


def literal_cycles(kernel: UopKernel, pipe: Pipeline, loads: int, stores: int) -> int:
    names = [name_of(row) for row in kernel.rows]
    rows, count = kernel.rows, len(kernel.rows)
    issued, done = [None] * count, [None] * count
    dispatched = [None] * count
    retired = 0
    cycle = 0
    head = 0
    while retired < count:
        while retired < count and done[retired] is not None and done[retired] <= cycle - 1:
            retired += 1
        slots = pipe.dispatch_width
        is_first = True
        while head < count:
            rule = pipe.rules[names[head]]
            held = sum(pipe.rules[n].uops for n in names[retired:head])
            is_fit = rule.uops <= slots or is_first
            if not is_fit or held + rule.uops > pipe.window_uops:
                break
            dispatched[head] = cycle
            slots, is_first, head = slots - rule.uops, False, head + 1
        taken = 0
        for i in range(retired, head):
            if issued[i] is not None or dispatched[i] >= cycle:
                continue
            if not is_ready(rows, names, pipe, issued, i, cycle):
                continue
            ports = []
            for mask, cycles in pipe.rules[names[i]].uses:
                assert cycles == 1
                free = mask & ~taken & ~sum(ports)
                if free == 0:
                    break
                ports.append(free & -free)
            else:
                taken |= sum(ports)
                issued[i] = cycle
                done[i] = cycle + pipe.rules[names[i]].latency_cycles
        cycle += 1
    return max(done)


def name_of(row: np.void) -> str:
    from hwsim.cpu.isa import OPCODES

    return OPCODES[int(row["opcode"])]


def is_ready(rows, names, pipe, issued, i, cycle) -> bool:
    for position, register in enumerate(rows[i]["src"].tolist()):
        if register < 0:
            continue
        writers = [j for j in range(i) if register in rows[j]["dst"].tolist()]
        if not writers:
            continue
        writer = writers[-1]
        rule = pipe.rules[names[writer]]
        is_chain = position == 0 and names[i].startswith("fma") and names[writer].startswith("fma")
        wait = rule.accumulate_cycles if is_chain else rule.latency_cycles
        if issued[writer] is None or issued[writer] + wait > cycle:
            return False
    return True


@st.composite
def straight_code(draw: st.DrawFn) -> UopKernel:
    b = UopBuilder("random")
    for _ in range(draw(st.integers(1, 60))):
        name = draw(st.sampled_from(SINGLE_CYCLE))
        vectors = st.integers(0, 3)
        dst, first, second = draw(vectors), draw(vectors), draw(vectors)
        if name.startswith("load"):
            b.op(name, (dst,), (X,), pointer="p", size=4)
        elif name.startswith("store"):
            b.op(name, (), (X, first), pointer="p", size=4)
        elif name == "fma_q":
            b.op(name, (dst,), (dst, first, second), macs=4)
        elif name == "branch":
            b.op(name, (), (first,))
        else:
            b.op(name, (dst,), (first, second))
    return b.build()


def run(kernel: UopKernel, spec: CpuSpec = N1) -> KernelRun:
    return Core(spec, is_ideal=True).run(kernel, dict.fromkeys(kernel.pointers, 0))


@pytest.mark.evidence("cpu", "T2")
@settings(max_examples=60)
@given(straight_code())
def test_the_calendar_schedules_as_a_literal_oldest_first_scheduler(kernel: UopKernel) -> None:
    pipe = load_pipeline("n1")
    assert run(kernel).cycles == literal_cycles(kernel, pipe, 68, 72)


@settings(max_examples=30)
@given(straight_code(), st.sampled_from(sorted(PRESETS)))
def test_every_slot_accounts_for_every_cycle(kernel: UopKernel, preset: str) -> None:
    result = run(kernel, PRESETS[preset])
    assert (result.slots.sum(axis=1) == result.cycles).all()
    assert result.slots.min() >= 0
    assert result.slots[:, 0].sum() == result.uops
    assert result.instructions == len(kernel.rows)


def chain(opcode: str, length: int, *, is_accumulating: bool = True) -> UopKernel:
    b = UopBuilder("chain")
    for _ in range(length):
        b.op(opcode, (0,), (0, 1) if is_accumulating else (1, 0))
    return b.build()


@pytest.mark.evidence("cpu", "T2")
@pytest.mark.parametrize("preset", ["sd835", "sd855", "sd835-little", "sd855-little", "wasm-x86"])
@pytest.mark.parametrize("opcode", ["alu", "fma_q", "fadd_q"])
def test_a_dependent_issues_when_its_operand_is_ready_and_not_before(
    preset: str, opcode: str
) -> None:
    rule = load_pipeline(PRESETS[preset].core.rules).rules[opcode]
    steps = [run(chain(opcode, n), PRESETS[preset]).cycles for n in (20, 21)]
    assert steps[1] - steps[0] == rule.accumulate_cycles
    steps = [run(chain(opcode, n, is_accumulating=False), PRESETS[preset]).cycles for n in (20, 21)]
    assert steps[1] - steps[0] == rule.latency_cycles


@pytest.mark.parametrize("preset", ["sd835", "sd855-little"])
def test_a_loop_left_unpredicted_refills_the_front_end(preset: str) -> None:
    spec = PRESETS[preset]

    def cycles(trips: int, predicted: int) -> int:
        b = UopBuilder("outer")
        with b.loop(40), b.loop(trips):
            b.op("alu", (X,), (X,))
            b.op("branch", (), (X,))
        return run(b.build(), spec.override([f"core.predicted_trips={predicted}"])).cycles

    assert cycles(5, 5) < cycles(5, 4)
    penalty = load_pipeline(spec.core.rules).mispredict_cycles
    assert cycles(5, 4) - cycles(5, 5) >= 39 * (penalty - 5)
    assert cycles(5, 4) == cycles(5, 0)


def test_stalls_name_what_blocks() -> None:
    b = UopBuilder("loads")
    with b.loop(300):
        b.op("load_q", (0,), (X,), pointer="p", size=16, step=("p", 64))
    result = run(b.build(), PRESETS["sd835"])
    assert result.account.stall["resource"] + result.account.busy > 250  # the one load pipe
    result = Core(PRESETS["sd835"]).run(b.build(), {"p": 0})
    assert result.account.stall["dram"] + result.account.stall["queue_full"] > 0
    assert set(result.account.stall) == set(STALL_REASONS)
