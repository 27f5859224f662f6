"""Do the simulator's loop and the units' cycle models take the same steps on the same requests?

The cycle models are what RTL is compared with; here they meet what the machine's kernels do.
"""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.components.jit import interpreted, njit_entry
from hwsim.piuma import access_kernels, offload_kernels, thread_kernels
from hwsim.piuma.atomic_spad import ADD, AtomicSpadModel
from hwsim.piuma.atomic_spad import Request as SpadRequest
from hwsim.piuma.barrel_issue import run_barrel
from hwsim.piuma.chip_table import chip_of
from hwsim.piuma.gather_dma import (
    GATHER,
    SCATTER,
    Descriptor,
    GatherDmaModel,
    place_cycles,
)
from hwsim.piuma.isa import Assembler
from hwsim.piuma.opcodes import GATHER as DMA_GATHER
from hwsim.piuma.opcodes import SCATTER as DMA_SCATTER
from hwsim.piuma.spec import DmaSpec, MtpSpec, PiumaSpec, ScratchpadSpec
from hwsim.piuma.state import (
    COUNT,
    DMA_LENGTH,
    DMA_STEPS,
    DRAM_BYTES,
    PC,
    QUEUE_LATENCY,
    SPAD_ATOMIC,
    Launch,
    chip_state,
)
from hwsim.piuma.token_queue import Operation, TokenQueueModel
from hwsim.piuma.unit_model import play
from hwsim.piuma.unit_spec import AtomicSpadSpec, BarrelSpec, GatherDmaSpec, TokenQueueSpec

pytestmark = pytest.mark.evidence("piuma", "T3")

RESULT = 9
"""Register that pops go to."""


def _chip(spec: PiumaSpec | None = None):
    """Return an idle machine; the only instruction of its threads pops queue 0."""
    program = Assembler()
    program.emit("qpop", RESULT)
    dram = np.zeros(1 << 10, np.int64)
    return chip_state(spec or PiumaSpec(), program.array(), dram, Launch(0))


@njit_entry
def _pick_compiled(table, p, now):
    """Pick as the event loop does, which keeps the threads that may issue in a set."""
    m = chip_of(table)
    for thread in range(m.pipe[p, COUNT]):
        if m.ready[thread] <= now:
            m.waiting[p] |= np.int64(1) << thread
    return thread_kernels.pick_waiting(m, p) if m.waiting[p] != 0 else np.int64(-1)


def _pick_of_set(chip, p, now):
    return _pick_compiled(chip.table, p, now)


_PICKS = {"look": interpreted(thread_kernels.pick), "set": _pick_of_set}


@pytest.mark.parametrize("pick", list(_PICKS))
@pytest.mark.parametrize("threads", [1, 3, 16, 64])
@pytest.mark.parametrize("slowest", [2, 20, 60])
def test_the_barrel_issues_the_same_threads_in_the_same_cycles(pick, threads, slowest):
    latencies = np.random.default_rng(threads).integers(2, slowest + 1, 400 + threads).tolist()
    chip = _chip(PiumaSpec(mtp=MtpSpec(threads=threads)))
    chip.ready[:threads] = 0
    simulated = []
    cycle = 0
    while len(simulated) < 400:
        thread = int(_PICKS[pick](chip, 0, cycle))
        if thread >= 0:
            chip.ready[thread] = cycle + latencies[len(simulated)]
            simulated.append((cycle, thread))
        cycle += 1
    asked = iter(latencies)
    # The model's last issue of each thread has no successor, so it goes on a little longer.
    played = run_barrel(BarrelSpec(threads=threads), lambda: next(asked), 400 + threads)
    cycles, first = played.cycles["o"], played.cycles["o"][0]
    modelled = [(c - first, *word) for c, word in zip(cycles, played.words["o"], strict=True)]
    assert modelled[:400] == simulated


@pytest.mark.parametrize("busy_cycles", [100, 200, 400])
def test_a_bank_starts_the_same_requests_in_the_same_cycles(busy_cycles):
    chip = _chip()
    rng = np.random.default_rng(busy_cycles)
    arrivals = np.sort(rng.integers(0, busy_cycles, 200)).tolist()
    stride = 8 * PiumaSpec().spad.banks  # every word in one bank
    access = interpreted(access_kernels.spad_access)
    addresses = [int(chip.scalar[DRAM_BYTES]) + stride * int(k) for k in rng.integers(0, 4, 200)]
    starts = [
        int(access(chip, address, access_kernels.UPDATE, now) - chip.scalar[SPAD_ATOMIC])
        for address, now in zip(addresses, arrivals, strict=True)
    ]
    requests = [SpadRequest(ADD, 0, 0, 1)] * 200
    played = play(AtomicSpadModel(AtomicSpadSpec()), {"i": requests}, arrivals={"i": arrivals})
    assert played.cycles["i"] == starts


@njit_entry
def _queue_trace(table, is_push, tokens, arrivals, answered):
    """Let thread k push or pop at its arrival; note when its operation is through."""
    m = chip_of(table)
    for k in range(is_push.size):
        if is_push[k]:
            answered[k] = offload_kernels.push(m, 0, k, 0, tokens[k], arrivals[k])
        else:
            answered[k] = offload_kernels.pop(m, 0, k, 9, 0, arrivals[k])


def test_a_queue_answers_the_same_pops_with_the_same_tokens_in_the_same_cycles():
    count = 48
    chip = _chip(PiumaSpec(mtp=MtpSpec(threads=16)))
    chip.thread[:, PC] = 1
    rng = np.random.default_rng(4)
    is_push = rng.random(count) < 0.5
    tokens = rng.integers(1, 1000, count)
    arrivals = np.sort(rng.integers(0, 60, count))
    through = np.zeros(count, np.int64)
    _queue_trace(chip.table, is_push, tokens, arrivals, through)

    spec = TokenQueueSpec(ports=1, tag_bits=6)
    operations = [
        Operation(bool(push), 0 if push else k, int(tokens[k]) if push else 0)
        for k, push in enumerate(is_push)
    ]
    played = play(TokenQueueModel(spec), {"i__0": operations}, arrivals={"i__0": arrivals.tolist()})
    # The engine starts one operation per cycle; the machine answers a latency after that.
    latency = int(chip.scalar[QUEUE_LATENCY])
    never = 1 << 40
    starts = {k: int(t) - latency for k, t in enumerate(through) if t < never}
    accepted = played.cycles["i__0"]
    assert starts == {k: accepted[k] for k in starts}
    answers = {
        word.tag: (word.token, cycle)
        for word, cycle in zip(played.words["o"], played.cycles["o"], strict=True)
    }
    waited = 0
    for thread, (token, cycle) in answers.items():
        assert chip.regs[thread, RESULT] == token
        is_late = through[thread] >= never
        waited += is_late
        done = chip.ready[thread] if is_late else through[thread]
        assert done - latency == cycle - 1
    assert waited and len(answers) == min(is_push.sum(), count - is_push.sum())


@njit_entry
def _dma_trace(table, steps):
    """Let engine 0 work its descriptors off; note the cycle of every element moved."""
    m = chip_of(table)
    now = m.next_time[0]
    while m.block[0, DMA_LENGTH] > 0:
        before = m.scalar[DMA_STEPS]
        m.next_time[0] = 1 << 62
        offload_kernels.dma_step(m, 0, now)
        if m.scalar[DMA_STEPS] > before:
            steps[before] = now
        now = max(now + 1, m.next_time[0])


@pytest.mark.parametrize("outstanding", [4, 8, 32])
@pytest.mark.parametrize(("opcode", "operation"), [(DMA_GATHER, GATHER), (DMA_SCATTER, SCATTER)])
def test_the_dma_engine_begins_elements_at_the_same_intervals(opcode, operation, outstanding):
    count = 40
    spad = ScratchpadSpec(banks=64)
    chip = _chip(PiumaSpec(dma=DmaSpec(outstanding=outstanding), spad=spad))
    base = int(chip.scalar[DRAM_BYTES])
    # Source, target and indices of one element never share a bank, so all take equally long.
    source, target, index = base, base + 8 * 40, base + 8 * 64 * 10 + 8 * 20
    chip.mem4[index // 4 : index // 4 + count] = np.arange(count)
    chip.descriptors[0] = (opcode, source, target, count, 0, index, 0, 0)
    chip.block[0, DMA_LENGTH] = 1
    chip.next_time[0] = 0
    steps = np.zeros(count, np.int64)
    _dma_trace(chip.table, steps)

    held = 2 * spad.load_cycles  # source and index at once, then the write
    descriptor = Descriptor(operation, 0, 100, 200, count)
    read_cycles, fetch_cycles = 5, held - 10
    assert place_cycles(descriptor, read_cycles, fetch_cycles) == held

    def respond(stream: str, word):
        if stream == "fetch":
            return "fetched", (word[0], word[1] - 200), fetch_cycles
        return ("data", (word[0], 0), read_cycles) if stream == "read" else None

    engine = GatherDmaModel(GatherDmaSpec(outstanding=outstanding))
    played = play(engine, {"i": [descriptor]}, respond=respond)
    begun = played.cycles_of("fetch")
    assert (begun - begun[0]).tolist() == (steps - steps[0]).tolist()
    assert int(steps[-1] - steps[0]) >= count - 1
