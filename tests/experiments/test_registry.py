"""Claims: every one passes, is gated or not on purpose, and says what it rests on."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from hwsim.core.result import Claim
from hwsim.experiments import piuma_smash, registry, scalesim_counts
from hwsim.experiments.registry import (
    EXPERIMENTS,
    experiment_charts,
    run_experiments,
    unchecked_figures,
)
from hwsim.experiments.runs import write_report
from hwsim.report.schema import BASES

pytestmark = pytest.mark.xdist_group("claims")  # one worker simulates the iterations, once

MACHINE_CLAIMS = {"flightllm", "sat"}
"""Experiments that reproduce what was published about the machine of the same name."""


class _Claims(dict[str, list[Claim]]):
    """The claims of each experiment, made when first asked for, and once.

    A machine's evidence then says nothing about the experiments of others.
    """

    def __missing__(self, name: str) -> list[Claim]:
        self[name] = run_experiments([name])
        return self[name]


@pytest.fixture(scope="module")
def claims() -> dict[str, list[Claim]]:
    return _Claims()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.evidence(name, "T4") if name in MACHINE_CLAIMS else ())
        for name in sorted(EXPERIMENTS)
    ],
)
def test_every_gated_claim_holds_within_its_tolerance(claims, name):
    gated = [claim for claim in claims[name] if claim.gated]
    assert gated
    assert [claim.id for claim in gated if not claim.passed] == []


def test_what_a_tier_rests_on_was_published_about_the_machine(claims):
    for name in MACHINE_CLAIMS:
        published = [claim for claim in claims[name] if claim.basis == "published"]
        assert any(claim.gated for claim in published), name


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_every_claim_has_a_basis_a_source_and_a_unit(claims, name):
    for claim in claims[name]:
        assert claim.basis in BASES, claim.id
        assert claim.source, claim.id
        assert claim.unit, claim.id
        assert claim.tolerance >= 0, claim.id


def test_a_report_holds_every_claim_and_figure(claims, tmp_path, monkeypatch):
    monkeypatch.setattr(piuma_smash, "_FIGURE_PIECES", 1)  # drawn of a quarter of the rows
    found = [claim for name in EXPERIMENTS for claim in claims[name]]
    charts = experiment_charts(list(EXPERIMENTS))
    write_report([], tmp_path / "r", found, charts=charts, unchecked=[])
    page = (tmp_path / "r" / "index.html").read_text()
    figures = " ".join(path.name for path in (tmp_path / "r" / "figures").iterdir())
    assert len({chart.slug for chart in charts}) == len(charts) > 0
    assert [chart.slug for chart in charts if chart.slug not in figures] == []
    assert [claim.id for claim in found if claim.id not in page] == []


def test_claims_have_names_of_their_own(claims):
    ids = [claim.id for name in EXPERIMENTS for claim in claims[name]]
    assert len(set(ids)) == len(ids)


def test_experiments_run_in_the_order_asked(claims):
    names = ["scalesim", "models"]
    found = run_experiments(names)
    assert [c.id for c in found] == [c.id for name in names for c in claims[name]]


def test_a_count_that_is_off_by_one_cycle_fails(monkeypatch):
    counts = {(128, 64, 256): {"ws": 3551 + 1}}
    monkeypatch.setattr(scalesim_counts, "_GEMMS", counts)
    failed = [c.id for c in scalesim_counts.claims() if not c.passed]
    assert failed == ["scalesim-128x64x256-ws"]


@pytest.mark.parametrize(
    ("simulated", "passed"), [(99.0, True), (101.0, True), (98.9, False), (101.1, False)]
)
def test_a_claim_passes_up_to_and_including_its_tolerance(simulated, passed):
    claim = Claim("a", "b", simulated, 100.0, "x", 0.01, "derived", True, "here")
    assert claim.passed is passed


@pytest.fixture
def two_experiments(monkeypatch):
    """Register two experiments of which one draws a figure and names what it cannot check."""
    drawn = SimpleNamespace(charts=lambda: ["chart"], unchecked=lambda: ["power"])
    for name, module in {"drawn": drawn, "plain": SimpleNamespace()}.items():
        monkeypatch.setitem(sys.modules, f"{name}_experiment", module)
    known = {"drawn": "drawn_experiment", "plain": "plain_experiment"}
    monkeypatch.setattr(registry, "EXPERIMENTS", known)


@pytest.mark.usefixtures("two_experiments")
def test_figures_and_unchecked_numbers_come_from_the_experiments_that_have_any():
    assert experiment_charts(["plain", "drawn"]) == ["chart"]
    assert unchecked_figures(["plain", "drawn"]) == ["power"]
    assert experiment_charts(["plain"]) == unchecked_figures(["plain"]) == []
