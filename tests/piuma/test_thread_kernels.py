"""Check threads against laws: barrel issue, stall on use, atomics, caches, banks, accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hwsim.core.errors import HwsimError
from hwsim.piuma.isa import SPAD, THREAD, ZERO, Assembler, Label
from hwsim.piuma.state import ALL_THREADS, BUSY, dram_words

Threads = Callable[..., Any]
ROUNDS = 200


def adds(count: int) -> Callable[[Assembler], None]:
    def write(a: Assembler) -> None:
        (x,) = a.registers(1)
        for _ in range(count):
            a.add(x, x, 1)

    return write


@pytest.mark.evidence("piuma", "T2")
@pytest.mark.parametrize("latency", [1, 8, 15, 16, 17, 32, 100])
@pytest.mark.parametrize("count", [1, 5, 16])
def test_a_barrel_issues_one_per_cycle_or_all_threads_once_per_latency(
    threads: Threads, latency: int, count: int
) -> None:
    settings = (f"mtp.alu_cycles={latency}", f"mtp.threads={count}")
    chip, cycles = threads(adds(ROUNDS), None, settings)
    interval = max(count, latency)
    # The last thread halts after ROUNDS rounds, having begun count - 1 cycles after the first.
    assert cycles == ROUNDS * interval + count
    ipc = chip.accounts[0, BUSY] / cycles
    assert ipc == pytest.approx(min(1, count / latency), rel=2 / ROUNDS)


def test_a_single_threaded_pipeline_stalls_on_use_only(threads: Threads) -> None:
    def loads(is_used: bool) -> Callable[[Assembler], None]:
        def write(a: Assembler) -> None:
            x, y = a.registers(2)
            a.load(x, ZERO, 0)
            a.add(y, x if is_used else y, 1)

        return write

    # 8 bytes at 17.6 per cycle take one cycle, then 100 of latency: the answer is there at 101.
    _, waiting = threads(None, loads(True))
    assert waiting == 101 + 2  # the addition, then the halt
    chip, _ = threads(None, loads(False))
    assert chip.accounts[4, BUSY] == 3
    _, longer = threads(None, loads(True), ("dram.latency_cycles=101",))
    assert longer == waiting + 1


def test_a_single_threaded_pipeline_keeps_several_loads_in_flight(threads: Threads) -> None:
    def write(a: Assembler) -> None:
        for i, register in enumerate(a.registers(4)):
            a.load(register, ZERO, 8 * i)

    _, many = threads(None, write, ("stp.outstanding=4",))
    _, single = threads(None, write, ("stp.outstanding=1",))
    assert many < 110
    assert single > 4 * 100


def test_atomics_of_all_threads_on_one_word_lose_nothing(threads: Threads) -> None:
    def write(a: Assembler) -> None:
        one, old = a.registers(2)
        a.move(one, 1)
        for base in (ZERO, SPAD):
            a.atomic("aadd", old, base, one, 64)

    chip, _ = threads(write)
    assert dram_words(chip)[8] == 64
    assert chip.mem[int(chip.regs[0, SPAD]) // 8 + 8] == 64


def test_compare_and_swap_has_one_winner(threads: Threads) -> None:
    def write(a: Assembler) -> None:
        expected, mine, at, one = a.registers(4)
        a.move(expected, 0)
        a.add(mine, THREAD, 1)
        a.atomic("cas", expected, SPAD, mine, 0)
        with a.when("eq", expected, ZERO):
            a.move(one, 1)
            a.atomic("aadd", at, ZERO, one, 0)

    chip, _ = threads(write)
    assert dram_words(chip)[0] == 1


@pytest.mark.evidence("piuma", "T2")
@pytest.mark.parametrize("banks", [1, 16])
def test_a_bank_serves_one_access_per_cycle(threads: Threads, banks: int) -> None:
    def write(a: Assembler) -> None:
        (x,) = a.registers(1)
        a.emit("shli", x, THREAD, imm=3)
        a.add(x, x, SPAD)
        a.load(x, x, 0)

    chip, _ = threads(write, None, (f"spad.banks={banks}",))
    spans = (chip.servers[:banks]).max()
    # From cycle 32 on, each of 4 pipelines issues a load per cycle, thread t of each to bank t: the
    # one bank has 64 to serve; of 16 banks the last gets its four in the sixteenth cycle.
    first = 2 * 16
    assert spans == first + (64 if banks == 1 else 15 + 4)


def test_a_cache_keeps_what_it_read_until_it_is_flushed(threads: Threads) -> None:
    def read(a: Assembler) -> None:
        first, second, third = a.registers(3)
        a.load(first, ZERO, 0, is_cached=True)
        a.emit("bar", imm=ALL_THREADS)
        a.emit("bar", imm=ALL_THREADS)
        a.load(second, ZERO, 0, is_cached=True)
        a.emit("flush")
        a.load(third, ZERO, 0, is_cached=True)
        for i, register in enumerate((first, second, third)):
            a.store(register, ZERO, 64 + 8 * i)

    def change(a: Assembler) -> None:
        (x,) = a.registers(1)
        a.emit("bar", imm=ALL_THREADS)
        a.move(x, 7)
        a.store(x, ZERO, 0)
        a.emit("bar", imm=ALL_THREADS)

    memory = np.full(64, 5, np.int64)
    chip, _ = threads(read, change, ("mtp.pipelines=1", "mtp.threads=1"), memory)
    assert dram_words(chip)[8:11].tolist() == [5, 5, 7]


def test_a_cached_store_reaches_memory_by_a_flush(threads: Threads) -> None:
    def write(is_flushed: bool) -> Callable[[Assembler], None]:
        def emit(a: Assembler) -> None:
            (x,) = a.registers(1)
            a.move(x, 9)
            a.emit("stc8", rs1=ZERO, rs2=x, imm=8)
            if is_flushed:
                a.emit("flush")

        return emit

    settings = ("mtp.pipelines=1", "mtp.threads=1")
    for is_flushed in (False, True):
        chip, _ = threads(write(is_flushed), None, settings)
        assert dram_words(chip)[:3].tolist() == [0, 9 * is_flushed, 0]


def test_queues_hand_every_token_to_one_thread(threads: Threads) -> None:
    def consume(a: Assembler) -> None:
        token, at, old, one = a.registers(4)
        a.move(one, 1)
        with a.forever() as end:
            a.emit("qpop", token, ZERO)
            a.branch("lt", token, ZERO, end)
            a.emit("shli", at, token, imm=3)
            a.atomic("aadd", old, at, one)

    def produce(a: Assembler) -> None:
        token, count = a.registers(2)
        a.move(token, 0)
        a.move(count, 300)
        with a.count_up(token, count):
            a.emit("qpush", rs1=ZERO, rs2=token)
        a.move(token, 0)
        a.move(count, 64)
        with a.scratch(1) as (done,):
            a.move(done, -1)
            with a.count_up(token, count):
                a.emit("qpush", rs1=ZERO, rs2=done)

    for entries in (1, 7, 1024):
        chip, _ = threads(consume, produce, (f"queue.entries={entries}",))
        assert dram_words(chip)[:301].tolist() == [1] * 300 + [0]


def test_sums_over_a_barrier_reach_every_thread(threads: Threads) -> None:
    def write(a: Assembler) -> None:
        total, at, real = a.registers(3)
        a.emit("barsum", total, rs2=THREAD, imm=ALL_THREADS)
        a.emit("shli", at, THREAD, imm=3)
        a.store(total, at, 0)
        a.emit("float", real, THREAD)
        a.emit("fbarsum", real, rs2=real, imm=ALL_THREADS)
        a.store(real, at, 1024)

    chip, _ = threads(write)
    expected = sum(range(64))
    assert (dram_words(chip)[:64] == expected).all()
    assert (dram_words(chip).view(np.float64)[128:192] == expected).all()


@pytest.mark.parametrize("operation", ["copy", "fill", "strided", "gather", "scatter", "broadcast"])
def test_dma_moves_what_numpy_moves(threads: Threads, operation: str) -> None:
    memory = np.arange(1024, dtype=np.int64)
    index = np.array([5, 0, 9, 3, 7], np.int32)
    memory.view(np.int32)[1600:1605] = index
    expected = memory.copy()
    count, stride, extra = 5, 24, 6400
    if operation == "copy":
        count = 100  # bytes, from 12 to 4100: half words, lines cut at both ends
        expected.view(np.uint8)[4100:4200] = memory.view(np.uint8)[12:112]
    elif operation == "fill":
        count, expected[512:514] = 16, 12
    elif operation == "strided":
        expected[512:517] = memory[1:16:3]
    elif operation == "gather":
        expected[512:517] = memory[1 + index]
    elif operation == "scatter":
        expected[512 + index] = memory[1:6]
    else:
        count, extra = 8, 3
        expected[[512, 515, 518]] = memory[1]
    source = {"copy": 12, "fill": 12}.get(operation, 8)
    target = 4100 if operation == "copy" else 4096

    def write(a: Assembler) -> None:
        from hwsim.piuma.opcodes import DMA_OPERATIONS

        fields = a.consecutive(6)
        for register, value in zip(
            fields, (source, target, count, stride, extra, 8 * 1000), strict=True
        ):
            a.move(register, value)
        a.emit("dma", rs1=fields[0], imm=DMA_OPERATIONS.index(operation))

    chip, _ = threads(None, write, (), memory)
    expected[1000] += 1  # the flag
    assert (dram_words(chip) == expected).all()


def test_a_wrong_program_is_told_where_it_went_wrong(threads: Threads) -> None:
    def leave(a: Assembler) -> None:
        (x,) = a.registers(1)
        a.load(x, ZERO, 1 << 40)

    with pytest.raises(HwsimError, match="aligned address"):
        threads(leave)

    def wait(a: Assembler) -> None:
        done = Label()
        a.branch("ne", THREAD, ZERO, done)
        a.emit("bar", imm=ALL_THREADS)
        a.mark(done)

    with pytest.raises(HwsimError, match="can go on"):
        threads(wait)


def test_looking_at_every_pipeline_in_every_cycle_changes_nothing(threads: Threads) -> None:
    def work(a: Assembler) -> None:
        x, old, at, stop = a.registers(4)
        for i in range(20):
            a.emit("muli", x, THREAD, imm=40 + i)
            a.emit("andi", x, x, imm=0x7F8)
            a.move(at, 0)
            a.emit("andi", stop, THREAD, imm=31)
            with a.count_up(at, stop):  # up to 95 instructions between two accesses
                a.emit("xor", old, old, at)
            a.atomic("aadd", old, x, THREAD, 0)
            a.add(x, x, SPAD)
            a.atomic("aadd", old, x, THREAD, 0)

    fast, cycles = threads(work, adds(50))
    plain, slow = threads(work, adds(50), is_plain=True)
    assert cycles == slow
    for name in ("mem", "thread", "pipe", "block", "servers", "scalar", "regs", "ready"):
        assert (getattr(fast, name) == getattr(plain, name)).all(), name
