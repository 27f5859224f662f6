"""Hold everything of a core that outlives a kernel, and run bound kernels on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hwsim.components.array_table import table_of
from hwsim.components.dram.arrival_call import arrival_place, finish_arrival, no_arrival
from hwsim.components.dram.arrival_state import arrival_state
from hwsim.components.dram.controller import Counts, count_events
from hwsim.core.errors import HwsimError, InputError
from hwsim.core.result import STALL_REASONS
from hwsim.cpu import cache_kernels as c
from hwsim.cpu import pipeline_state as k
from hwsim.cpu.isa import MAX_LOOP_DEPTH, OPCODES, UopKernel
from hwsim.cpu.kernel_run import COUNT_NAMES, KernelRun, empty_accounts
from hwsim.cpu.memo import Memo
from hwsim.cpu.pipeline_kernels import run_code
from hwsim.cpu.rules import Pipeline, bind, load_pipeline
from hwsim.cpu.spec import CacheSpec, CpuSpec

__all__ = ["Core"]

_FOLLOWED = 16
"""Sequences of lines that the prefetcher of the L2 follows at once (assumed)."""


def _levels(spec: CpuSpec) -> list[CacheSpec | None]:
    return [spec.l1, spec.l2, spec.l3]


@dataclass
class Core:
    """A core at one point in time.

    Parameters
    ----------
    spec : CpuSpec
        Of the core and its memory.
    is_ideal : bool
        Every access hits the L1: the pipeline alone, as static analysers see it.
    is_stepping : bool
        Step every instruction. Otherwise segments that the pipeline has met in the same state,
        with every access served as a hit, are not stepped again; the results are the same.
    """

    spec: CpuSpec
    is_ideal: bool = False
    is_stepping: bool = False
    pipeline: Pipeline = field(init=False)
    _bound: dict[int, tuple[UopKernel, NDArray[np.int64]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start with empty caches at cycle 0."""
        self.pipeline = load_pipeline(self.spec.core.rules)
        zeros = _zeros
        self._state = zeros(k.STATES)
        self._registers = zeros(3, 66)
        self._calendar = np.full(k.CALENDAR, -1, dtype=np.int64)
        self._hints = zeros(2 * len(OPCODES), 2)
        self._rings = [zeros(k.RING) for _ in range(4)]
        self._params = self._make_params()
        self._make_caches()
        self.memo = Memo(self.pipeline.dispatch_width)

    @property
    def cycle(self) -> int:
        """Return the present cycle."""
        return int(self._state[k.S_CYCLE])

    @property
    def drained_cycle(self) -> int:
        """Return the cycle in which the last store has reached the L1."""
        return int(max(self._state[k.S_DRAINED], self._state[k.S_CYCLE]))

    def run(
        self,
        kernel: UopKernel,
        addresses: Mapping[str, int],
        streams: Mapping[str, NDArray[np.integer]] | None = None,
    ) -> KernelRun:
        """Execute ``kernel`` with its pointers at ``addresses``; the core's time moves on.

        Raises
        ------
        InputError
            If a pointer has no address or a stream no values.
        """
        code = self._code(kernel)
        values, first = _joined(kernel, streams or {})
        pointers = np.array([_of(addresses, name, kernel) for name in kernel.pointers], np.int64)
        lost = _zeros(len(STALL_REASONS), self._params[k.P_WIDTH] + 1)
        before, counts = self._state.copy(), self._counts.copy()
        arrays = (
            code, self._params, self._state, self._registers, self._calendar, self._hints,
            *self._rings, lost, pointers, values, first, first.copy(), _strides(len(code)),
            _zeros(MAX_LOOP_DEPTH), _zeros(2 * MAX_LOOP_DEPTH + 2), np.full(len(code), -1),
            *self.memo.tables, _zeros(len(code)), _zeros(len(code)), *self._memory,
        )  # fmt: skip
        run_code(table_of(arrays))  # they live until it returns
        if self._state[k.S_ERROR]:
            raise HwsimError(kernel.name, f"ports within {k.CALENDAR} cycles", "a longer wait")
        taken = self._state - before
        return KernelRun(
            start_cycle=int(before[k.S_CYCLE]),
            end_cycle=self.cycle,
            instructions=int(taken[k.S_INSTRUCTIONS]),
            uops=int(taken[k.S_UOPS]),
            macs=int(taken[k.S_MACS]),
            slots=_slot_accounts(lost),
            counts=dict(zip(COUNT_NAMES, (self._counts - counts).tolist(), strict=True)),
        )

    def finish_memory(self) -> list[Counts]:
        """Let DRAM write what it still holds; return what it did, nothing with another memory."""
        if self._dram is None:
            return []
        finish_arrival(self._memory[-1], self.drained_cycle)
        return [count_events(self._dram)]

    def _code(self, kernel: UopKernel) -> NDArray[np.int64]:
        if id(kernel) not in self._bound:
            kernel.verify()
            code = bind(kernel, self.pipeline)
            self.memo.add_kernel(code)
            self._bound[id(kernel)] = (kernel, code)
        return self._bound[id(kernel)][1]

    def _make_params(self) -> NDArray[np.int64]:
        pipe, core = self.pipeline, self.spec.core
        is_in_order = pipe.kind == "in-order"
        values = (
            *(pipe.dispatch_width, pipe.window_uops, is_in_order, pipe.mispredict_cycles),
            *(core.predicted_trips, core.load_queue, core.store_queue, self.is_ideal),
            not self.is_stepping,
        )
        return np.array(values, dtype=np.int64)

    def _make_caches(self) -> None:
        geometry = _zeros(3, 4)
        first = 0
        for level, cache in enumerate(_levels(self.spec)):
            if cache is not None:
                geometry[level] = (first, cache.sets, cache.ways, cache.latency_cycles)
                first += cache.sets * cache.ways
        tlb = self.spec.tlb
        self._counts = _zeros(c.COUNTS)
        walk = _zeros(c.WALKS)
        transfer = self.spec.memory_transfer_cycles(256)
        walk[c.W_LATENCY], walk[c.W_TRANSFER] = self.spec.memory_latency_cycles, transfer
        walk[c.W_AHEAD], walk[c.W_HAS_TLB] = self.spec.prefetch_lines, tlb.is_modelled
        walk[c.W_ENTRIES], walk[c.W_ENTRIES2] = tlb.entries, tlb.second_entries
        walk[c.W_CYCLES2], walk[c.W_CYCLES] = tlb.second_cycles, tlb.walk_cycles
        walk[c.W_STREAM] = self.spec.stream_lines
        walk[c.W_PAGE_SHIFT] = tlb.page_bytes.bit_length() - 1
        self._dram = None
        if self.spec.memory.model == "dram":
            path, device = self.spec.memory_path_cycles, self.spec.memory.dram_device()
            self._dram = arrival_state(device, cycle_hz=self.spec.clock_hz, path_cycles=path)
        pages = tlb.entries + tlb.second_entries
        self._memory = (
            geometry, np.full(first, -1), np.full(first, -1), _zeros(first), _zeros(first),
            _zeros(first), _zeros(c.RECENT), _zeros(self.spec.misses_in_flight), walk,
            self._counts, np.full(pages, -1), np.full(pages, -1), np.full((_FOLLOWED, 4), -1),
            no_arrival() if self._dram is None else arrival_place(self._dram.words),
        )  # fmt: skip


def _zeros(*shape: int) -> NDArray[np.int64]:
    return np.zeros(shape, dtype=np.int64)


def _strides(rows: int) -> NDArray[np.int64]:
    strides = _zeros(rows, 4)
    strides[:, 3] = -1
    return strides


def _of(addresses: Mapping[str, int], name: str, kernel: UopKernel) -> int:
    if name not in addresses:
        raise InputError(f"{kernel.name}: pointer {name}", "an address", "none")
    return addresses[name]


def _joined(
    kernel: UopKernel, streams: Mapping[str, NDArray[np.integer]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all streams end to end and where each begins."""
    parts = []
    for name in kernel.streams:
        if name not in streams:
            raise InputError(f"{kernel.name}: stream {name}", "values", "none")
        parts.append(np.asarray(streams[name], dtype=np.int64))
    first = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    # One value more than there are: a step that runs over the end reads memory of ours.
    return np.concatenate([*parts, np.zeros(1, dtype=np.int64)]), first[: max(len(parts), 1)]


def _slot_accounts(lost: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, per slot, busy, stalls and idle cycles from cycles by reason and slots used."""
    width = lost.shape[1] - 1
    accounts = empty_accounts(width)
    for slot in range(width):
        accounts[slot, 0] = lost[:, slot + 1 :].sum()
        accounts[slot, 1:-1] = lost[:, : slot + 1].sum(axis=1)
    return accounts
