"""Timing: warm-ups are not counted, medians are medians, failures name the command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from benchmarks.measure import (
    Samples,
    peak_rss_bytes,
    present_rss_bytes,
    run_child,
    sample,
    time_command,
)


def _clock(durations: list[float]) -> Callable[[], float]:
    """Return a clock by which the k-th timed interval lasts ``durations[k]``."""

    def ticks() -> Iterator[float]:
        now = 100.0
        for duration in durations:
            yield now
            now += duration
            yield now

    return ticks().__next__


def test_samples_are_the_clock_differences_around_each_call() -> None:
    found = sample(lambda: None, n=3, warmups=0, clock=_clock([2.0, 0.5, 1.0]))
    assert found.seconds == (2.0, 0.5, 1.0)


def test_warm_ups_run_but_are_not_timed() -> None:
    calls: list[int] = []
    found = sample(lambda: calls.append(1), n=2, warmups=3, clock=_clock([1.0, 1.0]))
    assert len(calls) == 5
    assert (len(found.seconds), found.warmups) == (2, 3)


@pytest.mark.parametrize(
    ("seconds", "median"),
    [((5.0, 1.0, 2.0), 2.0), ((4.0, 1.0, 2.0, 100.0), 3.0), ((7.0,), 7.0)],
)
def test_median_is_the_middle_or_the_mean_of_the_two_middle_samples(
    seconds: tuple[float, ...], median: float
) -> None:
    assert Samples(seconds, 0).median_s == median


def test_json_states_how_many_samples_a_median_rests_on() -> None:
    found = Samples((3.0, 1.0, 2.0), 1).to_json()
    assert found == {"median_s": 2.0, "seconds": [3.0, 1.0, 2.0], "warmups": 1, "n": 3}


def test_memory_held_is_counted_in_bytes() -> None:
    before = present_rss_bytes()
    held = bytearray(b"x" * (64 << 20))
    grown = present_rss_bytes() - before
    assert 48 << 20 < grown < 96 << 20
    assert peak_rss_bytes() >= before + (48 << 20)
    assert len(held) == 64 << 20


def test_a_failing_command_is_named_with_its_last_line() -> None:
    command = [sys.executable, "-c", "raise SystemExit('out of tea')"]
    with pytest.raises(RuntimeError, match="out of tea"):
        time_command(command, n=1, warmups=0)


def test_an_unknown_workload_fails_by_name() -> None:
    with pytest.raises(RuntimeError, match="no-such-workload"):
        run_child("no-such-workload", 1)
