"""Lay out the state of a machine of threads: one bundle of arrays and the names of their columns.

``thread_kernels`` advance it in place. All memory is one array of bytes seen as words, doubles and
half words: first DRAM (one address space over all blocks' memories), then each block's scratchpad.
Times are cycles. Actors, which have a next time each, are the DMA engines of all blocks, then all
threads. Pipelines: per block the multi-threaded ones first; threads are numbered like them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwsim.components.array_table import table_of
from hwsim.components.dram.arrival_call import arrival_place, no_arrival
from hwsim.components.dram.arrival_state import arrival_state
from hwsim.components.dram.state import Controller
from hwsim.core.result import STALL_REASONS
from hwsim.piuma.isa import BLOCK, REGISTERS, SPAD, THREAD, THREADS
from hwsim.piuma.opcodes import OPCODES
from hwsim.piuma.spec import PiumaSpec

__all__ = [
    "ALL_THREADS",
    "BLOCK_THREADS",
    "Chip",
    "Launch",
    "chip_state",
    "dram_words",
    "memory_state",
]

WHEEL = 1024
"""Cycles ahead that the event wheel holds; later events are put off."""
SOON = 256
"""Cycles ahead that a thread comes back to its pipeline without the wheel."""
NEVER = np.int64(1 << 62)

# Reasons, as columns of an account after BUSY. As np.int64 what is passed on is no literal type to
# numba, which would compile each function that takes one anew for each.
BUSY = 0
RESOURCE, QUEUE_FULL, DATA_WAIT, DEPENDENCY, HAZARD = (
    np.int64(1 + STALL_REASONS.index(name))
    for name in ("resource", "queue_full", "data_wait", "dependency", "hazard")
)
CACHE, ATOMIC, NETWORK, DRAM, SYNC = (
    np.int64(1 + STALL_REASONS.index(name))
    for name in ("cache", "atomic", "network", "dram", "sync")
)
ACCOUNT = 1 + len(STALL_REASONS)

# Chip.scalar entries that never change.
BLOCKS, MESH_COLS, DRAM_BYTES, SPAD_BYTES, BANKS, SPAD_LOAD, SPAD_ATOMIC, INTERLEAVE = range(8)
DRAM_NUM, DRAM_DEN, DRAM_LATENCY, DRAM_MIN, DRAM_ATOMIC, SETS, WAYS, HIT = range(8, 16)
DMA_OUTSTANDING, DMA_SETUP, DMA_ENTRIES, QUEUES, QUEUE_ENTRIES, QUEUE_LATENCY = range(16, 22)
HOP, LINK_BYTES, STP_OUTSTANDING, MEMORY_BYTES = range(22, 26)
# Where memories, links and queue engines begin in Chip.servers, behind the banks.
DRAM_AT, LINK_AT, ENGINE_AT = range(26, 29)
# With DRAM commands: bits of an address in a block's memory and of a block's number.
DEVICE_SHIFT, BLOCK_SHIFT = range(29, 31)
# Chip.scalar entries of the run as a whole.
NOW, LIVE, ERROR, ERROR_THREAD, LAST_HALT, DMA_BUSY, LAST_DMA, QUIET = range(32, 40)
NO_ERROR, BAD_ADDRESS, DEADLOCK, BAD_QUEUE, BAD_BARRIER = range(5)
CAS_WON, CAS_MERGED, CHAIN_MAX, CACHE_HITS, CACHE_MISSES, QUEUE_OPS, NET_BYTES, NET_MESSAGES = (
    range(40, 48)
)
DMA_STEPS, RETRIES = range(48, 50)
# Bytes by how they came from and went to off-chip memory.
DIRECT_READ, DIRECT_WRITE, FILLED, WRITTEN_BACK, DMA_READ, DMA_WRITTEN = range(50, 56)
OP_COUNT = 64  # by opcode

# Chip.pipe columns; then an account.
FIRST, COUNT, TURN, LAST, IN_BLOCK, IS_STP, ALU, STAMP, PIPE_ACCOUNT = range(9)
# Chip.thread columns; then an account. CHAIN counts the compare-and-swaps since one that found an
# empty slot or its own key; LANE numbers the threads of each kind.
PC, REASON, ISSUED_AT, OF_PIPE, CHAIN, WAIT_NEXT, HALTED, LANE, THREAD_ACCOUNT = range(9)
# Chip.stp columns, per single-threaded pipeline: by register, when it may be used and why not
# before; by slot for memory instructions, when it is free; behind these, why not before.
REG_READY, REG_REASON, SLOTS = 0, REGISTERS, 2 * REGISTERS
# Chip.block columns: the DMA engine; its account; bytes moved; its lines in flight.
DMA_HEAD, DMA_LENGTH, DMA_AT, DMA_LAST = range(4)
DMA_ACCOUNT = 4
DRAM_READ, DRAM_WRITE, DRAM_BUS, SPAD_READ, SPAD_WRITE, SPAD_ATOMICS = (
    DMA_ACCOUNT + ACCOUNT + i for i in range(6)
)
INFLIGHT = DMA_ACCOUNT + ACCOUNT + 6
# Chip.queue columns; then the tokens.
QUEUE_HEAD, QUEUE_LENGTH, POPPERS, POPPERS_TAIL, PUSHERS, PUSHERS_TAIL, QUEUE_MOST = range(7)
TOKENS = 7
# Chip.barrier columns.
NEED, ARRIVED, WAITERS, RELEASE_CYCLES = range(4)
# Chip.cache columns, per line: its number or -1, when it was last used, a bit per dirty half word.
TAG, AGE, DIRTY = range(3)

ALL_THREADS, BLOCK_THREADS = 0, 1
"""Barrier groups: all threads of a launch; BLOCK_THREADS + b: those of block b on its
multi-threaded pipelines and its first single-threaded one."""


class Chip(NamedTuple):
    """Arrays of one machine; columns are named in this module."""

    code: NDArray[np.int64]  # [instructions, 6]
    regs: NDArray[np.int64]  # [threads, REGISTERS]
    fregs: NDArray[np.float64]  # the same bits
    mem: NDArray[np.int64]  # off-chip memory, scratchpads, then the caches' lines
    fmem: NDArray[np.float64]
    mem4: NDArray[np.int32]
    scalar: NDArray[np.int64]
    thread: NDArray[np.int64]
    ready: NDArray[np.int64]  # [threads] when it may issue next: the end of next_time
    ahead: NDArray[np.int64]  # [threads] instructions already done, still to be issued
    waiting: NDArray[np.int64]  # [pipelines] a bit per thread that may issue now
    soon: NDArray[np.int64]  # [SOON, pipelines] the same, from a coming cycle on
    stp: NDArray[np.int64]
    pipe: NDArray[np.int64]
    next_time: NDArray[np.int64]  # [actors]
    wheel: NDArray[np.int64]  # [WHEEL, 1 + words] whether any is set; a bit per actor
    servers: NDArray[np.int64]  # when free: cycles, memories 1 / DRAM_NUM cycles
    cache: NDArray[np.int64]  # [pipelines * sets * ways, 3]
    block: NDArray[np.int64]
    descriptors: NDArray[np.int64]  # [blocks * entries, 8]
    queue: NDArray[np.int64]
    barrier: NDArray[np.int64]
    dram: NDArray[np.int64]  # DRAM (arrival_state), empty with other models
    dram_place: NDArray[np.int64]  # where it is (arrival_call)
    table: NDArray[np.int64]  # [fields before, 4] of this bundle (array_table)

    @property
    def accounts(self) -> NDArray[np.int64]:
        """Return [pipelines, ACCOUNT]: busy cycles, then stalls by reason."""
        return self.pipe[:, PIPE_ACCOUNT : PIPE_ACCOUNT + ACCOUNT]

    @property
    def thread_accounts(self) -> NDArray[np.int64]:
        """Return [threads, ACCOUNT]: instructions issued, then stalls by reason."""
        return self.thread[:, THREAD_ACCOUNT : THREAD_ACCOUNT + ACCOUNT]

    @property
    def dma_accounts(self) -> NDArray[np.int64]:
        """Return [blocks, ACCOUNT]: busy cycles, then stalls by reason."""
        return self.block[:, DMA_ACCOUNT : DMA_ACCOUNT + ACCOUNT]

    @property
    def op_counts(self) -> NDArray[np.int64]:
        """Return how often each opcode was issued."""
        return self.scalar[OP_COUNT : OP_COUNT + len(OPCODES)]


class Launch(NamedTuple):
    """Where the threads of one op begin: entry of the multi-threaded pipelines' threads, and of
    each block's single-threaded ones by their position (-1: not used)."""

    mtp: int
    stp: tuple[int, ...] = ()


def _scalars(spec: PiumaSpec, dram_bytes: int) -> NDArray[np.int64]:
    rate = _memory_rate(spec)
    banks = spec.blocks * spec.spad.banks
    scalar = np.zeros(OP_COUNT + len(OPCODES), np.int64)
    scalar[: ENGINE_AT + 1] = [
        *(spec.blocks, spec.mesh[1], dram_bytes, spec.spad.capacity_bytes, spec.spad.banks),
        *(spec.spad.load_cycles, spec.spad.atomic_cycles),
        spec.dram.interleave_bytes.bit_length() - 1,
        *(*rate, spec.dram.min_access_bytes),
        *(
            0 if spec.memory.model == "ideal" else spec.dram.atomic_cycles,
            spec.cache.sets,
            spec.cache.ways,
            spec.cache.hit_cycles,
        ),
        *(spec.dma.outstanding, spec.dma.setup_cycles, spec.dma.queue_entries),
        *(spec.queue.queues, spec.queue.entries, spec.queue.latency_cycles),
        *(spec.noc.hop_cycles, spec.noc.link_bytes_per_cycle, spec.stp.outstanding),
        dram_bytes + spec.blocks * spec.spad.capacity_bytes,
        *(banks, banks + spec.blocks, banks + 5 * spec.blocks),
    ]
    if spec.memory.model == "dram":
        each = spec.memory.dram_device(1)
        scalar[DEVICE_SHIFT] = each.capacity_bytes.bit_length() - 1
        scalar[BLOCK_SHIFT] = spec.blocks.bit_length() - 1
        scalar[DRAM_MIN] = each.burst_bytes
    return scalar


def _memory_rate(spec: PiumaSpec) -> tuple[int, int, int]:
    """Return numerator and denominator of a memory's rate, and its latency in cycles.

    An ideal memory takes no time for data and answers in the next cycle.
    """
    if spec.memory.model == "ideal":
        return 1, 0, 1
    rate = spec.dram_bytes_per_cycle
    return rate.numerator, rate.denominator, spec.dram.latency_cycles


def memory_state(spec: PiumaSpec) -> NDArray[np.int64]:
    """Return the DRAM of all blocks, if that is the model: its highest channel bits are the block.

    Inside a block's memory the device's mapping holds.
    """
    if spec.memory.model != "dram":
        return np.zeros(0, np.int64)
    device = spec.memory.dram_device(spec.blocks)
    each = spec.memory.dram_device(1)
    low = each.controllers.bit_length() - 1
    word = device.mapping.replace("Ch", f"Ch{low}" if low else "")
    return arrival_state(
        device,
        Controller(mapping=f"Ch{word}"),
        cycle_hz=spec.clock_hz,
        path_cycles=spec.memory.latency_cycles,
    ).words


def cache_words(spec: PiumaSpec) -> int:
    """Return the words that all caches hold."""
    pipelines = spec.mtp.pipelines + spec.stp.pipelines
    return spec.blocks * pipelines * spec.cache.capacity_bytes // 8


def chip_state(
    spec: PiumaSpec, code: NDArray[np.void], dram: NDArray[np.int64], launch: Launch
) -> Chip:
    """Return an idle machine about to run ``code`` from ``launch``.

    ``dram`` : int64[words], the off-chip memories' contents; scratchpads begin as zeros. The run
    changes a copy: see :func:`dram_words`.
    """
    pipelines = spec.mtp.pipelines + spec.stp.pipelines
    pipes, blocks, threads = spec.blocks * pipelines, spec.blocks, spec.threads
    actors = blocks + threads
    ints = np.int64
    next_time = np.full(actors, NEVER, ints)
    mem = np.zeros(
        len(dram) + blocks * spec.spad.capacity_bytes // 8 + cache_words(spec), dtype=ints
    )
    mem[: len(dram)] = dram
    regs = np.zeros((threads, REGISTERS), ints)
    arrival = memory_state(spec)
    chip = Chip(
        code=np.ascontiguousarray(code).view(ints).reshape(len(code), -1),
        regs=regs,
        fregs=regs.view(np.float64),
        mem=mem,
        fmem=mem.view(np.float64),
        mem4=mem.view(np.int32),
        scalar=_scalars(spec, len(dram) * 8),
        thread=np.zeros((threads, THREAD_ACCOUNT + ACCOUNT), ints),
        ready=next_time[blocks:],
        ahead=np.zeros(threads, ints),
        waiting=np.zeros(pipes, ints),
        soon=np.zeros((SOON, pipes), ints),
        stp=np.zeros((blocks * spec.stp.pipelines, SLOTS + 2 * spec.stp.outstanding), ints),
        pipe=np.zeros((pipes, PIPE_ACCOUNT + ACCOUNT), ints),
        next_time=next_time,
        wheel=np.zeros((WHEEL, 1 + (actors + 63) // 64), ints),
        servers=np.zeros(blocks * (spec.spad.banks + 6), ints),
        cache=np.zeros((pipes * spec.cache.sets * spec.cache.ways, 3), ints),
        block=np.zeros((blocks, INFLIGHT + spec.dma.outstanding), ints),
        descriptors=np.zeros((blocks * spec.dma.queue_entries, 8), ints),
        queue=np.zeros((blocks * spec.queue.queues, TOKENS + spec.queue.entries), ints),
        barrier=np.zeros((1 + blocks, 4), ints),
        dram=arrival,
        dram_place=arrival_place(arrival) if arrival.size else no_arrival(),
        table=np.zeros((0, 0), ints),
    )
    chip = chip._replace(table=table_of(chip[:-1]))
    chip.stp[:, REG_REASON:SLOTS] = HAZARD
    chip.stp[:, SLOTS + spec.stp.outstanding :] = DRAM
    chip.cache[:, TAG] = -1
    chip.queue[:, (POPPERS, POPPERS_TAIL, PUSHERS, PUSHERS_TAIL)] = -1
    chip.block[:, DMA_LAST] = -1
    _start_threads(chip, spec, launch, len(dram) * 8)
    return chip


def dram_words(chip: Chip) -> NDArray[np.int64]:
    """Return the off-chip memories' contents, a view."""
    return chip.mem[: int(chip.scalar[DRAM_BYTES]) // 8]


def _start_threads(chip: Chip, spec: PiumaSpec, launch: Launch, spad_base: int) -> None:
    """Number pipelines and threads, preset registers, and make the launch's threads ready."""
    thread = pipe = mtp_thread = stp_thread = 0
    chip.barrier[:, WAITERS] = -1
    chip.barrier[:, RELEASE_CYCLES] = spec.sync.barrier_cycles
    rows, cols = spec.mesh
    diameter = rows + cols - 2
    chip.barrier[ALL_THREADS, RELEASE_CYCLES] += 2 * diameter * spec.noc.hop_cycles
    for block in range(spec.blocks):
        entries = [(launch.mtp, spec.mtp.threads, 0)] * spec.mtp.pipelines
        stps = [*launch.stp, *[-1] * spec.stp.pipelines][: spec.stp.pipelines]
        entries += [(entry, 1, 1) for entry in stps]
        for entry, count, is_stp in entries:
            alu = spec.stp.alu_cycles if is_stp else spec.mtp.alu_cycles
            chip.pipe[pipe, :PIPE_ACCOUNT] = [thread, count, 0, -1, block, is_stp, alu, 0]
            for _ in range(count):
                number = stp_thread if is_stp else mtp_thread
                _start_thread(chip, thread, pipe, entry, number)
                chip.regs[thread, SPAD] = spad_base + block * spec.spad.capacity_bytes
                chip.regs[thread, BLOCK] = block
                chip.regs[thread, THREADS] = (
                    spec.blocks * spec.stp.pipelines if is_stp else spec.mtp_threads
                )
                thread += 1
                stp_thread += is_stp
                mtp_thread += 1 - is_stp
            pipe += 1
    chip.scalar[LIVE] = chip.barrier[ALL_THREADS, NEED]


def _start_thread(chip: Chip, thread: int, pipe: int, entry: int, number: int) -> None:
    block = int(chip.pipe[pipe, IN_BLOCK])
    chip.thread[thread, :THREAD_ACCOUNT] = [entry, HAZARD, -1, pipe, 0, -1, entry < 0, number]
    chip.regs[thread, THREAD] = number
    if entry < 0:
        return
    chip.ready[thread] = 0
    chip.barrier[ALL_THREADS, NEED] += 1
    is_first = (
        pipe == 0 or chip.pipe[pipe - 1, IN_BLOCK] != block or not chip.pipe[pipe - 1, IS_STP]
    )
    if not chip.pipe[pipe, IS_STP] or is_first:
        chip.barrier[BLOCK_THREADS + block, NEED] += 1
    word, bit = divmod(len(chip.block) + thread, 64)
    chip.wheel[0, 0] = 1
    chip.wheel[0, 1 + word] |= np.int64(np.uint64(1 << bit))
