"""Name the methods that are compared, train each of them on both networks, record it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import jax

from hwsim.experiments.nm_training.loop import train
from hwsim.experiments.nm_training.networks import NETWORKS
from hwsim.experiments.nm_training.products import Masking
from hwsim.experiments.nm_training.recipe import CONTROL, DENSE, GATED, Recipe, Training
from hwsim.experiments.nm_training.record import FILE, save_record
from models.training import TrainingMethod, TrainingSchedule, parse_schedule

__all__ = ["CASES", "Case", "record_study", "study"]

_LOG = logging.getLogger(__name__)

_REGULARISER = 2e-4
"""SR-STE's lambda (its authors' code, repository aojunzz/NM-sparsity)."""

Study = dict[tuple[str, str], Training]
"""{(network, case): outcome}."""


@dataclass(frozen=True)
class Case:
    """One way to train.

    Attributes
    ----------
    name, title : str
        Identifier in claims, and what figures call it.
    masking : Masking
        Its ``nm_m`` is overruled by the schedule.
    kind, pattern : str
        Of the schedule (:mod:`models.training.schedule`).
    regulariser : float
        SR-STE's lambda.
    shorter : int
        Divides the recipe's steps.
    reference : str
        Case that the accuracy is compared with.
    """

    name: str
    title: str
    masking: Masking
    kind: str = "constant"
    pattern: str = "2:8"
    regulariser: float = 0.0
    shorter: int = 1
    reference: str = DENSE

    def schedule(self, steps: int) -> TrainingSchedule:
        """Return the schedule over ``steps``: decays dense at first, N:M for the last two fifths.

        assumed: a tenth of the steps dense; mask decay so fast that beta gets to 0 (linear) or
        exp(-5) (exponential) when the decay ends.
        """
        if self.kind == "dense":
            return parse_schedule(f"dense:steps={steps}")
        if self.kind == "constant":
            return parse_schedule(f"constant:{self.pattern}", steps)
        dense, fine = steps // 10, 2 * steps // 5
        text = f"{self.kind}:{self.pattern}:dense={dense},fine={fine}"
        if self.kind.startswith("mdgf"):
            speed = 5.0 if self.kind == "mdgf-exp" else 1.0
            text += f",c={speed / (steps - dense - fine)!r}"
        return parse_schedule(text, steps)


def _short(case: str, title: str, method: TrainingMethod, kind: str = "constant") -> Case:
    """Return ``case`` with a third of the steps, too few for dense training to end."""
    name, reference = f"{case}-short", f"{DENSE}-short"
    return Case(name, title, Masking(method), kind, shorter=3, reference=reference)


def _decay(kind: str, title: str) -> Case:
    """Return a decay to 1:8: weights masked in FF, the same in BP, without regulariser."""
    return Case(f"{kind}-1:8", f"{title} 1:8", Masking(TrainingMethod.SR_STE), kind, "1:8")


CASES = (
    Case(DENSE, "dense", Masking(TrainingMethod.DENSE), "dense", ""),
    Case("sr-ste-2:8", "SR-STE 2:8", Masking(TrainingMethod.SR_STE), regulariser=_REGULARISER),
    Case("sdgp-2:8", "SDGP 2:8", Masking(TrainingMethod.SDGP)),
    Case("sdwp-2:8", "SDWP 2:8", Masking(TrainingMethod.SDWP)),
    Case(GATED, "BDWP 2:8", Masking(TrainingMethod.BDWP)),
    Case(
        "sr-ste-1:8",
        "SR-STE 1:8",
        Masking(TrainingMethod.SR_STE),
        pattern="1:8",
        regulariser=_REGULARISER,
    ),
    _decay("mdgf-linear", "MDGF linear"),
    _decay("mdgf-exp", "MDGF exponential"),
    _decay("sdgf-step", "SDGF stepwise"),
    _decay("sdgf-geo", "SDGF geometric"),
    _short(DENSE, "dense, a third of the steps", TrainingMethod.DENSE, "dense"),
    _short(GATED, "BDWP 2:8, a third of the steps", TrainingMethod.BDWP),
    Case(CONTROL, "BDWP 2:8, smallest kept", Masking(TrainingMethod.BDWP, keeps_smallest=True)),
)
"""All methods at 2:8, decays to 1:8, BDWP in less time, and a control that must lose."""


def study(recipe: Recipe, cases: Sequence[Case] = CASES) -> Study:
    """Return what every case reaches on every network; the networks train side by side."""

    def train_network(name: str) -> Study:
        found: Study = {}
        with jax.default_device(jax.devices("cpu")[0]):
            for case in cases:
                shared = replace(recipe, steps=recipe.steps // case.shorter)
                schedule = case.schedule(shared.steps)
                found[name, case.name] = train(
                    NETWORKS[name], case.masking, schedule, shared, case.regulariser
                )
                mean = found[name, case.name].accuracy.mean()
                _LOG.info("%s, %s: %.2f %%", NETWORKS[name].title, case.title, 100 * mean)
        return found

    with ThreadPoolExecutor(len(NETWORKS)) as pool:
        parts = list(pool.map(train_network, NETWORKS))
    return {key: outcome for part in parts for key, outcome in part.items()}


def record_study(
    file: Path = FILE, recipe: Recipe | None = None, cases: Sequence[Case] = CASES
) -> None:
    """Train and write the record that claims and figures are made from."""
    recipe = recipe or Recipe()
    save_record(
        file,
        {"jax": version("jax"), "scikit-learn": version("scikit-learn")},
        recipe,
        {network.name: network.title for network in NETWORKS.values()},
        {case.name: case.title for case in cases},
        {case.name: case.reference for case in cases if case.reference != case.name},
        study(recipe, cases),
    )
