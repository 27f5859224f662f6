"""AArch64 code pairs accesses, follows the calling convention and streams as the layout says."""

from __future__ import annotations

import pytest

from hwsim.core.errors import InputError
from hwsim.cpu.microkernel.aarch64 import assembly, select_aarch64
from hwsim.cpu.microkernel.gemm import describe_gemm
from hwsim.cpu.microkernel.machine_code import Condition, Counted, MachineInstr, MachineNode
from hwsim.cpu.microkernel.spmm import describe_spmm, strip_widths
from hwsim.cpu.microkernel.target import AARCH64


def innermost(nodes: tuple[MachineNode, ...]) -> list[str]:
    """Return the instructions of the first innermost loop."""
    for node in nodes:
        if isinstance(node, Counted | Condition):
            inner = innermost(node.body)
            if inner or isinstance(node, Condition):
                if inner:
                    return inner
                continue
            body = [n for n in node.body if isinstance(n, MachineInstr)]
            return [instr.text.split()[0] for instr in (*body, *node.tail)]
    return []


def test_the_nonzero_loop_of_16x1_holds_what_the_published_kernel_does() -> None:
    # Per nonzero: 4 multiply-adds, the pointer's step, increment, weight, 4 vectors, prefetches.
    loop = innermost(select_aarch64(describe_spmm(AARCH64, 16)).body)
    counts = {name: loop.count(name) for name in set(loop)}
    assert counts == {
        "fmla": 4,
        "ldp": 2,
        "ld1r": 1,
        "ldrsw": 1,
        "add": 1,
        "prfm": 2,  # the next strip's line and the weights ahead
        "subs": 1,
        "b.ne": 1,
    }


def test_the_pipelined_loop_multiplies_first() -> None:
    loop = innermost(select_aarch64(describe_spmm(AARCH64, 16, 1, "pipelined")).body)
    assert loop[:4] == ["fmla"] * 4
    assert loop.count("prfm") == 1


def test_blocks_multiply_by_lane_and_read_their_weights_at_once() -> None:
    text = assembly(describe_spmm(AARCH64, 16, 4))
    loop = innermost(select_aarch64(describe_spmm(AARCH64, 16, 4)).body)
    assert loop.count("fmla") == 16
    assert loop.count("ldr") == 1  # 4 weights
    assert ".s[3]" in text


def test_gemm_reads_two_channels_of_each_row() -> None:
    loop = innermost(select_aarch64(describe_gemm(AARCH64, 6)).body)
    assert loop.count("fmla") == 2 * 12
    assert loop.count("ldr") == 6
    assert loop.count("ldp") == 2


def test_callee_saved_registers_are_saved_only_if_used() -> None:
    assert "str d8" not in assembly(describe_spmm(AARCH64, 16))
    text = assembly(describe_spmm(AARCH64, 32, 2))  # 27 vectors: v8, v9, v10 too
    assert [name for name in ("d8", "d9", "d10", "d11") if f"str {name}," in text] == [
        "d8",
        "d9",
        "d10",
    ]
    assert text.count("sp, sp, #32") == 2


def test_the_header_names_the_arguments() -> None:
    first = assembly(describe_spmm(AARCH64, 4)).splitlines()[0]
    assert first.startswith("// spmm_4x1: x0 pixel_bytes, x1 channels, x2 input")
    assert first.endswith("s0 lower and s1 upper limit")


def test_strips_of_a_plane() -> None:
    assert strip_widths(196, 16) == [16] * 12 + [4]  # 14x14
    assert strip_widths(49, 16) == [16] * 3 + [1]  # 7x7
    assert strip_widths(31, 32) == [16, 8, 4, 2, 1]
    assert sum(strip_widths(103, 12)) == 103


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((7,), "kernel: need pixels per strip of 1, 2, 4, 8, 12, 16, 32, found 7"),
        ((8, 3), "kernel: need channels per block of 1, 2, 4, 8 or 16, found 3"),
        ((8, 1, "u3"), "kernel: need plain, u2 or pipelined (blocks: plain), found u3 of 1"),
        ((8, 2, "u2"), "kernel: need plain, u2 or pipelined (blocks: plain), found u2 of 2"),
    ],
)
def test_unknown_kernels_are_named(arguments: tuple[int, ...], line: str) -> None:
    with pytest.raises(InputError) as caught:
        describe_spmm(AARCH64, *arguments)  # type: ignore[arg-type]
    assert str(caught.value) == line


def test_a_gemm_of_no_rows_is_refused() -> None:
    with pytest.raises(InputError, match="gemm of 1 to 8 rows"):
        describe_gemm(AARCH64, 0)
