"""Serve word accesses of several ports from the banks of a scratchpad, exact to the cycle.

Cycle contract
--------------
- A port asks for one word at a time and keeps asking until it is granted; its next request can be
  granted one cycle later at the earliest. Ports are independent of each other.
- A bank has ``bank_ports`` ports of its own. Each grants one request per cycle and is then taken
  for the kind's interval (1: pipelined). Requests that find no free one wait: conflicts are
  serialised, in the order that ``policy`` says, and block what is behind them on their own port.
- A request granted in cycle g is done in cycle g + latency of its kind: read data may be used from
  then on; a write is visible to every request granted later than g (assumed: forwarding).
- Requests for one word conflict like any others of its bank; there is no broadcast.

Banks are chosen by the word's low-order digits (``interleave``), or by the exclusive or of all
its digits of log2(banks) bits (``xor``), which spreads every power-of-two stride (Rau,
Pseudo-randomly interleaved memory, ISCA 1991; Gonzalez et al., Eliminating cache conflict misses
through XOR-based placement functions, ICS 1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hwsim.components import sram_kernels as kernels
from hwsim.components.arbiter import POLICIES
from hwsim.components.jit import interpreted
from hwsim.core.errors import InputError
from hwsim.core.machine import Spec

__all__ = ["KINDS", "SramRun", "SramSpec", "bank_of", "play_requests", "sram_state"]

KINDS = ("read", "write", "atomic")
"""Kinds of access, in the order of their codes; an atomic is one read-modify-write in its bank."""

_SELECTIONS = {"interleave": kernels.INTERLEAVE, "xor": kernels.XOR}


class SramSpec(Spec):
    """A banked scratchpad, seen by ``ports`` requesters."""

    banks: int = Field(16, ge=1)
    ports: int = Field(16, ge=1, description="requesters, one access per cycle each")
    bank_ports: int = Field(1, ge=1, description="accesses that a bank starts in one cycle")
    word_bytes: int = Field(8, ge=1)
    bank_selection: Literal["interleave", "xor"] = "interleave"
    policy: Literal["round_robin", "oldest"] = "round_robin"
    read_latency_cycles: int = Field(1, ge=1)
    write_latency_cycles: int = Field(1, ge=1)
    atomic_latency_cycles: int = Field(2, ge=1)
    read_interval_cycles: int = Field(1, ge=1, description="from a read to the next access")
    write_interval_cycles: int = Field(1, ge=1)
    atomic_interval_cycles: int = Field(1, ge=1, description="1: back to back by forwarding")

    @model_validator(mode="after")
    def _has_banks_for_xor(self) -> SramSpec:
        if self.bank_selection == "xor" and self.banks & (self.banks - 1):
            raise ValueError(f"banks: need a power of two for xor, found {self.banks}")
        return self


def sram_state(spec: SramSpec) -> kernels.Sram:
    """Return the state of an idle scratchpad, for :mod:`hwsim.components.sram_kernels`."""
    fixed = [
        *(spec.word_bytes, _SELECTIONS[spec.bank_selection], spec.banks.bit_length() - 1),
        POLICIES[spec.policy],
        *(spec.read_latency_cycles, spec.write_latency_cycles, spec.atomic_latency_cycles),
        *(spec.read_interval_cycles, spec.write_interval_cycles, spec.atomic_interval_cycles),
    ]
    banks = np.zeros((spec.banks, kernels.FREE_CYCLE + spec.bank_ports), np.int64)
    banks[:, [kernels.LAST, kernels.LAST_CONFLICT]] = -1
    ports = np.zeros((spec.ports, kernels.PORT_COLUMNS), np.int64)
    return kernels.Sram(np.array(fixed, np.int64), ports, banks)


def bank_of(spec: SramSpec, address: int) -> int:
    """Return the bank that holds the word at byte ``address``."""
    select = interpreted(kernels.bank_of_word)
    selection = _SELECTIONS[spec.bank_selection]
    return int(
        select(address // spec.word_bytes, spec.banks, selection, spec.banks.bit_length() - 1)
    )


@dataclass(frozen=True)
class SramRun:
    """What became of a trace.

    Attributes
    ----------
    cycles : int
        The cycle after the last grant or completion, whichever is later; 0 for an empty trace.
    grant_cycles, done_cycles : int64[request]
        In the order of the trace.
    port_conflict_cycles, port_delayed : int64[port]
        Cycles of asking in vain, and requests that did so at least once.
    bank_accesses, bank_conflict_cycles : int64[bank]
        Grants, and cycles in which a request for the bank was left waiting.
    """

    cycles: int
    grant_cycles: NDArray[np.int64]
    done_cycles: NDArray[np.int64]
    port_conflict_cycles: NDArray[np.int64]
    port_delayed: NDArray[np.int64]
    bank_accesses: NDArray[np.int64]
    bank_conflict_cycles: NDArray[np.int64]


def play_requests(
    spec: SramSpec,
    cycles: NDArray[np.int64],
    ports: NDArray[np.int64],
    addresses: NDArray[np.int64],
    kinds: NDArray[np.int64] | None = None,
) -> SramRun:
    """Serve a trace of requests; those of one port in the order given.

    Parameters
    ----------
    spec : SramSpec
        The scratchpad.
    cycles, ports, addresses : int64[request]
        Cycle from which the port has the request, port, byte address. A port's cycles must not
        decrease.
    kinds : int64[request], optional
        Index into :data:`KINDS`; reads if left out. A boolean ``is_write`` will do.

    Raises
    ------
    InputError
        If the arrays disagree in length, a value is out of range, or a port's cycles decrease.
    """
    codes = np.zeros(len(cycles), np.int64) if kinds is None else kinds
    columns = [np.asarray(column).astype(np.int64) for column in (cycles, ports, addresses, codes)]
    _check(spec, columns)
    trace = np.stack(columns, axis=1) if len(columns[0]) else np.zeros((0, 4), np.int64)
    first, following = _chain(trace[:, kernels.T_PORT], spec.ports)
    if not (trace[following >= 0, 0] <= trace[following[following >= 0], 0]).all():
        raise InputError("sram.cycles", "cycles that do not decrease on a port", "a decrease")
    return _play(spec, trace, first, following)


def _play(
    spec: SramSpec,
    trace: NDArray[np.int64],
    first: NDArray[np.int64],
    following: NDArray[np.int64],
) -> SramRun:
    state = sram_state(spec)
    grant, done = np.zeros((2, len(trace)), np.int64)
    end = int(kernels.play_trace(state, trace, first, following, grant, done))
    return SramRun(
        cycles=max(end, int(done.max(initial=0))),
        grant_cycles=grant,
        done_cycles=done,
        port_conflict_cycles=state.ports[:, kernels.LOST],
        port_delayed=state.ports[:, kernels.DELAYED],
        bank_accesses=state.banks[:, kernels.ACCESSES],
        bank_conflict_cycles=state.banks[:, kernels.CONFLICT_CYCLES],
    )


def _check(spec: SramSpec, columns: list[NDArray[np.int64]]) -> None:
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise InputError("sram.trace", "columns of one length", str(lengths))
    limits = (None, spec.ports, None, len(KINDS))
    names = ("cycles", "ports", "addresses", "kinds")
    for name, column, limit in zip(names, columns, limits, strict=True):
        below = "" if limit is None else f" below {limit}"
        for value in (column.min(initial=0), column.max(initial=0)):
            if value < 0 or (limit is not None and value >= limit):
                raise InputError(f"sram.{name}", f"values from 0{below}", str(value))


def _chain(ports: NDArray[np.int64], n_ports: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each port's first request and each request's successor on its port, -1 for none."""
    first = np.full(n_ports, -1, np.int64)
    following = np.full(len(ports), -1, np.int64)
    order = np.argsort(ports, kind="stable")
    is_same = ports[order[1:]] == ports[order[:-1]]
    following[order[:-1][is_same]] = order[1:][is_same]
    starts = np.flatnonzero(np.r_[True, ~is_same])[: len(order)]
    first[ports[order[starts]]] = order[starts]
    return first, following
