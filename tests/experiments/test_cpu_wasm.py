"""Timed kernels are checked first, compared in one process, and claimed without gating."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.cpu.execute.wasm_engine import WasmModule
from hwsim.cpu.spec import PRESETS
from hwsim.experiments import cpu_wasm
from hwsim.experiments.cpu_wasm import (
    DENSE,
    PEER_SPEEDUPS,
    KernelTime,
    SimulatedTime,
    claims,
    measure,
    ordered_alike,
    simulate,
)


def test_each_sparsity_has_the_best_dense_kernel_and_all_sparse_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = {"gemm_4x8": 4e-3, "gemm_5x8": 3e-3, "gemm_6x8": 5e-3, "spmm_16x1": 1e-3}
    monkeypatch.setattr(WasmModule, "seconds_of", lambda self, name, *_, times: seconds[name])
    rows = measure(co=8, ci=8, pixels=20, sparsities=(0.5, 0.9), sparse=("16x1",), rounds=2)
    assert [row.kernel for row in rows] == ["gemm-5x8", "16x1"] * 2
    assert [row.sparsity for row in rows] == [0.0, 0.5, 0.0, 0.9]
    assert rows[1].speedup == pytest.approx(3.0)
    assert rows[1].median_ms == pytest.approx(1.0)
    assert rows[1].gflops == pytest.approx(2 * 8 * 8 * 20 / 1e-3 / 1e9)
    assert rows[0].kept_gflops == pytest.approx(rows[0].gflops)
    assert len(DENSE) == 3


def test_a_kernel_that_is_wrong_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    read = WasmModule.read
    monkeypatch.setattr(WasmModule, "read", lambda self, name: read(self, name) + np.float32(1))
    with pytest.raises(InputError, match="golden's output"):
        measure(co=8, ci=8, pixels=20, sparsities=(0.5,), sparse=("16x1",), rounds=1)


def test_claims_name_the_reference_and_never_gate() -> None:
    rows = [
        KernelTime("wasm", "16x1", sparsity, 1.0, 1.0, 1.0, 0.5 * speedup)
        for sparsity, speedup in PEER_SPEEDUPS.items()
    ]
    rows.append(KernelTime("wasm", "32x1", 0.9, 1.0, 1.0, 1.0, 99.0))
    found = claims(rows)
    assert [claim.id for claim in found] == [f"cpu.wasm.speedup.{n}" for n in (70, 80, 90)]
    assert not any(claim.gated for claim in found)
    assert not any(claim.passed for claim in found)  # half the reference
    assert [claim.error for claim in found] == pytest.approx([-0.5] * 3)


def test_sparse_rows_are_simulated_on_the_core_that_runs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cycles = {0.7: 400, 0.9: 100}
    monkeypatch.setattr(cpu_wasm, "dense_cycles", lambda layer, _spec: layer.co * layer.pixels)
    monkeypatch.setattr(cpu_wasm, "sparse_cycles", lambda _layer, sparsity, *_: cycles[sparsity])
    rows = [
        KernelTime(target, kernel, sparsity, 1.0, 1.0, 1.0, speedup)
        for target, kernel, sparsity, speedup in (
            ("wasm", "gemm-4x8", 0.0, 1.0),
            ("wasm", "16x1", 0.7, 4.0),
            ("wasm", "16x1", 0.9, 10.0),
            ("wasm-relaxed", "16x1", 0.9, 9.0),
        )
    ]
    found = simulate(rows, (100, 7, 8), PRESETS["wasm-x86"])
    assert [(row.sparsity, row.simulated) for row in found] == [(0.7, 2.0), (0.9, 8.0)]
    assert [row.error for row in found] == pytest.approx([2 / 4 - 1, 8 / 10 - 1])
    assert simulate(rows, (100, 7, 8), PRESETS["sd835"]) == []


def test_pairs_in_another_order_are_counted() -> None:
    found = [SimulatedTime("k", 0.5, m, s) for m, s in ((1, 1), (2, 3), (3, 2))]
    assert ordered_alike(found) == (2, 3)
    assert ordered_alike([]) == (0, 0)
