"""Fix what all tests share: reproducible property tests and the record of passed checks.

``--record-evidence`` writes the outcome of every test marked ``evidence(machine, tier)`` into the
record that a machine's validation tier is computed from. ``machine`` is a machine's name or the
name of a test parameter that holds one.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

# The same examples every time, on every machine; `--hypothesis-profile explore` draws new ones.
# No deadline: the first example of a property compiles its kernels.
settings.register_profile("hwsim", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("hwsim")

_PROPERTY = "evidence"


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
