"""Hold the rule tables to what LLVM 19 prints for single instructions, and read loops as text."""

from __future__ import annotations

import pytest

from hwsim.core.errors import InputError
from hwsim.cpu.isa import OPCODES
from hwsim.cpu.microkernel.loop_text import read_loop
from hwsim.cpu.rules import load_pipeline
from hwsim.experiments.clang_loops import load_loops, loop_cycles, trip_cycles

# llvm-mca 19.1.7 -instruction-info -resource-pressure, cortex-a57 and neoverse-n1: micro-ops,
# latency, cycles of all units together.
LLVM = {
    "add x0, x1, #8": ((1, 1, 1), (1, 1, 1)),
    "subs x0, x1, x2": ((1, 1, 1), (1, 1, 1)),
    "add x0, x1, w2, sxtw": ((1, 2, 1), (1, 2, 1)),
    "mul x0, x1, x2": ((1, 5, 1), (1, 4, 3)),
    "b.ne 0": ((1, 1, 1), (1, 1, 1)),
    "ldrsw x0, [x1]": ((1, 4, 1), (1, 4, 1)),
    "ldr d0, [x1]": ((1, 5, 1), (2, 5, 2)),
    "ldr q0, [x1, #16]": ((1, 5, 1), (2, 5, 2)),
    "ldp q0, q1, [x1]": ((3, 6, 2), (3, 7, 3)),
    "ldp w0, w2, [x1]": ((2, 4, 1), (1, 4, 1)),
    "ldpsw x0, x2, [x1]": ((4, 5, 3), (2, 5, 2)),
    "ld1r {v0.4s}, [x1]": ((2, 8, 2), (2, 7, 2)),
    "ld1 {v0.s}[1], [x1]": ((2, 8, 2), (2, 7, 2)),
    "prfm pldl1keep, [x1]": ((1, 4, 1), (1, 4, 1)),
    "str x0, [x1]": ((1, 1, 1), (2, 1, 2)),
    "str d0, [x1]": ((1, 1, 1), (2, 2, 2)),
    "st1 {v0.d}[1], [x1]": ((2, 3, 2), (2, 4, 2)),
    "str q0, [x1]": ((3, 2, 3), (4, 2, 4)),
    "stp q0, q1, [x1]": ((5, 4, 5), (6, 3, 6)),
    "fmla v0.4s, v1.4s, v2.4s": ((1, 10, 2), (1, 4, 1)),
    "fmla v0.4s, v1.4s, v2.s[1]": ((1, 10, 2), (1, 4, 1)),
    "fmla v0.2s, v1.2s, v2.2s": ((1, 9, 1), (1, 4, 1)),
    "fadd v0.4s, v1.4s, v2.4s": ((2, 5, 2), (1, 2, 1)),
    "fmul v0.4s, v1.4s, v2.4s": ((2, 5, 2), (1, 3, 1)),
    "fmin v0.4s, v1.4s, v2.4s": ((2, 5, 2), (1, 2, 1)),
    "fdiv v0.4s, v1.4s, v2.4s": ((2, 34, 34), (1, 10, 7)),
    "fcvtzs v0.4s, v1.4s": ((2, 5, 2), (2, 4, 2)),
    "ext v0.16b, v1.16b, v2.16b, #4": ((1, 3, 1), (1, 2, 1)),
    "movi v0.4s, #0": ((1, 3, 1), (1, 2, 1)),
    "zip1 v0.4s, v1.4s, v2.4s": ((3, 6, 3), (1, 2, 1)),
    "dup v0.4s, w1": ((2, 8, 2), (1, 3, 1)),
    "faddp v0.4s, v1.4s, v2.4s": ((3, 9, 3), (1, 2, 1)),
    "ldrsw x0, [x1], #4": ((2, 4, 2), (2, 4, 2)),
    "ldr d0, [x1], #8": ((2, 5, 2), (2, 5, 2)),
    "ldr q0, [x1], #16": ((2, 5, 2), (2, 5, 2)),
    "ldp q0, q2, [x1], #32": ((4, 6, 3), (3, 7, 3)),
    "ldp w0, w2, [x1], #8": ((3, 4, 2), (3, 4, 3)),
    "ldpsw x0, x2, [x1], #8": ((5, 5, 4), (3, 5, 3)),
    "ld1r {v0.4s}, [x1], #4": ((3, 8, 3), (3, 7, 3)),
    "str s0, [x1], #4": ((3, 1, 3), (3, 2, 3)),
    "str q0, [x1], #16": ((4, 2, 4), (5, 2, 5)),
    "stp q0, q2, [x1], #32": ((6, 4, 6), (7, 3, 7)),
}


@pytest.mark.evidence("cpu", "T2")
@pytest.mark.parametrize("text", LLVM)
def test_rules_are_those_of_llvm(text: str) -> None:
    row = read_loop(text, 1).rows[1]
    found = []
    for name in ("a57", "n1"):
        has_write_back = bool(row["has_write_back"])
        rule = load_pipeline(name).rule(OPCODES[row["opcode"]], has_write_back=has_write_back)
        found.append((rule.uops, rule.latency_cycles, sum(cycles for _, cycles in rule.uses)))
    assert tuple(found) == LLVM[text]


@pytest.mark.parametrize("rules", ["a57", "n1"])
@pytest.mark.parametrize(
    "text", ["fmla v0.4s, v1.4s, v2.4s", "fmla v0.2s, v1.2s, v2.2s", "fmla v0.4s, v1.4s, v2.s[0]"]
)
def test_a_chain_of_accumulations_takes_four_cycles_each(text: str, rules: str) -> None:
    assert trip_cycles(text, rules) == 4  # llvm-mca 19 too; N1's table forwards nothing earlier


@pytest.mark.evidence("cpu", "T2")
@pytest.mark.parametrize("name", load_loops())
def test_clangs_loops_take_the_cycles_of_llvm_mca(name: str) -> None:
    loop = load_loops()[name]
    found = {rules: loop_cycles(loop, rules) for rules in loop.mca}
    assert found == pytest.approx(loop.mca, rel=0.005)


def test_the_comparison_notices_another_instruction() -> None:
    loop = load_loops()["16x2"]
    text = loop.text.replace("b.ne", "prfm pldl1keep, [x2, #128]\nprfm pldl1keep, [x2, #192]\nb.ne")
    assert trip_cycles(text, "a57") > 1.05 * loop.mca["a57"]  # ten loads instead of eight


@pytest.mark.parametrize(
    ("text", "need"),
    [
        ("", "the instructions of a loop"),
        ("add x0, x0, #1\nvadd v0, v1", "a vector instruction that has a class"),
        ("madd2 x0, x1, x2", "an instruction that has a class"),
        ("ldr q0, [x1, x2]", "an address of a register and a constant"),
        ("ldr q0, x1", "an address in brackets"),
        ("ldnp q0, q1, [x1]", "a load, store or prefetch that has a class"),
        ("add x30, x30, #1", "registers v0 to v31 and x0 to x29"),
        ("ldr q0, [x30]", "an address register x0 to x29 or sp"),
        ("ldr q0, [w1]", "an address register x0 to x29 or sp"),
    ],
)
def test_what_is_not_understood_is_named_with_its_line(text: str, need: str) -> None:
    with pytest.raises(InputError) as error:
        read_loop(text, 1)
    assert need in str(error.value)
    assert str(error.value).startswith("loop")


def test_labels_comments_and_directives_are_skipped() -> None:
    text = ".p2align 4\n.L1:  \n// nothing\nsubs x0, x0, #1 // count\nb.ne .L1\n"
    assert [OPCODES[row["opcode"]] for row in read_loop(text, 1).rows[1:-1]] == ["alu", "branch"]


def test_flags_tie_a_branch_to_what_was_compared() -> None:
    rows = read_loop("subs x0, x0, #1\ncmp x1, x2\ncsel x3, x4, x5, lo\nb.ne 0", 1).rows[1:-1]
    flags = rows[0]["dst"][1]
    assert flags in rows[1]["dst"]
    assert flags in rows[2]["src"]
    assert flags in rows[3]["src"]
