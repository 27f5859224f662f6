"""Predict a program's cycles op by op from instruction counts, in the form of a simulated run."""

from __future__ import annotations

import numpy as np

from hwsim.core.result import STALL_REASONS
from hwsim.core.units import ceil_div
from hwsim.cpu.kernel_run import COUNT_NAMES, KernelRun, empty_accounts
from hwsim.cpu.limits import call_work
from hwsim.cpu.program import Call, CpuProgram
from hwsim.cpu.rules import load_pipeline
from hwsim.cpu.spec import CpuSpec

__all__ = ["estimate_runs"]

_DRAM = STALL_REASONS.index("dram")
_RESOURCE = STALL_REASONS.index("resource")


def estimate_runs(program: CpuProgram, spec: CpuSpec) -> list[KernelRun]:
    """Return one predicted run per op.

    An op lasts as long as its busiest ports, its dispatch slots or the transfer of its weights from
    memory, and one latency of the memory if it has any. Weights are the only lines that it counts.
    """
    pipe = load_pipeline(spec.core.rules)
    by_op: dict[int, list[Call]] = {}
    for call in program.calls:
        by_op.setdefault(call.op_id, []).append(call)
    runs = []
    cycle = 0
    for index, fact in enumerate(program.meta["ops"]):
        run = KernelRun.together([], cycle, pipe.dispatch_width)
        if index in by_op:
            run = _predicted(by_op[index], fact["touched_bytes"], cycle, spec)
        cycle = run.end_cycle
        runs.append(run)
    return runs


def _predicted(calls: list[Call], touched: dict[str, int], cycle: int, spec: CpuSpec) -> KernelRun:
    pipe = load_pipeline(spec.core.rules)
    works = [call_work(call, pipe) for call in calls]
    uops = sum(work.uops for work in works)
    full = ceil_div(uops, pipe.dispatch_width)
    compute = sum(max(ceil_div(work.uops, pipe.dispatch_width), work.port_cycles) for work in works)
    lines = {key: ceil_div(count, 64) for key, count in touched.items()}
    transfer = spec.memory_transfer_cycles()
    beyond = lines["weights"] * transfer - compute
    memory = max(0, beyond) + (spec.memory_latency_cycles if lines["weights"] else 0)
    accounts = empty_accounts(pipe.dispatch_width)
    accounts[:, 0] = full
    accounts[:, 1 + _RESOURCE] = compute - full
    accounts[:, 1 + _DRAM] = memory
    counts = dict.fromkeys(COUNT_NAMES, 0)
    counts["load_bytes"] = sum(work.load_bytes for work in works)
    counts["store_bytes"] = sum(work.store_bytes for work in works)
    for name in ("l1_fills", "l2_fills", "memory_reads"):
        counts[name] = lines["weights"]
    if spec.l3 is not None:
        counts["l3_fills"] = lines["weights"]
    return KernelRun(
        start_cycle=cycle,
        end_cycle=cycle + compute + memory,
        instructions=sum(work.instructions for work in works),
        uops=uops,
        macs=sum(work.macs for work in works),
        slots=np.asarray(accounts),
        counts=counts,
    )
