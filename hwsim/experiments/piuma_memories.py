"""Check PIUMA's three models of off-chip memory: a lone word, words at full rate, order."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hwsim.core.result import Claim
from hwsim.experiments.claims import ClaimMaker
from hwsim.experiments.piuma_runs import run_product
from hwsim.piuma.isa import THREAD, ZERO, Assembler
from hwsim.piuma.play import finish_memory, play
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import Launch, chip_state
from models.sparse.generators import generate

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart

__all__ = ["charts", "claims", "lone_word_cycles", "words_per_cycle"]

MODELS = ("ideal", "simple", "dram")
_MATRIX = "stencil9:30"
_KERNELS = ("smash-v1", "smash-v2", "smash-v3", "row-heap", "outer", "spmv")
_BURST_BYTES = 64
_LOADS = 256
"""By each thread: enough that the first and last accesses do not count."""

_claim = ClaimMaker("piuma-memory-")


def claims() -> list[Claim]:
    """Return the claims of all models."""
    times = [_cycles("smash-v3", model) for model in MODELS]
    return [
        _claim(
            "lone-word",
            "cycles until a word of an idle memory is there, dram against simple",
            lone_word_cycles("dram"),
            lone_word_cycles("simple"),
            "cycles",
            source="memory.latency_cycles is what the device's activate and read leave of the 101",
        ),
        _claim(
            "words",
            "words per cycle that one pipeline reads from one sub-channel, a burst each, in order",
            words_per_cycle("dram"),
            PiumaSpec().dram.bandwidth_bytes_per_s / PiumaSpec().clock_hz / _BURST_BYTES,
            "1/cycle",
            0.1,
            source="17.6 GB/s in bursts of 64 bytes; refreshes and rows take some of it",
        ),
        _claim(
            "order",
            f"ideal is faster than simple, simple than dram, for {_MATRIX} by V3 (1: yes)",
            float(times == sorted(times)),
            1.0,
            source="each adds a limit to the one before",
        ),
    ]


def lone_word_cycles(model: str) -> int:
    """Return the cycles from a lone load's issue to that of the next instruction."""
    return _play(model, loads=1, settings=("mtp.pipelines=1", "mtp.threads=1")) - 1


def words_per_cycle(model: str) -> float:
    """Return the rate at which a pipeline of 64 threads reads a word of each burst, in order."""
    settings = ("mtp.pipelines=1", "mtp.threads=64")
    return 64 * _LOADS / _play(model, loads=_LOADS, settings=settings)


def _play(model: str, loads: int, settings: tuple[str, ...]) -> int:
    """Return the cycles in which every thread has made ``loads`` loads, one burst apart."""
    spec = PiumaSpec().override([f"memory.model={model}", *settings])
    threads = spec.mtp_threads
    a = Assembler()
    at, value = a.registers(2)
    if loads > 1:
        a.emit("muli", at, THREAD, imm=_BURST_BYTES)
    for i in range(loads):
        a.load(value, at if loads > 1 else ZERO, i * threads * _BURST_BYTES)
    a.emit("halt")
    dram = np.zeros(loads * threads * _BURST_BYTES // 8, np.int64)
    chip = chip_state(spec, a.array(), dram, Launch(0))
    return finish_memory(chip, play(chip))


@cache
def _cycles(kernel: str, model: str) -> int:
    matrix = generate(_MATRIX)
    return run_product(kernel, matrix, settings=(f"memory.model={model}",))[0].cycles


def charts() -> list[Chart]:
    """Return how much longer or shorter kernels take with other memories than the default one."""
    from hwsim.report.experiment_figures import group_chart

    caption = (
        f"Change of the time of kernels on {_MATRIX} when the memory answers at once (ideal), and "
        "when its commands are simulated (dram), against a fixed rate and latency (simple)."
    )
    values = {
        model: [_cycles(kernel, model) / _cycles(kernel, "simple") - 1 for kernel in _KERNELS]
        for model in ("ideal", "dram")
    }
    return [
        group_chart(
            "piuma-memories",
            "What the memory model changes",
            caption,
            "change of the time",
            list(_KERNELS),
            values,
        )
    ]
