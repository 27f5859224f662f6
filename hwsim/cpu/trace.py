"""Hand a run to a trace: tracks of kernels and of operators, and the memory's bytes per kernel."""

from __future__ import annotations

import numpy as np

from hwsim.core.program import INSTRUCTION, Program
from hwsim.core.trace import TraceSink
from hwsim.cpu.kernel_run import LINE_BYTES, KernelRun
from hwsim.cpu.program import CpuProgram

__all__ = ["CallTrace"]

_UNITS = ["core", "operator"]
_COLUMNS = 5 + 2 + 2 * len(_UNITS)
"""Of a sample without channels."""
_READ, _WRITTEN = 2, 3
_LEVELS_AT = 4


class CallTrace:
    """Tells ``sink`` of the calls of ``program``, operator by operator, while they run."""

    def __init__(self, program: CpuProgram, sink: TraceSink) -> None:
        self._sink = sink
        self._calls = 0
        self._first_op = len(program.calls)
        sink.begin(trace_table(program), 1)

    def take(self, op: int, parts: list[KernelRun]) -> None:
        """Hand over the calls of one operator, in order."""
        spans = [part for part in parts if part.cycles]
        numbers = [self._calls + i for i, part in enumerate(parts) if part.cycles]
        self._calls += len(parts)
        if not spans:
            return
        whole = (spans[0].start_cycle, self._first_op + op, spans[-1].end_cycle, 0)
        events = [
            (run.start_cycle, number, run.end_cycle, 0)
            for number, run in zip(numbers, spans, strict=True)
        ]
        samples = np.zeros((len(spans), _COLUMNS), np.int64)
        for sample, run in zip(samples, spans, strict=True):
            sample[:2] = run.start_cycle, run.end_cycle
            sample[_LEVELS_AT] = run.start_cycle
            sample[_READ] = LINE_BYTES * run.counts["memory_reads"]
            sample[_WRITTEN] = LINE_BYTES * run.counts["memory_writes"]
        self._sink.take(np.array([whole, *events], np.int64), samples)


def trace_table(program: CpuProgram) -> Program:
    """Return ``program`` as a trace wants it: a row per call, then one per operator."""
    opcodes = list(dict.fromkeys(call.kernel.name for call in program.calls))
    number = {name: i for i, name in enumerate(opcodes)}
    calls = np.zeros(len(program.calls), INSTRUCTION)
    calls["opcode"] = [number[call.kernel.name] for call in program.calls]
    calls["op_id"] = [call.op_id for call in program.calls]
    ops = np.zeros(len(program.op_names), INSTRUCTION)
    ops["unit"], ops["opcode"], ops["op_id"] = 1, len(opcodes), np.arange(len(ops))
    return Program(
        machine=program.machine,
        units=_UNITS,
        opcodes=[*opcodes, "operator"],
        op_names=program.op_names,
        channels=[],
        instructions=np.concatenate([calls, ops]),
    )
