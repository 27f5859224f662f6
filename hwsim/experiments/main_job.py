"""Name the runs of ``make sim``: a real trained network and two standard ones, pruned 2:8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hwsim.experiments.pipeline import RunRequest

__all__ = ["MAIN_MODELS", "main_requests"]

MAIN_MODELS = ("ppocrv4-det", "resnet18", "resnet50")


def main_requests(models: Sequence[str] | None, common: RunRequest) -> list[RunRequest]:
    """Return ``common`` for each model, verified and with a dense baseline."""
    return [
        replace(common, model=model, has_baseline=True, is_verified=True)
        for model in models or MAIN_MODELS
    ]
