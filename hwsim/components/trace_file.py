"""Write a run's trace for ui.perfetto.dev while the run streams: protocol buffers, bounded memory.

One track per unit, more where its requests overlap; one slice per instruction, one arrow per token
that was waited for; one counter track per sampled counter.
"""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from hwsim.components import trace_kernels as kernels
from hwsim.components.engine_trace import counter_changes, counter_names
from hwsim.core.errors import InputError
from hwsim.core.program import Program

__all__ = ["PerfettoFile"]

Ints = NDArray[np.int64]

BUFFER_BYTES = 1 << 22
GZIP_LEVEL = 3
"""Measured: a quarter of the time of level 6, files a tenth larger."""
PROCESS_TRACK = 1
BOOT_CLOCK, DELTA_CLOCK = 6, 64
STATE_CLEARED = 1


class PerfettoFile:
    """A sink of the engine's records; use it as a context, which completes or removes the file.

    Parameters
    ----------
    path : Path
        File to write (gzip if its name ends in ``.gz``); an earlier one is replaced at the end.
    clock_hz : int
        Clock of the records' cycles.

    Raises
    ------
    InputError
        If ``path`` cannot be written or ``clock_hz`` is not positive.
    """

    def __init__(self, path: Path, clock_hz: int) -> None:
        if clock_hz < 1:
            raise InputError("clock_hz", "at least 1 Hz", str(clock_hz))
        self.path = path
        self.events = 0
        self._clock_hz = clock_hz
        self._out = np.zeros(BUFFER_BYTES, np.uint8)
        self._state = np.array([0, 0, 0, clock_hz], np.int64)
        self._raw: IO[bytes] | None = None
        self._stream: IO[bytes] | None = None
        self._last: NDArray[np.float64] | None = None
        self._end_cycle = 0
        self._has_begun = False

    def __enter__(self) -> PerfettoFile:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._raw = tempfile.NamedTemporaryFile(
                dir=self.path.parent, prefix=f".{self.path.name}-", delete=False
            )
        except OSError as error:
            raise self._unwritable(error) from None
        # No file name and no time in the header: equal runs give equal files.
        is_packed = self.path.suffix == ".gz"
        packed = gzip.GzipFile("", "wb", GZIP_LEVEL, self._raw, mtime=0) if is_packed else None
        self._stream = packed or self._raw
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        assert self._raw is not None and self._stream is not None
        temporary = Path(self._raw.name)
        try:
            if kind is None:
                self._finish()
            if self._stream is not self._raw:
                self._stream.close()
            self._raw.close()
            if kind is None:
                temporary.chmod(0o644)
                temporary.replace(self.path)
        except OSError as error:
            raise self._unwritable(error) from None
        finally:
            temporary.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> InputError:
        return InputError("--trace", "a writable file", f"{self.path}: {error.strerror}")

    def begin(self, program: Program, lanes: int) -> None:
        """Write the names of tracks and slices."""
        self._has_begun = True
        units, channels = len(program.units), len(program.channels)
        self._open = np.full((units, kernels.OPEN_LANES + lanes), -1, np.int64)
        self._tokens = np.zeros((channels, 2), np.int64)
        self._tokens[:, kernels.TAKEN] = [-channel.initial for channel in program.channels]
        rows = program.instructions
        pairs, numbers = np.unique(
            np.stack([rows["opcode"], rows["op_id"]]), axis=1, return_inverse=True
        )
        self._code = np.zeros((len(rows), 4), np.int64)
        for column, field in enumerate(("unit", "wait", "release")):
            self._code[:, column] = rows[field]
        self._code[:, kernels.CODE_NAME] = numbers.reshape(-1) + 1
        self._first_counter = 2 + units * lanes
        self._write(_preamble(program, lanes, pairs, counter_names(program), self._first_counter))

    def take(self, events: Ints, samples: Ints) -> None:
        """Encode records and write them."""
        at = 0
        while at < len(events):
            at = int(
                kernels.encode_events(
                    events, at, self._code, self._open, self._tokens, self._state, self._out
                )
            )
            self._flush()
        self.events += int((events[:, 1] >= 0).sum())
        self._put_counters(samples)

    def _put_counters(self, samples: Ints) -> None:
        if not len(samples):
            return
        changes, self._last = counter_changes(samples, self._last)
        self._end_cycle = int(samples[-1, 1])
        self._encode_counters(changes)

    def _encode_counters(self, changes: Ints) -> None:
        at = 0
        while at < len(changes):
            first = self._first_counter
            at = int(kernels.encode_counters(changes, at, first, self._state, self._out))
            self._flush()

    def _finish(self) -> None:
        """Write the ends of what still runs; after the run nothing moves and nothing waits."""
        if not self._has_begun:
            need = "a name in .json, on a machine that does not stream its events"
            raise InputError("--trace", need, str(self.path))
        kernels.finish_events(self._code, self._open, self._tokens, self._state, self._out)
        self._flush()
        if self._last is not None:
            left = np.flatnonzero(self._last)
            at_end = np.full(len(left), self._end_cycle)
            self._encode_counters(np.stack([at_end, left, np.zeros_like(left)], axis=1))

    def _flush(self) -> None:
        used = int(self._state[kernels.POSITION])
        self._write(self._out[:used].tobytes())
        self._state[kernels.POSITION] = 0

    def _write(self, data: bytes) -> None:
        assert self._stream is not None
        try:
            self._stream.write(data)
        except OSError as error:
            raise self._unwritable(error) from None


def _preamble(
    program: Program, lanes: int, pairs: NDArray[np.int32], counters: list[str], first: int
) -> bytes:
    """Return the packets that declare clocks, tracks and names of both sequences."""
    names = [
        f"{program.opcodes[opcode]} {program.op_names[op]}" if op >= 0 else ""
        for opcode, op in pairs.T.tolist()
    ]
    interned = b"".join(
        _message(2, _number(1, iid) + _bytes(2, name.encode())) for iid, name in enumerate(names, 1)
    )
    packets = [
        _sequence(kernels.EVENT_SEQUENCE, _message(12, interned)),
        _sequence(kernels.COUNTER_SEQUENCE, b""),
        _track(PROCESS_TRACK, 0, "hwsim", _message(3, _number(1, 1) + _bytes(6, b"hwsim"))),
    ]
    rows = program.instructions
    moving = set(rows["unit"][rows["mem_bytes"] > 0].tolist())
    for unit, name in enumerate(program.units):
        for lane in range(lanes if unit in moving else 1):
            label = name if lane == 0 else f"{name} ({lane + 1})"
            uuid = 2 + unit * lanes + lane
            thread = _number(1, 1) + _number(2, uuid) + _bytes(5, label.encode())
            packets.append(_track(uuid, PROCESS_TRACK, label, _message(4, thread)))
    for counter, label in enumerate(counters):
        packets.append(_track(first + counter, PROCESS_TRACK, label, _message(8, b"")))
    return b"".join(_message(1, packet) for packet in packets)


def _sequence(number: int, content: bytes) -> bytes:
    """Return the packet that starts a sequence whose times are differences in nanoseconds."""
    boot = _message(1, _number(1, BOOT_CLOCK) + _number(2, 0))
    delta = _message(1, _number(1, DELTA_CLOCK) + _number(2, 0) + _number(3, 1) + _number(4, 1))
    snapshot = _message(6, boot + delta + _number(2, BOOT_CLOCK))
    defaults = _message(59, _number(58, DELTA_CLOCK))
    return snapshot + _number(10, number) + _number(13, STATE_CLEARED) + defaults + content


def _track(uuid: int, parent: int, name: str, kind: bytes) -> bytes:
    parents = _number(5, parent) if parent else b""
    return _message(60, _number(1, uuid) + _bytes(2, name.encode()) + parents + kind)


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value >= 128:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


_message = _bytes
"""A message within a message is written as the bytes of its fields."""
