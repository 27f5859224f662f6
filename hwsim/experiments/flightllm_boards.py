"""Check FlightLLM without a correction factor: the U280 board, utilisation, storage, resources."""

from __future__ import annotations

from hwsim.core.machine import make_machine
from hwsim.core.result import Claim
from hwsim.core.units import ceil_div
from hwsim.experiments.area import area_of
from hwsim.experiments.area_tables import area_table
from hwsim.experiments.claims import ClaimMaker
from hwsim.experiments.flightllm_runs import milliseconds, run
from hwsim.flightllm.csd_chain import outputs_per_issue
from hwsim.flightllm.spec import PRESETS, FlightSpec
from hwsim.flightllm.unit_spec import CsdChainSpec
from hwsim.report.tables import DataTable

__all__ = ["REPORTED_CELLS", "claims", "tables"]

REPORTED_CELLS = {"lut": 0.44 * 1_303_680, "dsp48e2": 6345, "ramb36": 1252, "uram": 792}
"""Of the U280 design (third-party notes on Zeng et al. 2024); LUTs as 44.0 % of the board."""

_PAPER = "Zeng et al., FPGA 2024"
_BOARD = "board notes: a run of the published package on a U280"
_CHANNELS = ("", "_of_used_channels")
_V100S_TOKENS_PER_J = 45 / 220
"""V100S with vLLM and SmoothQuant: about 45 tokens per second at 220 W (third-party notes)."""


def claims() -> list[Claim]:
    """Return the claims about the board and about storage."""
    return [*_board(), *_commands(), *_unfused(), *_independent(), *_storage(), *_resources()]


_claim = ClaimMaker("flightllm.")


def _board() -> list[Claim]:
    step = run("u280", "decode", 128)
    rate, joules = step.extra["tokens_per_s"], step.extra["joules_per_token"]
    bandwidth, used = (100 * step.extra[f"bandwidth_utilization{key}"] for key in _CHANNELS)
    return [
        _claim(
            "u280.step", "cycles of a step at context 128", step.cycles, 3.937e6, "cycle", 0.1,
            "third-party", _BOARD,
        ),
        _claim(
            "u280.tokens", "tokens per second", rate, 55.0, "1/s", 0.1, "third-party",
            f"comparison notes on {_PAPER}",
        ),
        _claim(
            "u280.efficiency", "tokens per joule at 45 W", 1 / joules, 1.22, "1/J", 0.1,
            "third-party", f"evaluation notes on {_PAPER}",
        ),
        _claim(
            "u280.energy", "tokens per joule over V100S", 1 / joules / _V100S_TOKENS_PER_J, 6.0,
            "x", 0.1, "published", f"{_PAPER}, abstract",
        ),
        _claim(
            "u280.bandwidth", "HBM bytes over the peak of all channels", bandwidth, 65.9, "%",
            0.076, "published", f"{_PAPER}, always-on-chip decode; definition not known",
            gated=False,
        ),
        _claim(
            "u280.bandwidth_used", "HBM bytes over the peak of the cores' channels", used, 65.9,
            "%", 0.076, "published", f"{_PAPER}, always-on-chip decode; definition not known",
            gated=False,
        ),
        _claim(
            "u280.measured_bandwidth", "HBM bytes over the peak of all channels", bandwidth, 43.0,
            "%", 0.15, "third-party", _BOARD,
        ),
    ]  # fmt: skip


def _commands() -> list[Claim]:
    """Compare a step whose loads HBM serves command by command, at their addresses."""
    step = run("u280", "decode", 128, 0, "memory.model=dram")
    bandwidth = 100 * step.extra["bandwidth_utilization"]
    return [
        _claim(
            "u280.dram_step", "cycles of a step at context 128, HBM command by command",
            step.cycles, 3.937e6, "cycle", 0.1, "third-party", _BOARD, gated=False,
        ),
        _claim(
            "u280.dram_bandwidth", "HBM bytes over the peak of all channels, command by command",
            bandwidth, 65.9, "%", 0.076, "published",
            f"{_PAPER}, always-on-chip decode; definition not known", gated=False,
        ),
    ]  # fmt: skip


def _unfused() -> list[Claim]:
    """Compare a step without fusion: vectors pass through memory, one layer per op."""
    fused, naive = run("u280", "decode", 128), run("u280", "decode", 128, 0, "is_fused=false")
    source = f"{_PAPER}, without always-on-chip decode; what that leaves out is not known"
    all_channels, used = (f"bandwidth_utilization{key}" for key in _CHANNELS)
    return [
        _claim(
            "u280.naive_bandwidth", "HBM bytes over the peak of all channels, nothing fused",
            100 * naive.extra[all_channels], 35.6, "%", 0.14, "published", source, gated=False,
        ),
        _claim(
            "u280.naive_bandwidth_used", "the same over the peak of the cores' channels",
            100 * naive.extra[used], 35.6, "%", 0.14, "published", source, gated=False,
        ),
        _claim(
            "u280.fusion", "bandwidth utilisation, fused over not",
            fused.extra[used] / naive.extra[used], 65.9 / 35.6, "x", 0.1, "published", source,
            gated=False,
        ),
    ]  # fmt: skip


def _independent() -> list[Claim]:
    setting = "timing=independent"
    return [
        _claim(
            f"independent.decode{context}", f"time of a step at context {context}, no factor",
            milliseconds("vhk158", "decode", context, setting), reference, "ms", 0.05,
            "artifact", "FlightLLM/flightllm_test_demo", gated=False,
        )
        for context, reference in ((128, 9.260895), (2048, 12.226162))
    ]  # fmt: skip


def _storage() -> list[Claim]:
    """Compare programs of all lengths to one per bucket, as the request of any length tells them.

    The published programs are one core's, for the whole model; the U280 has three cores.
    """
    extra = run("vhk158", "request", 128, 512).extra
    total = extra["storage"]["all_lengths"]
    naive = total["one_per_length_bytes"] * 3 / extra["spec"]["cores"]
    return [
        _claim(
            "storage.steps", "programs of 128 steps", total["steps_bytes"] / 1e6, 393.3, "MB",
            1e-3, "derived", "FlightLLM/flightllm_test_demo",
        ),
        _claim(
            "storage.prompts", "programs of 16 prompts", total["prompts_bytes"] / 1e9, 4.7, "GB",
            0.05, "derived", "FlightLLM/flightllm_test_demo",
        ),
        _claim(
            "storage.naive", "programs of every length on three cores",
            naive / 1e12, 1.67, "TB", 1.0, "third-party",
            f"notes on {_PAPER}",
        ),
        _claim(
            "storage.bucketed", "one program per bucket, shared by the cores",
            total["shared_bytes"] / 1e9, 3.25, "GB", 1.0, "third-party", f"notes on {_PAPER}",
        ),
        _claim(
            "storage.ratio", "programs of every length over buckets",
            naive / total["shared_bytes"], 500.0, "x", 0.4, "published",
            f"{_PAPER}, abstract",
        ),
    ]  # fmt: skip


def tables() -> list[DataTable]:
    """Return the cells of the U280 design, unit by unit, beside what is reported of it."""
    spec = PRESETS["u280"]
    assert isinstance(spec, FlightSpec)
    hbm = spec.hbm
    rate = hbm.channels_per_core * hbm.channel_bytes_per_s * hbm.same_channel_percent / 100
    values = int(rate * 8 / 4 / spec.clock_hz)  # per cycle and core, at four bits
    ports = (spec.buffers.a_bytes_per_cycle, spec.buffers.b_bytes_per_cycle)
    purposes = {
        "flightllm/csd_chain": "per DSP two multiplexers of 16 inputs and 8 bits (64 LUTs), "
        "operands delayed along the cascade, sums of eight reduction nodes",
        "flightllm/dequant": f"as many as write the buffers' ports of {ports[0]} and {ports[1]} "
        f"bytes; at 4 bits HBM feeds {values} values per cycle and core, "
        f"{ceil_div(values, spec.dequant.lanes)} of them",
        "flightllm/vector_sfu": "16 lanes, tables of exp2 and gates in look-up tables",
        "common/ultra_scratchpad": "A buffer",
        "common/block_scratchpad": "B, global, meta or bias buffer",
    }
    source = f"notes on {_PAPER}; all of the design, by unit not at hand"
    return [area_table("flightllm", "u280", purposes, REPORTED_CELLS, source)]


def _resources() -> list[Claim]:
    spec = PRESETS["u280"]
    assert isinstance(spec, FlightSpec)
    dsps = spec.mpe.mm_macs_per_cycle // 2
    chain = CsdChainSpec()
    cells = area_of(make_machine("flightllm", "u280"))["total"]
    fit = "by the fit over synthesised sizes (hwsim run --area), before placement"
    return [
        _claim(
            "area.dsp48e2", f"DSPs of chains and vector units, {fit}", cells["dsp48e2"],
            REPORTED_CELLS["dsp48e2"], "1", 0.05, "third-party", f"notes on {_PAPER}",
        ),
        _claim(
            "area.uram", f"UltraRAMs, {fit}", cells["uram"], REPORTED_CELLS["uram"], "1", 0.05,
            "third-party", f"notes on {_PAPER}",
        ),
        _claim(
            "area.ramb36", f"block RAMs, without those of scales and instructions, {fit}",
            cells["ramb36"], REPORTED_CELLS["ramb36"], "1", 0.15, "third-party",
            f"notes on {_PAPER}; scales, instructions and shell have no RTL",
            gated=False,
        ),
        _claim(
            "area.lut", f"LUTs of the listed units, {fit}", cells["lut"], REPORTED_CELLS["lut"],
            "1", 0.2, "third-party", f"notes on {_PAPER}: 44.0 % of the board", gated=False,
        ),
        _claim(
            "dsp.total", "DSPs of the matrix engines of three cores", dsps * spec.cores, 6345, "1",
            0.05, "third-party", f"notes on {_PAPER}",
        ),
        _claim(
            "chain.outputs", "sums per issue of 8 of 16 over dense",
            outputs_per_issue(chain, 8) / outputs_per_issue(chain, 16), 2.0, "x", 0.0,
            "derived", "a chain of 16 gives 16 / N sums per issue",
        ),
    ]  # fmt: skip
