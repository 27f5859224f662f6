"""Micro-op form of a CPU kernel: what a generator emits and the pipeline executes.

Contract
--------
A :class:`UopKernel` is a list of rows (:data:`UOP`), one per machine instruction, in program order,
with counted loops written as two pseudo rows (``LOOP`` … ``END``, nested at most
``MAX_LOOP_DEPTH`` deep). Bodies are straight-line code: data decides only trip counts and steps.

- **Trip counts** are constants (``count >= 0``), or the next value of a stream: ``count = -1 - s``
  takes one from stream ``s`` each time the loop is entered (the ``nnzmap`` of a sparse kernel). A
  loop of no trips is skipped. The instructions that count and branch are rows of their own; the
  last branch before an ``END`` is the one that is predicted when the loop is left.
- **Addresses** come from *pointers*, byte addresses that the kernel walks: a row with
  ``pointer = p`` accesses ``size`` bytes at ``value[p] + offset``. After its access a row may step
  a pointer ``updated``: by the constant ``step`` (``STEP``), by the next value of stream ``step``
  (``STEP_STREAM``; the ``dmap`` of a sparse kernel), mark where stream ``step`` stands (``MARK``),
  or start it again from its mark, at first its first value (``REWIND``). A row of pseudo opcode
  ``POINTER`` only does that and costs nothing: an effect that the code gets for free or from
  another row. Which registers hold a pointer, and that adding to it takes an instruction, is said
  by ``dst`` and ``src``; ``has_write_back`` marks post-indexed accesses, whose ``src[0]`` is the
  address register, renewed one cycle later.
- **Streams** are int64 arrays bound by name at run time. They describe only what the data
  decide; the loads that fetch the same numbers are rows, with pointers of their own.
- **Registers** 0 to 31 are vectors, 32 to 63 general-purpose; ``NO_REGISTER`` is none. ``fma``
  classes accumulate: ``src[0]`` is the accumulator and equals ``dst[0]``; back-to-back accumulation
  is forwarded early by most pipelines. A row of class ``load_pair_q`` writes ``dst[0:2]``.
- ``macs`` counts multiply-accumulate lanes, padding included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError

__all__ = [
    "END",
    "GENERAL",
    "LOOP",
    "MARK",
    "MAX_LOOP_DEPTH",
    "NONE",
    "NO_REGISTER",
    "OPCODES",
    "POINTER",
    "REGISTERS",
    "REWIND",
    "STEP",
    "STEP_STREAM",
    "UOP",
    "UopKernel",
    "UopBuilder",
]

OPCODES = (
    "alu",  # integer add, subtract, compare, move
    "alu_extend",  # integer add of a shifted or extended operand
    "multiply",  # integer multiply
    "branch",  # conditional branch of a loop
    "load_x",  # scalar load into a general-purpose register, 4 or 8 bytes
    "load_s",  # load into a vector register, 4 or 8 bytes (ldr s, ldr d)
    "load_q",  # 16-byte vector load
    "load_pair_q",  # two adjacent 16-byte vector loads in one instruction (ldp q, q)
    "load_pair_x",  # two adjacent 4-byte loads into general-purpose registers
    "load_pair_sx",  # the same, sign-extended to 8 bytes each
    "load_dup",  # load one element and broadcast it (ld1r)
    "load_lane",  # load one element into a lane
    "prefetch",  # prefetch a line for reading
    "store_x",  # scalar store from a general-purpose register
    "store_s",  # store the lowest 4 or 8 bytes of a vector register
    "store_lane",  # store another lane of a vector register
    "store_q",  # 16-byte vector store
    "store_pair_q",  # two adjacent 16-byte vector stores
    "fma_q",  # vector multiply-accumulate, 4 lanes; also by lane
    "fma_s",  # multiply-accumulate on 1 or 2 lanes
    "fadd_q",  # vector add or subtract
    "fmul_q",  # vector multiply; also by lane
    "fminmax_q",  # vector minimum or maximum
    "fdiv_q",  # vector divide
    "convert_q",  # vector conversion between integers and floats
    "move_q",  # register move, bitwise or integer lane operation, extract, one-source permute
    "permute_q",  # two-source permute (zip, uzp)
    "dup_x",  # broadcast from a general-purpose register
    "reduce_q",  # pairwise addition of neighbouring lanes
)
"""Instruction classes; the rule table of a core has one row for each."""

LOOP = -1
"""Pseudo opcode: repeat everything up to the matching END."""
END = -2
"""Pseudo opcode: end of a loop's body."""
POINTER = -3
"""Pseudo opcode: step a pointer or rewind a stream, at no cost."""
MAX_LOOP_DEPTH = 8

NONE, STEP, STEP_STREAM, REWIND, MARK = range(5)
"""What a row does to a pointer or a stream after its access."""

REGISTERS = 64
GENERAL = 32
"""Number of the first general-purpose register."""
NO_REGISTER = -1

UOP = np.dtype(
    [
        ("opcode", np.int16),  # index into OPCODES, or LOOP / END / POINTER
        ("dst", np.int16, (2,)),  # registers written
        ("src", np.int16, (4,)),  # registers read; src[0] of an fma is the accumulator
        ("pointer", np.int16),  # pointer that gives the address, -1: no access
        ("offset", np.int32),  # bytes beyond the pointer
        ("size", np.int32),  # bytes accessed
        ("has_write_back", np.int8),  # the address register src[0] is updated by the access
        ("update", np.int8),  # NONE, STEP, STEP_STREAM, REWIND or MARK
        ("updated", np.int16),  # pointer that is stepped
        ("step", np.int64),  # bytes, or index of a stream
        ("count", np.int64),  # LOOP: trips, or -1 - stream
        ("macs", np.int32),  # multiply-accumulate lanes
    ]
)
"""One instruction of a kernel."""

_MEMORY = tuple(i for i, name in enumerate(OPCODES) if name.split("_")[0] in ("load", "store")) + (
    OPCODES.index("prefetch"),
)


@dataclass(frozen=True)
class UopKernel:
    """Code with named pointers and streams, not yet bound to addresses and data.

    Attributes
    ----------
    name : str
        For example ``spmm-16x1``.
    rows : UOP[:]
        Instructions and loops in program order.
    pointers : tuple of str
        Names behind the pointer numbers; every one needs a start address.
    streams : tuple of str
        Names behind the stream numbers; every one needs an int64 array.
    """

    name: str
    rows: NDArray[np.void]
    pointers: tuple[str, ...]
    streams: tuple[str, ...] = ()

    def verify(self) -> None:
        """Raise :class:`InputError` naming the row that breaks the contract."""
        opcode = self.rows["opcode"].astype(np.int64)
        depth = np.cumsum((opcode == LOOP).astype(np.int64) - (opcode == END))
        self._require((depth >= 0) & (depth <= MAX_LOOP_DEPTH), depth,
                      f"loops nested 0 to {MAX_LOOP_DEPTH} deep")  # fmt: skip
        known = (opcode >= POINTER) & (opcode < len(OPCODES))
        self._require(known, opcode, f"an opcode below {len(OPCODES)}")
        if len(depth) and depth[-1] != 0:
            raise InputError(self.name, "every loop closed", f"{depth[-1]} open")
        self._verify_operands(opcode)

    def _verify_operands(self, opcode: NDArray[np.int64]) -> None:
        rows = self.rows
        registers = np.concatenate([rows["dst"], rows["src"]], axis=1)
        fits = ((registers >= NO_REGISTER) & (registers < REGISTERS)).all(axis=1)
        self._require(fits, registers, f"registers below {REGISTERS}")
        has_access = np.isin(opcode, _MEMORY) == (rows["pointer"] >= 0)
        need = "a pointer exactly if it accesses memory"
        self._require(has_access, rows["pointer"], need)
        named = np.maximum(rows["pointer"], rows["updated"])
        count = len(self.pointers)
        self._require(named < count, named, f"a pointer below {count}")
        stream = np.where(opcode == LOOP, -1 - rows["count"], -1)
        takes = np.isin(rows["update"], (STEP_STREAM, REWIND, MARK))
        stream = np.where(takes, rows["step"], stream)
        count = len(self.streams)
        self._require(stream < count, stream, f"a stream below {count}")

    def _require(self, holds: NDArray[np.bool_], found: NDArray[Any], need: str) -> None:
        """Raise :class:`InputError` for the first row for which ``holds`` is false."""
        if not holds.all():
            index = int(np.argmin(holds))
            raise InputError(f"{self.name}[{index}]", need, str(found[index].tolist()))

    def dynamic_counts(self, streams: Mapping[str, NDArray[np.integer]]) -> NDArray[np.int64]:
        """Return how often each row runs under ``streams``: int64[len(rows)]."""
        return _Counter(self, streams).counts

    def disassemble(self, limit: int = 200) -> str:
        """Return the rows as text, loops indented, at most ``limit`` lines."""
        lines: list[str] = []
        indent = 0
        for row in self.rows[:limit]:
            opcode = int(row["opcode"])
            indent -= opcode == END
            if opcode != END:
                lines.append("  " * indent + self._text(row, opcode))
            indent += opcode == LOOP
        if len(self.rows) > limit:
            lines.append(f"… {len(self.rows) - limit} more")
        return "\n".join(lines)

    def _text(self, row: np.void, opcode: int) -> str:
        if opcode == LOOP:
            count = int(row["count"])
            return f"loop {count if count >= 0 else 'next of ' + self.streams[-1 - count]}:"
        text = "pointer" if opcode == POINTER else OPCODES[opcode]
        written = [_register(r) for r in row["dst"].tolist() if r >= 0]
        read = [_register(r) for r in row["src"].tolist() if r >= 0]
        text = f"{text:12} {', '.join(written)} <- {', '.join(read)}"
        if int(row["pointer"]) >= 0:
            place = self.pointers[int(row["pointer"])]
            text += f"  [{place} + {int(row['offset'])}] {int(row['size'])} B"
        update, step = int(row["update"]), int(row["step"])
        if update == STEP:
            text += f"  {self.pointers[int(row['updated'])]} += {step}"
        elif update == STEP_STREAM:
            text += f"  {self.pointers[int(row['updated'])]} += next of {self.streams[step]}"
        elif update == REWIND:
            text += f"  rewind {self.streams[step]}"
        elif update == MARK:
            text += f"  mark {self.streams[step]}"
        return text


class _Counter:
    """Count rows by walking the loops; what repeats itself is walked once."""

    def __init__(self, kernel: UopKernel, streams: Mapping[str, NDArray[np.integer]]) -> None:
        self.opcodes = kernel.rows["opcode"].tolist()
        self.trips = kernel.rows["count"].tolist()
        is_rewind = kernel.rows["update"] == REWIND
        self.rewinds = np.where(is_rewind, kernel.rows["step"], -1).tolist()
        self.values = [np.asarray(streams[name], dtype=np.int64) for name in kernel.streams]
        self.ends = _loop_ends(self.opcodes)
        self.position = [0] * len(self.values)
        self.counts = np.zeros(len(self.opcodes), dtype=np.int64)
        self._walk(0, len(self.opcodes))

    def _walk(self, start: int, stop: int) -> None:
        index = start
        while index < stop:
            self.counts[index] += 1
            if self.rewinds[index] >= 0:
                self.position[self.rewinds[index]] = 0
            if self.opcodes[index] == LOOP:
                index = self._loop(index)
            index += 1

    def _loop(self, index: int) -> int:
        """Count one entry of the loop at ``index``; return the row of its end."""
        end, trips = self.ends[index], self.trips[index]
        if trips < 0:
            stream = -1 - trips
            trips = int(self.values[stream][self.position[stream]])
            self.position[stream] += 1
        body = range(index + 1, end)
        if not any(self.opcodes[row] == LOOP or self.rewinds[row] >= 0 for row in body):
            self.counts[index + 1 : end + 1] += trips
        elif not self._is_steady(body) or not self._take(index, end, trips):
            self._repeat(index, end, trips)
        return end

    def _repeat(self, index: int, end: int, trips: int) -> None:
        """Walk the body until a walk leaves all streams where it found them, then multiply."""
        for done in range(trips):
            before, counts = list(self.position), self.counts.copy()
            self._walk(index + 1, end)
            self.counts[end] += 1
            if self.position == before:
                self.counts += (trips - done - 1) * (self.counts - counts)
                return

    def _is_steady(self, body: range) -> bool:
        """Return whether the body takes each stream once, by loops that stand side by side."""
        loops = [row for row in body if self.opcodes[row] == LOOP]
        streams = [self.trips[row] for row in loops if self.trips[row] < 0]
        is_flat = all(b > self.ends[a] for a, b in zip(loops, loops[1:], strict=False))
        has_rewind = any(self.rewinds[row] >= 0 for row in body)
        return is_flat and not has_rewind and len(streams) == len(set(streams))

    def _take(self, index: int, end: int, trips: int) -> bool:
        """Count ``trips`` trips of a steady body at once; no if a stream has too few values."""
        rows = [row for row in range(index + 1, end) if self.opcodes[row] == LOOP]
        taken = {row: -1 - self.trips[row] for row in rows if self.trips[row] < 0}
        if any(self.position[s] + trips > len(self.values[s]) for s in taken.values()):
            return False
        self.counts[index + 1 : end + 1] += trips
        for row in rows:
            total = trips * self.trips[row]
            if row in taken:
                at = self.position[taken[row]]
                total = int(self.values[taken[row]][at : at + trips].sum())
                self.position[taken[row]] += trips
            self.counts[row + 1 : self.ends[row] + 1] += total - trips
        return True


def _loop_ends(opcodes: list[int]) -> dict[int, int]:
    """Return, per row of a LOOP, the row of its END."""
    ends: dict[int, int] = {}
    stack: list[int] = []
    for index, opcode in enumerate(opcodes):
        if opcode == LOOP:
            stack.append(index)
        elif opcode == END:
            ends[stack.pop()] = index
    return ends


def _register(number: int) -> str:
    return f"v{number}" if number < GENERAL else f"x{number - GENERAL}"


class UopBuilder:
    """Collect rows; the names of pointers and streams are numbered as they come."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._rows: list[tuple[object, ...]] = []
        self._pointers: list[str] = []
        self._streams: list[str] = []

    def pointer(self, name: str) -> int:
        """Return the number of pointer ``name``, declared if it is new."""
        return _number(self._pointers, name)

    def stream(self, name: str) -> int:
        """Return the number of stream ``name``, declared if it is new."""
        return _number(self._streams, name)

    def op(
        self,
        opcode: str,
        dst: tuple[int, ...] = (),
        src: tuple[int, ...] = (),
        *,
        pointer: str | None = None,
        offset: int = 0,
        size: int = 0,
        has_write_back: bool = False,
        step: tuple[str, int | str] | None = None,
        macs: int = 0,
    ) -> None:
        """Append an instruction; ``step`` is a pointer and its bytes or a stream's name."""
        update, updated, by = NONE, -1, 0
        if step is not None:
            updated = self.pointer(step[0])
            is_stream = isinstance(step[1], str)
            update = STEP_STREAM if is_stream else STEP
            by = self.stream(step[1]) if isinstance(step[1], str) else step[1]
        place = -1 if pointer is None else self.pointer(pointer)
        number = POINTER if opcode == "pointer" else OPCODES.index(opcode)
        self._append(
            number, dst, src, place, offset, size, has_write_back, update, updated, by, 0, macs
        )

    def step(self, pointer: str, by: int | str) -> None:
        """Step ``pointer`` by bytes or by the next value of a stream, at no cost."""
        self.op("pointer", step=(pointer, by))

    def rewind(self, stream: str) -> None:
        """Start ``stream`` again from its first value, at no cost."""
        self._append(POINTER, (), (), -1, 0, 0, False, REWIND, -1, self.stream(stream), 0, 0)

    @contextmanager
    def loop(self, trips: int | str) -> Iterator[None]:
        """Repeat what is appended inside: a constant number, or the next of a stream."""
        count = -1 - self.stream(trips) if isinstance(trips, str) else trips
        self._append(LOOP, (), (), -1, 0, 0, False, NONE, -1, 0, count, 0)
        yield
        self._append(END, (), (), -1, 0, 0, False, NONE, -1, 0, 0, 0)

    def build(self) -> UopKernel:
        """Return the verified kernel."""
        rows = np.array(self._rows, dtype=UOP)
        kernel = UopKernel(self.name, rows, tuple(self._pointers), tuple(self._streams))
        kernel.verify()
        return kernel

    def _append(
        self, opcode: int, dst: tuple[int, ...], src: tuple[int, ...], *rest: int | bool
    ) -> None:
        padded = (*dst, *(NO_REGISTER,) * (2 - len(dst)))
        read = (*src, *(NO_REGISTER,) * (4 - len(src)))
        self._rows.append((opcode, padded, read, *rest))


def _number(names: list[str], name: str) -> int:
    if name not in names:
        names.append(name)
    return names.index(name)
