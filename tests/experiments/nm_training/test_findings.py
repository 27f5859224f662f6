"""Claims about accuracy: from the record alone, refused when stale, broken when numbers break."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.experiments import nm_training
from hwsim.experiments.nm_training import __main__, record
from hwsim.experiments.nm_training.findings import (
    BOUND_POINTS,
    accuracy_claims,
    lost_points,
    training_charts,
)
from hwsim.experiments.nm_training.loop import plan_steps, train_seed
from hwsim.experiments.nm_training.networks import NETWORKS
from hwsim.experiments.nm_training.recipe import CONTROL, DENSE, GATED, Recipe, Training
from hwsim.experiments.nm_training.record import (
    LOSS_BLOCK_STEPS,
    load_record,
    save_record,
    source_hash,
)
from hwsim.experiments.nm_training.study import CASES

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def recorded():
    return load_record()


def with_accuracy(found, network, case, accuracy):
    """Return the record with other accuracies in one place."""
    results = dict(found.results)
    results[network, case] = Training(np.array(accuracy), found.results[network, case].loss)
    return replace(found, results=results)


def failed(found):
    return {c.id for c in accuracy_claims(found) if c.gated and not c.passed}


def test_the_record_is_of_the_present_sources(recorded):
    assert recorded.is_current


def test_the_record_has_every_case_on_both_networks_with_at_least_five_seeds(recorded):
    assert recorded.recipe == Recipe()
    assert recorded.recipe.seeds >= 5
    assert {case.name for case in CASES} == set(recorded.cases)
    assert set(recorded.results) == {(n, c) for n in recorded.networks for c in recorded.cases}
    for (_, name), found in recorded.results.items():
        steps = recorded.recipe.steps // next(c.shorter for c in CASES if c.name == name)
        assert found.accuracy.shape == (recorded.recipe.seeds,)
        assert found.loss.shape == (steps // LOSS_BLOCK_STEPS,)


def test_training_again_gives_what_is_recorded(recorded):
    """One seed of the shortest sparse run; other processors round sums differently."""
    case = next(case for case in CASES if case.name == f"{GATED}-short")
    recipe = replace(recorded.recipe, steps=recorded.recipe.steps // case.shorter)
    plan = plan_steps(case.masking, case.schedule(recipe.steps), case.regulariser)
    accuracy, loss = train_seed(NETWORKS["cnn"], plan, recipe, seed=0)
    assert abs(accuracy - recorded.results["cnn", case.name].accuracy[0]) < 0.03
    recorded_loss = recorded.results["cnn", case.name].loss  # mean of all seeds
    np.testing.assert_allclose(loss[:5].mean(), recorded_loss[0], rtol=0.05)


def test_every_gated_claim_holds(recorded):
    assert failed(recorded) == set()


def test_lost_points_are_paired_seed_by_seed(recorded):
    network = next(iter(recorded.networks))
    dense = recorded.results[network, DENSE].accuracy
    worse = with_accuracy(recorded, network, GATED, dense - 0.02)
    np.testing.assert_allclose(lost_points(worse, network, GATED), 2.0)


@pytest.mark.parametrize(("lost", "holds"), [(-0.01, True), (0.0149, True), (0.0151, False)])
def test_a_mean_loss_above_the_bound_fails(recorded, lost, holds):
    for network in recorded.networks:
        dense = recorded.results[network, DENSE].accuracy
        worse = with_accuracy(recorded, network, GATED, dense - lost)
        assert (f"nm-training-bdwp-2:8-{network}" not in failed(worse)) is holds


def test_a_control_that_does_not_lose_fails(recorded):
    network = next(iter(recorded.networks))
    dense = recorded.results[network, DENSE].accuracy
    assert failed(with_accuracy(recorded, network, CONTROL, dense)) == {"nm-training-control"}


def test_a_stale_record_fails(recorded):
    assert failed(replace(recorded, sources="0" * 16)) == {"nm-training-record"}


def test_the_hash_changes_with_every_file_that_decides(tmp_path):
    for name in record._DECIDING:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    seen = {source_hash(tmp_path)}
    for name in record._DECIDING:
        (tmp_path / name).write_text("x = 2\n")
        seen.add(source_hash(tmp_path))
    assert len(seen) == 1 + len(record._DECIDING)


def test_every_module_that_trains_is_hashed():
    folder = Path(nm_training.__file__).parent
    training = {p for p in folder.glob("*.py") if "jax" in p.read_text().split('"""', 2)[2]}
    hashed = {ROOT / name for name in record._DECIDING}
    assert training - {folder / "__init__.py"} <= hashed


def test_claims_and_figures_need_no_training_library():
    code = (
        "import sys; sys.modules['jax'] = sys.modules['sklearn'] = None\n"
        "from hwsim.experiments import nm_training\n"
        "print(len(nm_training.claims()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert int(done.stdout) > 10


def test_figures_are_drawn_of_accuracy_and_of_both_losses(recorded):
    charts = training_charts(recorded)
    assert [c.slug for c in charts] == [
        "nm-training-accuracy",
        *(f"nm-training-loss-{network}" for network in recorded.networks),
    ]
    assert all(png.startswith(b"\x89PNG") for c in charts for png in c.png.values())


def test_only_bound_control_and_record_are_gated(recorded):
    gated = {c.id for c in accuracy_claims(recorded) if c.gated}
    bounds = {f"nm-training-bdwp-2:8-{network}" for network in recorded.networks}
    assert gated == bounds | {"nm-training-control", "nm-training-record"}
    assert BOUND_POINTS == 1.5


def test_a_record_comes_back_as_it_was_written(tmp_path):
    file = tmp_path / "r.json"
    losses = np.array([*np.arange(10.0), *[np.nan] * 5, 0.0])  # a seed diverges, a block is cut
    found = {("a", "dense"): Training(np.array([0.5, 0.75]), losses)}
    recipe = Recipe(seeds=2, steps=12)
    save_record(file, {"jax": "1"}, recipe, {"a": "A"}, {"dense": "dense"}, {}, found)
    again = load_record(file)
    assert (again.recipe, again.networks, again.is_current) == (recipe, {"a": "A"}, True)
    np.testing.assert_array_equal(again.results["a", "dense"].accuracy, [0.5, 0.75])
    np.testing.assert_array_equal(again.results["a", "dense"].loss, [2.0, 7.0, np.nan])
    assert "NaN" not in file.read_text()
    assert json.loads(file.read_text())["versions"] == {"jax": "1"}


def test_without_the_extra_there_is_one_line_and_status_2(monkeypatch, capsys):
    monkeypatch.setattr(nm_training, "_LIBRARIES", ("jax", "no_such_library"))
    with pytest.raises(InputError, match="no_such_library"):
        nm_training.require_extra()
    assert __main__.main() == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "error: nm-training: need the extra 'train' (pip install 'hwsim[train]'), "
        "found no no_such_library\n"
    )
