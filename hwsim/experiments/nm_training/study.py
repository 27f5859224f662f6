"""Name the methods that are compared and train each of them on both networks, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import jax

from hwsim.experiments.nm_training.loop import Recipe, Training, train
from hwsim.experiments.nm_training.networks import NETWORKS
from hwsim.experiments.nm_training.products import Masking
from models.training import TrainingMethod, TrainingSchedule, parse_schedule

__all__ = ["CASES", "CONTROL", "DENSE", "GATED", "Case", "study"]

DENSE, GATED, CONTROL = "dense", "bdwp-2:8", "control-2:8"
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
    """

    name: str
    title: str
    masking: Masking
    kind: str = "constant"
    pattern: str = "2:8"
    regulariser: float = 0.0

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
        "bdwp-2:8-regularised",
        "BDWP 2:8, regularised",
        Masking(TrainingMethod.BDWP),
        regulariser=_REGULARISER,
    ),
    Case("bdwp-2:4", "BDWP 2:4", Masking(TrainingMethod.BDWP), pattern="2:4"),
    Case("bdwp-1:8", "BDWP 1:8", Masking(TrainingMethod.BDWP), pattern="1:8"),
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
    Case(CONTROL, "BDWP 2:8, smallest kept", Masking(TrainingMethod.BDWP, keeps_smallest=True)),
)
"""All methods at 2:8, BDWP at two more patterns, decays to 1:8, and a control that must lose."""


@cache
def study(recipe: Recipe | None = None) -> Study:
    """Return what every case reaches on every network; the networks train side by side."""
    recipe = recipe or Recipe()

    def train_network(name: str) -> Study:
        with jax.default_device(jax.devices("cpu")[0]):
            return {
                (name, case.name): train(
                    NETWORKS[name],
                    case.masking,
                    case.schedule(recipe.steps),
                    recipe,
                    case.regulariser,
                )
                for case in CASES
            }

    with ThreadPoolExecutor(len(NETWORKS)) as pool:
        found: Study = {}
        for part in pool.map(train_network, NETWORKS):
            found |= part
    return found
