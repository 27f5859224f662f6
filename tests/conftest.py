"""Fix what all tests share: reproducible property tests, the order of work, the record of checks.

``--record-evidence`` writes the outcome of every test marked ``evidence(machine, tier)`` into the
record that a machine's validation tier is computed from. ``machine`` is a machine's name or the
name of a test parameter that holds one.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

# The same examples every time, on every machine; `--hypothesis-profile explore` draws new ones.
# No deadline: the first example of a property compiles its kernels.
settings.register_profile("hwsim", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("hwsim")

_PROPERTY = "evidence"

LONGEST = ("rtl", "experiments")
"""Folders to begin with: they hold the files that take minutes, and share no kernel to compile."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-evidence",
        action="store_true",
        help="record the outcome of tests marked evidence(machine, tier)",
    )


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")
    if config.getoption("--record-evidence") and not is_worker:
        config.pluginmanager.register(EvidenceRecorder(), "hwsim-evidence")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Attach the marker to the test's report, which travels from workers to the controller."""
    for item in items:
        for marker in item.iter_markers("evidence"):
            machine, tier = marker.args
            parameters = getattr(getattr(item, "callspec", None), "params", {})
            entry = [str(parameters.get(machine, machine)), str(tier)]
            item.user_properties.append((_PROPERTY, entry))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let each worker finish a folder before it begins another one.

    Its kernels are then compiled, its units built and its module's fixtures set up by one worker
    instead of by all of them at the same time. For ``--dist loadgroup``.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class FolderScheduling(LoadGroupScheduling):
        """Units of work are files, or the groups that tests are marked with."""

        def __init__(self, config: pytest.Config, log: Any) -> None:
            super().__init__(config, log)
            self.folders: dict[Any, str] = {}

        def _split_scope(self, nodeid: str) -> str:
            return super()._split_scope(nodeid).partition("::")[0]

        def _assign_work_unit(self, node: Any) -> None:
            waiting = {unit: _folder(next(iter(tests))) for unit, tests in self.workqueue.items()}
            own = self.folders.get(node)
            taken = {folder for worker, folder in self.folders.items() if worker is not node}
            order = {folder: rank for rank, folder in enumerate(LONGEST)}

            def preference(unit: str) -> tuple[bool, bool, int]:
                folder = waiting[unit]
                return folder != own, folder in taken, order.get(folder, len(order))

            unit = min(waiting, key=preference)
            self.folders[node] = waiting[unit]
            self.workqueue.move_to_end(unit, last=False)
            super()._assign_work_unit(node)

    config.option.loadscopereorder = False
    return FolderScheduling(config, log)


def _folder(nodeid: str) -> str:
    """Return the folder below ``tests`` that a test lies in, if it lies in one."""
    return "".join(nodeid.partition("::")[0].split("/")[1:-1][:1])


class EvidenceRecorder:
    """Collect outcomes while tests run; write them in order of their names at the end."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[str, str, str], bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a finished test, or a failure to set it up; a skipped test says nothing."""
        if report.skipped or (report.when != "call" and report.passed):
            return
        for name, value in report.user_properties:
            if name == _PROPERTY:
                machine, tier = value
                key = (machine, tier, report.nodeid)
                self.outcomes[key] = self.outcomes.get(key, True) and report.passed

    def pytest_sessionfinish(self) -> None:
        """Write what was collected."""
        from hwsim.experiments.evidence import record

        for (machine, tier, check), is_passed in sorted(self.outcomes.items()):
            record(machine, tier, check, is_passed)
