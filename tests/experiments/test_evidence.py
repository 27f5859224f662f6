"""Tiers: computed from records of these very sources, each tier on top of all lower ones."""

from __future__ import annotations

import json

import pytest

from hwsim.experiments import evidence
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


def test_the_hash_changes_with_any_source_the_machine_uses(tmp_path, monkeypatch):
    for folder in evidence._SOURCES["sat"]:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(evidence, "_ROOT", tmp_path)
    seen = set()
    for folder in (None, *evidence._SOURCES["sat"]):
        if folder is not None:
            (tmp_path / folder / "a.py").write_text("x = 2\n")
        evidence.source_hash.cache_clear()
        seen.add(evidence.source_hash("sat"))
    evidence.source_hash.cache_clear()
    assert len(seen) == 1 + len(evidence._SOURCES["sat"])
