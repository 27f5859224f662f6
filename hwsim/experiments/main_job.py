"""Name the runs of ``make sim``: a real trained network and two standard ones, pruned 2:8."""

from __future__ import annotations

from collections.abc import Sequence

from hwsim.experiments.pipeline import RunRequest

__all__ = ["MAIN_MODELS", "main_requests"]

MAIN_MODELS = ("ppocrv4-det", "resnet18", "resnet50")


def main_requests(
    models: Sequence[str] | None, *, machine: str, sparsity: str, seed: int
) -> list[RunRequest]:
    """Return one verified request per model, with a dense baseline."""
    return [
        RunRequest(model=model, machine=machine, sparsity=sparsity, seed=seed, is_verified=True)
        for model in models or MAIN_MODELS
    ]
