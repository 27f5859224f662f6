"""``hwsim kernels`` builds text, runs kernels for real, and names what it cannot do."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from hwsim.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["kernels", *arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_kernels_are_listed_with_their_registers(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "list", "--json")
    rows = {row["kernel"]: row for row in json.loads(out)}
    assert status == 0
    # 4 accumulators, 4 vectors of pixels, a weight, 2 limits.
    assert rows["16x1"]["aarch64"] == {"vector_registers": 11, "available": 32}
    assert "16x1" in run(capsys, "list")[1]


def test_text_is_printed_or_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, _ = run(capsys, "build", "16x2", "--target", "aarch64")
    assert status == 0
    assert ".global spmm_16x2" in out
    path = tmp_path / "kernels" / "k.wat"
    assert run(capsys, "build", "8x1-u2", "--out", str(path)) == (0, "", "")
    assert path.read_text().startswith("(module")


@pytest.mark.parametrize("target", ["wasm", "wasm-relaxed", "aarch64"])
@pytest.mark.parametrize(
    "kernel",
    ["16x2", "gemm-6x8", "dw-3x3s2", "dw-rows-9", "igemm-4x8", "first-conv", "global-pool"],
)
def test_kernels_run_and_equal_golden(
    capsys: pytest.CaptureFixture[str], kernel: str, target: str
) -> None:
    extents = ("--co", "9", "--ci", "7", "--height", "5", "--width", "6")
    status, out, _ = run(capsys, "run", kernel, "--target", target, *extents, "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["is_equal"] is True
    assert 0 <= facts["worst_error_of_bound"] <= 1
    assert ("instructions" in facts) == (target == "aarch64")


def test_what_the_emulator_ran_is_simulated_on_a_core(capsys: pytest.CaptureFixture[str]) -> None:
    extents = ("--co", "9", "--ci", "7", "--height", "4", "--width", "4", "--json")
    run_it = ("run", "16x1", "--target", "aarch64", "--preset", "sd835", *extents)
    facts = json.loads(run(capsys, *run_it)[1])
    # At most three instructions start per cycle; cold caches cost more than warm ones.
    assert facts["instructions"] / 3 < facts["warm_cycles"] < facts["cold_cycles"]


def test_a_wasm_kernel_is_simulated_as_an_engine_compiles_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    extents = (
        "--co",
        "9",
        "--ci",
        "7",
        "--height",
        "4",
        "--width",
        "4",
        "--sparsity",
        "0",
        "--json",
    )
    facts = json.loads(run(capsys, "run", "16x1", "--preset", "wasm-x86", *extents)[1])
    assert facts["is_equal"] is True
    # One strip of 9 x 7 nonzeros: four loads, products with sums, at least, each.
    assert facts["simulated_instructions"] > 9 * 7 * 8
    assert facts["warm_cycles"] < facts["cold_cycles"]


def test_an_output_that_differs_is_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwsim.cpu.golden.spmm", lambda w, b, x: 1.5 * (w @ x) + b[:, None])
    status, out, _ = run(capsys, "run", "16x1")
    assert status == 1
    assert "DIFFERS" in out


def test_a_bench_document_names_host_engine_and_every_kernel(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    small = ("--co", "16", "--ci", "16", "--pixels", "20", "--rounds", "1", "--sparsity", "0.5")
    path = tmp_path / "bench.json"
    status, out, _ = run(
        capsys, "bench", *small, "--target", "wasm", "--preset", "wasm-x86", "--json", str(path)
    )
    document = json.loads(path.read_text())
    assert status == 0
    assert document["host"]["cores"] >= 1
    assert document["engine"].startswith("wasmtime ")
    assert len(document["simulated"]) == len(document["rows"]) - 1
    assert document["claims"] == []  # another layer than the reference's
    names = [row["kernel"] for row in document["rows"]]
    assert names[0].startswith("gemm-")
    assert {"16x1", "16x1-u2", "32x1"} <= set(names)
    for row in document["rows"]:
        # Both rates come from the same time: they differ by the share of kept weights.
        assert row["median_ms"] > 0
        assert row["kept_gflops"] <= row["gflops"] * (1 + 1e-9)
        assert row["gflops"] == pytest.approx(2e-6 * 16 * 16 * 20 / row["median_ms"])
    assert "speed-up" in out
    assert "of 10 pairs in the same order" in out  # five kernels


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("build", "32x4", "--target", "aarch64"),
            "kernel spmm_32x4 on aarch64: need 43 vector registers, found 32 vector registers",
        ),
        (
            ("build", "32x1-pipelined"),
            "kernel spmm_32x1_pipelined on wasm: need 19 vector registers, found 16 vector "
            "registers",
        ),
        (("build", "16x16x1"), "KERNEL: need a kernel such as"),
        (("build", "dw-3x5s1"), "KERNEL: need a kernel such as"),
        (("build", "dw-7x7s1"), "kernel: need depthwise 3x3 or 5x5, stride 1 or 2"),
        (("run", "16x1", "--target", "riscv"), "--target: need one of aarch64, wasm"),
        (("run", "16x1", "--sparsity", "90"), "--sparsity: need a fraction of zeros from 0 to 1"),
        (("run", "16x1", "--co", "0"), "--co: need at least 1, found 0"),
        (("run", "16x1", "--seed", "-1"), "--seed: need "),
        (
            ("run", "16x1", "--co", "100000000", "--ci", "100000"),
            "layer: need at most 512 MiB of weights, inputs and outputs, found 38221815 MiB",
        ),
        (
            ("build", "17x1"),
            "kernel: need pixels per strip of 1, 2, 4, 8, 12, 16, 32, found 17",
        ),
        (
            ("bench", "--target", "wasm", "--preset", "rpi4"),
            "--preset: need a core that runs wasm (wasm-x86), found rpi4",
        ),
        (("bench", "--pixels", "0"), "--pixels: need at least 1, found 0"),
        (
            ("run", "16x1", "--preset", "sd835"),
            "--preset: need a core that runs wasm (wasm-x86), found sd835",
        ),
        (
            ("run", "16x1", "--target", "aarch64", "--preset", "wasm-x86"),
            "--preset: need a core that runs aarch64 (sd835, ",
        ),
        (
            ("run", "16x1", "--target", "wasm-relaxed", "--preset", "wasm-x86"),
            "--preset: need --target aarch64 or wasm, whose code is simulated, found wasm-relaxed",
        ),
        (
            ("run", "16x1", "--target", "aarch64", "--preset", "sd83"),
            "--preset: need one of",
        ),
        (("bench", "--rounds", "0"), "--rounds: need at least 1, found 0"),
        (("bench", "--target", "aarch64"), "--target: need wasm or wasm-relaxed"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], line: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {line}")
    assert err.count("\n") == 1


def test_spilling_is_allowed_only_where_an_engine_does_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(capsys, "build", "32x1-pipelined", "--allow-spill")[0] == 0
    assert run(capsys, "build", "32x4", "--target", "aarch64", "--allow-spill")[0] == 2


@pytest.mark.parametrize(
    ("module", "target", "extra"),
    [("wasmtime", "wasm", "wasm"), ("unicorn", "aarch64", "aarch64")],
)
def test_a_missing_extra_is_named_and_the_rest_works(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    target: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    status, out, err = run(capsys, "run", "16x1", "--target", target)
    assert (status, out) == (2, "")
    assert f"pip install 'hwsim[{extra}]'" in err
    assert run(capsys, "build", "16x1", "--target", target)[0] == 0


def test_any_loop_is_timed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "loop.s"
    path.write_text("ldr q0, [x0], #16\nldr q1, [x2], #16\nsubs x1, x1, #1\nb.ne 0\n")
    found = json.loads(run(capsys, "time", str(path), "--json")[1])
    assert found == {"a57": 2.0, "n1": 1.0}  # one load pipe, two load pipes
    monkeypatch.setattr(sys, "stdin", io.StringIO("fmla v0.4s, v1.4s, v2.4s"))
    assert "4.00 cycles per turn" in run(capsys, "time", "-", "--rules", "a53")[1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("missing.s",), "missing.s"),
        (("-", "--rules", "z80"), "core.rules"),
        (("-",), "loop:1"),
    ],
)
def test_loops_that_cannot_be_timed_are_named(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    named: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("frobnicate x0"))
    status, out, err = run(capsys, "time", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {named}: need ")
    assert len(err.splitlines()) == 1
