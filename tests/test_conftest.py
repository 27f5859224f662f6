"""Does the order of work keep workers out of each other's folders, and lose no test?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

TESTS = [
    "tests/core/test_a.py::test_1[x::y]",
    "tests/core/test_b.py::test_1",
    "tests/experiments/test_a.py::test_1@claims",
    "tests/experiments/test_b.py::test_1@claims",
    "tests/experiments/test_c.py::test_1",
    "tests/rtl/sat/test_a.py::test_1",
    "tests/rtl/sat/test_a.py::test_2",
    "tests/rtl/test_b.py::test_1",
]


class Worker:
    """Notes what it is told to run."""

    gateway = SimpleNamespace(id="worker")

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.sent += [TESTS[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def make_scheduler(pytestconfig):
    """Return the hook of the conftest beside this file."""
    here = str(Path(__file__).with_name("conftest.py"))
    return pytestconfig.pluginmanager.get_plugin(here).pytest_xdist_make_scheduler


def test_each_worker_finishes_a_folder_and_all_is_run_once(make_scheduler):
    options = {"tx": ["2*popen"], "dist": "loadgroup"}
    config = SimpleNamespace(getvalue=options.get, option=SimpleNamespace())
    scheduler = make_scheduler(config, None)
    workers = [Worker(), Worker()]
    for worker in workers:
        scheduler.add_node(worker)
    for worker in workers:
        scheduler.add_node_collection(worker, TESTS)
    scheduler.schedule()
    assert [worker.sent[0].split("/")[1] for worker in workers] == ["rtl", "experiments"]
    done = [0, 0]
    for _ in TESTS:  # the first worker is the faster one
        number = 0 if done[0] < len(workers[0].sent) else 1
        test = workers[number].sent[done[number]]
        done[number] += 1
        scheduler.mark_test_complete(workers[number], TESTS.index(test))
    first, second = (worker.sent for worker in workers)
    assert sorted(first + second) == TESTS
    assert first[:3] == [test for test in TESTS if "rtl" in test]
    assert second == [test for test in TESTS if "experiments" in test]
    assert scheduler.tests_finished
