"""Tiers: computed from records of these very sources, each tier on top of all lower ones."""

from __future__ import annotations

import json

import pytest

from hwsim.experiments import evidence
from hwsim.experiments.machine_sources import machine_sources
from hwsim.report.counters import TIER_MEANINGS

TIERS = list(TIER_MEANINGS)


UNITS = ("topn_sorter", "uspe", "systolic_tile")
"""Units of SAT whose RTL T3 rests on."""


def record_tier(tier, units=UNITS):
    """Record a passing check, for T3 one per unit compared with its RTL."""
    if tier != "T3":
        evidence.record("sat", tier, f"check of {tier}", True)
        return
    for unit in units:
        evidence.record("sat", tier, f"tests/rtl/sat/test_{unit}.py::test_equal", True)


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Point the record file at an empty folder."""
    path = tmp_path / "evidence.json"
    monkeypatch.setattr(evidence, "_FILE", path)
    return path


def test_without_records_there_is_no_tier(file):
    assert evidence.tier_of("sat") == "none"
    assert "no checks recorded" in evidence.tier_evidence("sat").reason


@pytest.mark.parametrize("count", range(1, len(TIERS) + 1))
def test_each_passing_tier_lifts_the_machine_by_one(file, count):
    for tier in TIERS[:count]:
        record_tier(tier)
    found = evidence.tier_evidence("sat")
    assert found.tier == TIERS[count - 1]
    if count == len(TIERS):
        assert found.reason == "all tiers checked on these sources"
    else:
        assert TIERS[count] in found.reason


@pytest.mark.parametrize("present", [(), UNITS[:1], UNITS[:2], UNITS[1:], UNITS[::2]])
def test_t3_is_refused_until_every_unit_was_compared_with_its_rtl(file, present):
    for tier in TIERS:
        record_tier(tier, present)
    evidence.record("sat", "T3", "tests/rtl/sat/test_other_unit.py::test_equal", True)
    found = evidence.tier_evidence("sat")
    missing = [unit for unit in UNITS if unit not in present]
    assert found == evidence.Evidence("T2", f"T3 needs RTL of {', '.join(missing)}")
    # The missing ones alone lift it, to the top: T4's check has been there all along.
    record_tier("T3", missing)
    assert evidence.tier_of("sat") == "T4"


def test_a_unit_compared_under_another_tier_does_not_count_for_t3(file):
    for tier in TIERS:
        record_tier(tier, UNITS[:2])
    evidence.record("sat", "T2", "tests/rtl/sat/test_systolic_tile.py::test_equal", True)
    assert evidence.tier_evidence("sat").reason == "T3 needs RTL of systolic_tile"


def test_a_unit_whose_comparison_fails_is_named_as_failing(file):
    for tier in TIERS:
        record_tier(tier)
    evidence.record("sat", "T3", "tests/rtl/sat/test_uspe.py::test_timing", False)
    found = evidence.tier_evidence("sat")
    assert found.tier == "T2"
    assert found.reason.startswith("T3 fails: tests/rtl/sat/test_uspe.py")


def test_a_missing_lower_tier_stops_the_climb(file):
    evidence.record("sat", "T0", "values", True)
    evidence.record("sat", "T2", "timings", True)
    assert evidence.tier_of("sat") == "T0"


def test_a_failing_check_is_named_and_ends_the_climb(file):
    for tier in TIERS:
        record_tier(tier)
    evidence.record("sat", "T2", "bad timing", False)
    found = evidence.tier_evidence("sat")
    assert found.tier == "T1"
    assert found.reason == "T2 fails: bad timing"


def test_a_check_that_passes_again_replaces_its_failure(file):
    evidence.record("sat", "T0", "values", False)
    assert evidence.tier_of("sat") == "none"
    evidence.record("sat", "T0", "values", True)
    assert evidence.tier_of("sat") == "T0"


def test_records_of_other_sources_count_for_nothing(file):
    evidence.record("sat", "T0", "values", True)
    data = json.loads(file.read_text())
    data["sat"]["sources"] = "0" * 16
    file.write_text(json.dumps(data))
    found = evidence.tier_evidence("sat")
    assert found.tier == "none"
    assert "sources changed" in found.reason


def test_recording_on_changed_sources_drops_the_old_records(file):
    evidence.record("sat", "T1", "old", True)
    data = json.loads(file.read_text())
    data["sat"]["sources"] = "0" * 16
    file.write_text(json.dumps(data))
    evidence.record("sat", "T0", "new", True)
    checks = json.loads(file.read_text())["sat"]["checks"]
    assert checks == {"T0": {"new": True}}


def lay_out_machine(root):
    """Write a machine of two files and an unrelated component below ``root``."""
    texts = {
        "hwsim/sat/a.py": "import hwsim.core.noun\n",
        "hwsim/core/noun.py": "x = 1\n",
        "hwsim/components/unrelated.py": "x = 1\n",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def tree(file, tmp_path, monkeypatch):
    """Give the machine sources that a test may edit."""
    root = tmp_path / "tree"
    lay_out_machine(root)
    monkeypatch.setattr(evidence, "_ROOT", root)
    monkeypatch.setattr(evidence, "_sources", lambda machine: machine_sources(machine, root))
    evidence.record("sat", "T0", "values", True)
    assert evidence.tier_of("sat") == "T0"
    return root


@pytest.mark.parametrize("name", ["hwsim/sat/a.py", "hwsim/core/noun.py"])
def test_an_edit_in_what_the_machine_imports_makes_the_record_stale(tree, name):
    (tree / name).write_text("x = 2\n")
    assert "sources changed" in evidence.tier_evidence("sat").reason


def test_a_file_taken_away_makes_the_record_stale(tree):
    (tree / "hwsim/core/noun.py").unlink()
    assert "sources changed" in evidence.tier_evidence("sat").reason


def test_an_edit_in_a_component_it_does_not_use_leaves_the_record_valid(tree):
    (tree / "hwsim/components/unrelated.py").write_text("x = 2\n")
    (tree / "hwsim/components/another.py").write_text("x = 1\n")
    assert evidence.tier_of("sat") == "T0"


def test_a_machine_that_nobody_checked_has_no_tier(file):
    assert evidence.tier_of("not-yet-there") == "none"


def test_a_record_for_a_machine_without_sources_is_refused(file):
    with pytest.raises(ValueError, match="machine_name"):
        evidence.record("machine_name", "T0", "a misspelt marker", True)


def test_a_machine_without_rtl_stays_below_t3(file, monkeypatch):
    monkeypatch.setattr(evidence, "_CO_SIMULATED", {})
    for tier in TIERS:
        record_tier(tier)
    assert evidence.tier_evidence("sat") == evidence.Evidence(
        "T2", "T3 needs RTL of its units, of which it has none"
    )


def test_a_machine_of_cores_that_exist_says_that_t3_cannot_be_had(file):
    for tier in ("T0", "T1", "T2"):
        evidence.record("cpu", tier, f"tests/cpu/test_it.py::{tier}", True)
    found = evidence.tier_evidence("cpu")
    assert found.tier == "T2"
    assert found.reason.startswith("T3 compares RTL: it stands for cores whose RTL is not public")


def test_another_machines_unit_of_the_same_name_does_not_count(file):
    for tier in TIERS:
        record_tier(tier, UNITS[:2])
    evidence.record("sat", "T3", "tests/rtl/other/test_systolic_tile.py::test_equal", True)
    assert evidence.tier_evidence("sat").reason == "T3 needs RTL of systolic_tile"
