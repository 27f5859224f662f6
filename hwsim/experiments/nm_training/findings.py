"""Turn the record of a study into claims and figures."""

from __future__ import annotations

import numpy as np

from hwsim.core.result import Claim
from hwsim.experiments.nm_training.recipe import CONTROL, DENSE, GATED
from hwsim.experiments.nm_training.record import LOSS_BLOCK_STEPS, Record
from hwsim.report.accuracy_figures import accuracy_chart, loss_chart
from hwsim.report.canvas import Chart

__all__ = ["BOUND_POINTS", "accuracy_claims", "lost_points", "training_charts"]

BOUND_POINTS = 1.5
"""assumed: what BDWP 2:8 may lose here; the abstract's average loss is 0.56 % on large networks."""

_HERE = "dense training here"
_BOUND = "bound assumed; Fang et al. 2023, abstract, gives 0.56 % for large networks"
_CURVES = (DENSE, "sr-ste-2:8", "sdgp-2:8", "sdwp-2:8", GATED, CONTROL)


def lost_points(record: Record, network: str, case: str) -> np.ndarray:
    """Return float64[seeds], points that ``case`` loses to its reference, seed by seed."""
    dense, other = record.results[network, record.references[case]], record.results[network, case]
    return 100.0 * (dense.accuracy - other.accuracy)


def accuracy_claims(record: Record) -> list[Claim]:
    """Return the bound on BDWP's loss, the control, and every method's accuracy (not gated)."""
    compared = [case for case in record.references if case != CONTROL]
    return [
        _current(record),
        *(_bounded_loss(record, network) for network in record.networks),
        _control(record),
        *(_accuracy(record, network, case) for network in record.networks for case in compared),
    ]


def _spread(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1))


def _current(record: Record) -> Claim:
    return Claim(
        id="nm-training-record",
        what="accuracies were recorded on the present sources "
        "(python -m hwsim.experiments.nm_training trains anew)",
        simulated=int(record.is_current),
        reference=1,
        unit="records",
        tolerance=0.0,
        basis="derived",
        gated=True,
        source="hash of what decides the numbers",
    )


def _bounded_loss(record: Record, network: str) -> Claim:
    lost = lost_points(record, network, GATED)
    return Claim(
        id=f"nm-training-bdwp-2:8-{network}",
        what=(
            f"accuracy that BDWP 2:8 loses to dense training, {record.networks[network]}, mean of "
            f"{record.recipe.seeds} seeds, a gain counting 0 (points: {lost.mean():.2f}, "
            f"standard deviation {_spread(lost):.2f})"
        ),
        simulated=max(0.0, float(lost.mean())) / 100.0,
        reference=0.0,
        unit="of 1",
        tolerance=BOUND_POINTS / 100.0,
        basis="derived",
        gated=True,
        source=_BOUND,
    )


def _control(record: Record) -> Claim:
    """The same masks turned round must break the bound, or the bound shows nothing."""
    broken = [lost_points(record, net, CONTROL).mean() > BOUND_POINTS for net in record.networks]
    return Claim(
        id="nm-training-control",
        what=f"BDWP 2:8 that keeps the smallest weights loses more than {BOUND_POINTS} points",
        simulated=sum(broken),
        reference=len(record.networks),
        unit="networks",
        tolerance=0.0,
        basis="derived",
        gated=True,
        source="the same training with the masks turned round",
    )


def _accuracy(record: Record, network: str, case: str) -> Claim:
    dense = record.results[network, record.references[case]].accuracy
    found = record.results[network, case].accuracy
    return Claim(
        id=f"nm-training-{network}-{case}",
        what=(
            f"test accuracy of {record.cases[case]} against dense, {record.networks[network]}, "
            f"mean of {record.recipe.seeds} seeds (standard deviation "
            f"{100 * _spread(found):.2f}; dense {100 * _spread(dense):.2f})"
        ),
        simulated=100.0 * float(found.mean()),
        reference=100.0 * float(dense.mean()),
        unit="%",
        tolerance=BOUND_POINTS / (100.0 * float(dense.mean())),
        basis="derived",
        gated=False,
        source=_HERE,
    )


def training_charts(record: Record) -> list[Chart]:
    """Return accuracy per method with its spread, and the loss curves of each network."""
    recipe = record.recipe
    shown = {case: title for case, title in record.cases.items() if case != CONTROL}
    accuracy = {
        title: [100.0 * record.results[network, case].accuracy for case in shown]
        for network, title in record.networks.items()
    }
    control = " and ".join(
        f"{100.0 * record.results[network, CONTROL].accuracy.mean():.0f} %"
        for network in record.networks
    )
    libraries = ", ".join(f"{name} {number}" for name, number in record.versions.items())
    caption = (
        f"Mean and standard deviation of {recipe.seeds} seeds (dots: each), {recipe.steps} steps "
        f"of {recipe.batch} images, {recipe.train_images} noisy 8x8 digits to train on; the same "
        f"rate and steps for all unless named. Not shown: {record.cases[CONTROL]}, {control}. "
        f"{libraries}."
    )
    curves = [_loss_chart(record, network) for network in record.networks]
    titles = list(shown.values())
    return [accuracy_chart("nm-training-accuracy", caption, titles, accuracy), *curves]


def _loss_chart(record: Record, network: str) -> Chart:
    losses = {
        record.cases[case]: record.results[network, case].loss
        for case in _CURVES
        if case in record.cases
    }
    caption = (
        f"Cross entropy on training batches, mean of {record.recipe.seeds} seeds and of "
        f"{LOSS_BLOCK_STEPS} steps. A curve ends where a seed diverges."
    )
    title = f"Training loss of the {record.networks[network]}"
    slug = f"nm-training-loss-{network}"
    return loss_chart(slug, title, caption, losses, LOSS_BLOCK_STEPS)
