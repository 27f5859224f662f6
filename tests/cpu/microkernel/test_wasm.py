"""WebAssembly text: locals for registers, splats for weights, fused adds only if relaxed."""

from __future__ import annotations

import pytest

from hwsim.core.errors import MappingError
from hwsim.cpu.microkernel.spmm import describe_spmm
from hwsim.cpu.microkernel.target import WASM, WASM_RELAXED, find_target
from hwsim.cpu.microkernel.wasm import emit_module


def test_simd128_rounds_products_and_relaxed_fuses() -> None:
    plain = emit_module([describe_spmm(WASM, 16)], WASM)
    fused = emit_module([describe_spmm(WASM_RELAXED, 16)], WASM_RELAXED)
    assert "relaxed" not in plain
    assert "f32x4.mul" in plain
    assert "f32x4.relaxed_madd" in fused
    assert "f32x4.mul" not in fused
    assert "prefetch" not in plain


def test_a_module_exports_its_kernels_and_its_memory() -> None:
    kernels = [describe_spmm(WASM, 8), describe_spmm(WASM, 8, 1, "u2")]
    text = emit_module(kernels, WASM, pages=3)
    assert '(memory (export "memory") 3)' in text
    assert '(export "spmm_8x1")' in text
    assert '(export "spmm_8x1_u2")' in text
    assert "repeated" not in text
    assert '(export "repeated_spmm_8x1")' in emit_module(kernels, WASM, is_repeated=True)
    assert text.count("(") == text.count(")")


@pytest.mark.parametrize(
    ("mr", "form", "need"),
    [
        (32, "plain", 8 + 2 + 2),  # accumulators, weight and pixels, limits
        (16, "u2", 4 + 4 + 2 + 2),
        (32, "pipelined", 8 + 8 + 1 + 2),
    ],
)
def test_registers_beyond_those_of_the_host_are_counted(mr: int, form: str, need: int) -> None:
    kernel = describe_spmm(WASM, mr, 1, form)
    assert kernel.vectors == need
    if need <= 16:
        WASM.check(kernel.name, kernel.vectors, kernel.integers)
        return
    with pytest.raises(MappingError, match=f"need {need} vector registers, found 16"):
        WASM.check(kernel.name, kernel.vectors, kernel.integers)


def test_an_unknown_target_is_answered_with_the_known_ones() -> None:
    with pytest.raises(Exception, match=r"--target: need one of aarch64, wasm, wasm-relaxed"):
        find_target("wasmm")
