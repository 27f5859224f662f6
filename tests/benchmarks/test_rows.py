"""Rows: limits from above and below, and rates derived from medians."""

from __future__ import annotations

from typing import Any

import pytest

import benchmarks.rows as rows
from benchmarks import wasm_peers
from benchmarks.sparse_products import PRODUCTS, WORKLOADS
from hwsim.experiments import cpu_wasm
from hwsim.experiments.cpu_wasm import KernelTime

MIB = 1 << 20


@pytest.mark.parametrize(
    ("limits", "measured", "is_met"),
    [
        ({"most": 2.0}, 2.0, True),
        ({"most": 2.0}, 2.1, False),
        ({"least": 2.0}, 2.0, True),
        ({"least": 2.0}, 1.9, False),
        ({}, 1.0, None),
    ],
)
def test_a_target_is_a_limit_that_belongs_to_the_good_side(
    limits: dict[str, float], measured: float, is_met: bool | None
) -> None:
    found = rows.row("speed", measured, "x", n=1, **limits)
    assert found.is_met is is_met
    assert found.to_json()["is_met"] is is_met


def _facts(median_s: float, cycles: int, **more: Any) -> dict[str, Any]:
    base = {"samples": {"median_s": median_s}, "cycles": cycles, "peak_rss": 200 * MIB}
    return {**base, "rss_before": 120 * MIB, "first_s": 9.0, **more}


def test_network_rows_follow_from_the_children_s_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {
        "resnet50-batch1": _facts(0.5, 1_000_000),
        "resnet50-batch512": _facts(1.0, 400_000_000, peak_rss=300 * MIB),
        "training-methods": _facts(4.0, 30_000_000),
    }
    monkeypatch.setattr(rows, "run_child", lambda name, n: facts[name])
    warm, first, peak, grown, ratio, rate, small, training = rows.networks(3)
    assert (warm.measured, warm.target, warm.n) == (0.5, 1.0, 3)
    assert first.measured == 9.0
    assert (peak.measured, grown.measured) == (300, 80)
    assert ratio.measured == 1.0 / 0.5
    assert rate.measured == 400_000_000 / 1.0
    assert small.measured == 1_000_000 / 0.5
    assert (training.measured, training.target, training.is_met) == (4.0, 5, True)


def test_stepping_rows_are_rates_and_miss_their_target_when_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facts = _facts(2.0, 1_000_000, instructions=500)
    monkeypatch.setattr(rows, "run_child", lambda name, n: facts)
    found = list(rows.stepping(1))
    assert {row.measured for row in found[:-1]} == {500_000}
    assert found[-1].measured == 250
    assert {row.is_met for row in found} == {False, None}


def test_every_workload_of_threads_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(name: str, n: int) -> dict[str, Any]:
        assert name in PRODUCTS
        asked.append(name)
        return _facts(2.0, 1_000_000, instructions=500)

    monkeypatch.setattr(rows, "run_child", run)
    found = list(rows.piuma(1))
    assert sorted(asked) == sorted(PRODUCTS)
    chains = found[-len(WORKLOADS) :]
    assert [row.metric.split()[0] for row in chains] == list(WORKLOADS)
    assert {(row.measured, row.target) for row in chains} == {(2.0, None)}


_SPARSE = ("16x1", "16x1-u2", "32x1")


def _time(kernel: str, speedup: float = 1.0) -> KernelTime:
    return KernelTime("wasm", kernel, 0.9, 1.0, 100 * speedup, 10.0, speedup)


def test_kernel_rows_take_the_best_sparse_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [_time("gemm-4x8"), _time("16x1", 6.0), _time("16x1-u2", 7.0), _time("32x1", 6.5)]
    monkeypatch.setattr(cpu_wasm, "measure", lambda **_options: times)
    monkeypatch.setattr(wasm_peers, "has_compiler", lambda: False)
    *rates, best = rows.kernels(2)
    assert [row.measured for row in rates] == [600, 700, 650]
    assert (best.measured, best.n, best.target) == (7.0, 20, None)


def test_the_target_is_the_peers_speed_up_less_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = {"gemm-4x8-splat": 6.0, "gemm-5x8-splat": 5.0, "16x1": 1.2, "32x1": 1.0}
    # Our best takes 1.1 times as long as the peers' best: over the peers' dense 5 / 1.1 of 5.
    ours = {"gemm-4x8": 4.0, "16x1": 1.1, "32x1": 1.3}
    raced = [wasm_peers.Race("wasm", 0.9, ours, peers)]
    monkeypatch.setattr(cpu_wasm, "measure", lambda **_options: [_time(k) for k in _SPARSE])
    monkeypatch.setattr(wasm_peers, "has_compiler", lambda: True)
    monkeypatch.setattr(wasm_peers, "race", lambda *_arguments: raced)
    *_, found = rows.kernels(1)
    assert found.measured == pytest.approx(1 / 1.1)
    assert (found.target, found.is_met) == (0.9, True)
    raced[0] = wasm_peers.Race("wasm", 0.9, {**ours, "16x1": 1.12}, peers)
    *_, found = rows.kernels(1)
    assert not found.is_met


def test_without_a_compiler_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wasm_peers, "has_compiler", lambda: False)
    with pytest.raises(
        SystemExit, match=r"need the package ziglang \(pip install 'hwsim\[peers\]'"
    ):
        wasm_peers.main([])


def test_language_model_rows_add_compiling_to_running(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = _facts(0.04, 1_000_000, compile_s=0.5, instructions=7)
    monkeypatch.setattr(rows, "run_child", lambda name, n: facts)
    compiled, simulated, prompt, request, peak = rows.flightllm(3)
    assert (compiled.measured, compiled.target) == (0.5, 1.0)
    assert (simulated.measured, simulated.target) == (0.04, 0.05)
    assert prompt.measured == request.measured == 0.54
    assert (prompt.target, request.target) == (60, 20)
    assert (peak.measured, peak.target) == (200, 2048)
