"""Lower machine code and the shape of one call to the simulator's micro-ops.

The integer side of the code is executed symbolically: arguments are numbers or array addresses,
what is loaded from ``nnzmap`` and ``dmap`` stays a stream. Turns of a loop that write the same rows
become one counted loop, and a loop whose turns have become equal is not executed to its end but
advanced at once; both are exact: a turn's state is an affine function of its number as long as its
conditions compare the same numbers as in the turn before. Pointers that a table of rows steps are
not followed: only the stream knows where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.cpu import isa
from hwsim.cpu.microkernel.ir import Reg
from hwsim.cpu.microkernel.machine_code import (
    Condition,
    Counted,
    Effect,
    MachineCode,
    MachineInstr,
    MachineNode,
)
from hwsim.cpu.microkernel.repetition import Change, State, StreamLoop, stream_walks

__all__ = ["BoundKernel", "lower_uops"]

Address = tuple[str, int]
"""Array and byte offset."""

TABLE = "table"
"""Array of steps of row pointers."""


@dataclass(frozen=True)
class BoundKernel:
    """Micro-ops of one call.

    Attributes
    ----------
    kernel : isa.UopKernel
        Rows, pointers and streams by name.
    starts : dict of pointer name to Address
        Where each pointer starts: an array of the call and bytes from its first.
    streams : dict of stream name to int64 array
        Trip counts and input increments.
    """

    kernel: isa.UopKernel
    starts: dict[str, Address]
    streams: dict[str, NDArray[np.int64]]

    def addresses(self, base: Mapping[str, int]) -> dict[str, int]:
        """Return where each pointer starts if arrays lie at ``base``; ``stack`` is the stack's."""
        return {name: base[array] + offset for name, (array, offset) in self.starts.items()}


@dataclass(frozen=True)
class _Data:
    """A value loaded from array ``name``; ``taken`` says how it has been reduced by loops."""

    name: str
    taken: str = ""


Value = int | Address | _Data
Row = tuple[Any, ...]


def lower_uops(
    code: MachineCode, arguments: Sequence[int | Address], data: Mapping[str, NDArray[Any]]
) -> BoundKernel:
    """Return the micro-ops of a call of ``code``.

    Parameters
    ----------
    code : MachineCode
        From an instruction set's ``select`` function.
    arguments : sequence of int or (array, bytes)
        In the order of the kernel's arguments.
    data : mapping
        Arrays whose values decide trips or addresses: ``nnzmap`` and ``dmap`` of a sparse kernel,
        ``table`` (:mod:`~hwsim.cpu.microkernel.row_table`) of a channels-last one.
    """
    machine = _Machine(data)
    for number, argument in enumerate(arguments):
        machine.bind(Reg("x", number), argument)
    machine.bind(Reg("x", 31), ("stack", 0))
    rows = machine.run(code.body)
    table = np.array([_uop(row) for row in rows], dtype=isa.UOP)
    kernel = isa.UopKernel(
        code.kernel.name, table, tuple(machine.pointers), tuple(machine.stream_names)
    )
    kernel.verify()
    return BoundKernel(kernel, machine.starts, machine.stream_values())


def _uop(row: Row) -> Row:
    opcode, dst, src, *rest = row
    written = (*dst, *(isa.NO_REGISTER,) * (2 - len(dst)))
    read = (*src, *(isa.NO_REGISTER,) * (4 - len(src)))
    return (opcode, written, read, *rest)


def _row(
    opcode: int,
    dst: tuple[int, ...] = (),
    src: tuple[int, ...] = (),
    *,
    pointer: int = -1,
    offset: int = 0,
    size: int = 0,
    has_write_back: bool = False,
    update: tuple[int, int, int] = (isa.NONE, -1, 0),
    count: int = 0,
    macs: int = 0,
) -> Row:
    return (opcode, dst, src, pointer, offset, size, has_write_back, *update, count, macs)


@dataclass
class _Machine:
    """The integer state, and the rows written so far."""

    data: Mapping[str, NDArray[Any]]
    registers: dict[Reg, Value] = field(default_factory=dict)
    pointers: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)  # pointer -> its byte offset now
    starts: dict[str, Address] = field(default_factory=dict)
    stream_names: list[str] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)  # stream -> values taken
    known: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    compared: list[int] = field(default_factory=list)  # numbers that conditions have seen
    streamed: list[StreamLoop] = field(default_factory=list)  # stream loops so far
    adrift: set[str] = field(default_factory=set)  # pointers that are not followed
    mark: int = 0  # byte of the table where its stream is marked

    # State

    def bind(self, reg: Reg, value: Value) -> None:
        """Give a register its value on entry."""
        self.registers[reg] = value
        if isinstance(value, tuple):
            self._pointer(reg, value)

    def _pointer(self, reg: Reg, value: Address) -> str:
        """Return the pointer that follows ``reg`` through array ``value``, declared if new."""
        name = f"{value[0]}.{reg}"
        if name not in self.places:
            self.pointers.append(name)
            self.places[name] = value[1]
            self.starts[name] = value
        return name

    def _stream(self, name: str) -> int:
        if name not in self.stream_names:
            self.stream_names.append(name)
            self.positions.setdefault(name, 0)
        return self.stream_names.index(name)

    def stream_values(self) -> dict[str, NDArray[np.int64]]:
        """Return the values behind the streams in use."""
        return {name: self.values_of(name) for name in self.stream_names}

    def values_of(self, name: str) -> NDArray[np.int64]:
        """Return the values of a stream: an array's, their halves rounded down, or the rest."""
        if name not in self.known:
            array, _, part = name.partition(".")
            values = np.asarray(self.data[array]).astype(np.int64)
            self.known[name] = {"": values, "pairs": values // 2, "odd": values % 2}[part]
        return self.known[name]

    def _move(self, reg: Reg, value: Address) -> tuple[int, int, int]:
        """Let ``reg`` point to ``value``; return the update of its pointer."""
        name = self._pointer(reg, value)
        by = value[1] - self.places[name]
        self.places[name] = value[1]
        self.registers[reg] = value
        return (isa.STEP, self.pointers.index(name), by) if by else (isa.NONE, -1, 0)

    # Rows

    def run(self, nodes: Sequence[MachineNode]) -> list[Row]:
        """Execute ``nodes`` and return their rows."""
        rows: list[Row] = []
        for node in nodes:
            if isinstance(node, MachineInstr):
                rows += self._instr(node)
            elif isinstance(node, Condition):
                rows += self._condition(node)
            else:
                rows += self._loop(node)
        return rows

    def _instrs(self, instrs: Sequence[MachineInstr]) -> list[Row]:
        return [row for instr in instrs for row in self._instr(instr)]

    def _instr(self, instr: MachineInstr) -> list[Row]:
        pointer = offset = size = 0
        if instr.access is None:
            pointer = -1
        else:
            value = self.registers[instr.access.base]
            assert isinstance(value, tuple), f"{instr.text} accesses no known array"
            pointer = self.pointers.index(self._pointer(instr.access.base, value))
            offset, size = instr.access.offset, instr.access.size
        update: tuple[int, int, int] = (isa.NONE, -1, 0)
        free: list[Row] = []
        for effect in instr.effects:
            found = self._effect(effect, free)
            update = found if found[0] != isa.NONE else update
        row = _row(
            isa.OPCODES.index(instr.opcode),
            instr.dst,
            instr.src,
            pointer=pointer,
            offset=offset,
            size=size,
            has_write_back=instr.has_write_back,
            update=update,
            macs=instr.macs,
        )
        return [row, *free]

    def _effect(self, effect: Effect, free: list[Row]) -> tuple[int, int, int]:
        """Apply ``effect``; return the pointer update, and add rewinds to ``free``."""
        value = self.registers.get(effect.src)
        nothing = (isa.NONE, -1, 0)
        if effect.op == "data":
            assert isinstance(value, tuple)
            self.registers[effect.dst] = _Data(value[0])
            return nothing
        if effect.op == "select":
            assert effect.test is not None
            a, b = (self.registers[reg] for reg in effect.test)
            assert isinstance(a, int)
            assert isinstance(b, int)
            self.compared += [a, b]
            mask = 2**64 - 1
            chosen = effect.src if (a & mask) < (b & mask) else effect.other
            assert chosen is not None
            value = self.registers[chosen]
        elif effect.op == "const":
            value = effect.imm
        elif effect.op == "shift":
            assert isinstance(value, int)
            value = value << effect.imm if effect.imm >= 0 else value >> -effect.imm
        elif effect.op == "step":
            if isinstance(value, _Data):  # the counter of a loop over a stream
                return nothing
            assert value is not None
            value = (
                value + effect.imm if isinstance(value, int) else (value[0], value[1] + effect.imm)
            )
        elif effect.op in ("add", "sub", "mul"):
            assert effect.other is not None
            other = self.registers[effect.other]
            if isinstance(other, _Data):
                return self._step_by_stream(effect.dst, value, other)
            value = _arithmetic(effect.op, value, other)
        assert value is not None
        if not isinstance(value, tuple):
            self.registers[effect.dst] = value
            return nothing
        if effect.op == "set":
            assert f"{value[0]}.{effect.src}" not in self.adrift, "a copy of an unknown address"
            free += self._rewinds(value)
        return self._move(effect.dst, value)

    def _rewinds(self, value: Address) -> list[Row]:
        """Return rewinds of the streams read from an array that a pointer is set back to.

        A table's stream is marked where a pointer is set to for the first time.
        """
        if value[0] == TABLE:
            update = isa.REWIND if value[1] == self.mark else isa.MARK
            self.mark = value[1]
            return [_row(isa.POINTER, update=(update, -1, self._stream(TABLE)))]
        rows = []
        for name in self.stream_names:
            if name.partition(".")[0] == value[0] and self.positions[name]:
                self.positions[name] = 0
                at = self.stream_names.index(name)
                rows.append(_row(isa.POINTER, update=(isa.REWIND, -1, at)))
        return rows

    def _step_by_stream(self, reg: Reg, value: Value | None, step: _Data) -> tuple[int, int, int]:
        assert isinstance(value, tuple)
        stream = self._stream(step.name)
        name = self._pointer(reg, value)
        if step.name == TABLE:
            self.adrift.add(name)
            return (isa.STEP_STREAM, self.pointers.index(name), stream)
        position = self.positions[step.name]
        values = self.values_of(step.name)
        by = int(values[position]) if position < len(values) else 0
        self.positions[step.name] = position + 1
        self.places[name] = value[1] + by
        self.registers[reg] = (value[0], value[1] + by)
        return (isa.STEP_STREAM, self.pointers.index(name), stream)

    # Control flow

    def _condition(self, node: Condition) -> list[Row]:
        rows = self._instrs(node.head)
        value = self.registers[node.reg]
        if isinstance(value, _Data):
            return rows + self._data_condition(node, value)
        assert isinstance(value, int)
        self.compared.append(value)
        is_set = bool(value & node.imm)
        taken = {"bit": is_set, "clear": not is_set, "at_least": value >= node.imm}[node.test]
        return rows + (self.run(node.body) if taken else [])

    def _data_condition(self, node: Condition, value: _Data) -> list[Row]:
        """Return a stream loop of one turn, or, around a loop of the same value, just that."""
        only = node.body[0]
        if len(node.body) == 1 and isinstance(only, Counted) and only.counter == node.reg:
            return self.run(node.body)
        assert value.taken == "pairs", "a condition on data follows a loop over its pairs"
        return self._stream_loop(f"{value.name}.odd", node.body, ())

    def _loop(self, node: Counted) -> list[Row]:
        value = self.registers[node.counter]
        if isinstance(value, _Data):
            rows = self._instrs(node.head)
            part = "" if node.until == "zero" else ".pairs"
            assert node.step == (1 if node.until == "zero" else 2)
            rows += self._stream_loop(f"{value.name}{part}", node.body, node.tail)
            self.registers[node.counter] = _Data(value.name, part[1:])
            return rows + self._instrs(node.after)
        assert isinstance(value, int)
        trips = value // node.step
        rows = self._instrs(node.head)
        if trips:
            rows += self._turns(node, trips)
        return rows + self._instrs(node.after)

    def _stream_loop(
        self, name: str, body: Sequence[MachineNode], tail: Sequence[MachineInstr]
    ) -> list[Row]:
        """Return a loop that takes its turns from a stream; its body steps pointers evenly."""
        stream = self._stream(name)
        trips = int(self.values_of(name)[self.positions[name]])
        self.positions[name] += 1
        places, positions = dict(self.places), dict(self.positions)
        rows = [*self.run(body), *self._instrs(tail)]
        # One turn has run: replace its effect on places by that of all turns.
        walks = stream_walks(rows, self.pointers, self.stream_names)
        steps = {
            pointer: by - places[pointer]
            for pointer, by in self.places.items()
            if by != places[pointer] and pointer not in walks
        }
        loop = StreamLoop(name, steps, walks)
        for pointer, by in loop.moved(self, positions, trips).items():
            self.put(pointer, places[pointer] + by)
        for source, uses in walks.values():
            self.positions[source] = positions.get(source, 0) + trips * uses
        self.streamed.append(loop)
        return [_row(isa.LOOP, count=-1 - stream), *rows, _row(isa.END)]

    def put(self, pointer: str, place: int) -> None:
        """Move ``pointer`` and the register that follows it, without a row."""
        self.places[pointer] = place
        array, _, register = pointer.rpartition(".")
        reg = Reg("x", int(register[1:]))
        value = self.registers.get(reg)
        if isinstance(value, tuple) and value[0] == array:
            self.registers[reg] = (array, place)

    def _turns(self, node: Counted, trips: int) -> list[Row]:
        """Return the rows of ``trips`` turns, equal neighbours merged into counted loops."""
        groups: list[list[Any]] = []
        before: Change | None = None
        turn = 0
        while turn < trips:
            start = State.of(self)
            rows = [*self.run(node.body), *self._instrs(node.tail)]
            change = start.change(self)
            turn += 1
            if not groups or groups[-1][1] != rows:
                groups.append([1, rows])
            else:
                groups[-1][0] += 1
                if change == before:
                    change.repeat(self, trips - turn)
                    groups[-1][0] += trips - turn
                    turn = trips
            before = change
        merged: list[Row] = []
        for count, rows in groups:
            merged += [_row(isa.LOOP, count=count), *rows, _row(isa.END)] if count > 1 else rows
        return merged


def _arithmetic(op: str, a: Value | None, b: Value) -> int | Address:
    if isinstance(a, tuple):
        assert isinstance(b, int)
        return (a[0], a[1] + (b if op == "add" else -b))
    assert isinstance(a, int)
    assert isinstance(b, int)
    return {"add": a + b, "sub": a - b, "mul": a * b}[op]
