"""Train small networks by dense, SR-STE, SDGP, SDWP, BDWP and decaying masks, and compare them.

Evidence about the methods, not about the paper: two networks on 8x8 digits cannot confirm
accuracies of ResNets on ImageNet, which are not at hand either (docs/training.md). Needs the
extra ``train``; nothing outside this package imports its libraries.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from hwsim.core.errors import InputError
from hwsim.core.result import Claim

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart

__all__ = ["charts", "claims", "missing", "unchecked"]

_LIBRARIES = ("jax", "sklearn")


def missing() -> str | None:
    """Return what has to be installed first, or None."""
    absent = [name for name in _LIBRARIES if find_spec(name) is None]
    return f"the extra 'train' (no {' and no '.join(absent)})" if absent else None


def claims() -> list[Claim]:
    """Return accuracies against dense training; raise :class:`InputError` without the extra."""
    _require_extra()
    from hwsim.experiments.nm_training.findings import accuracy_claims

    return accuracy_claims()


def charts() -> list[Chart]:
    """Return the figures of accuracy and loss."""
    _require_extra()
    from hwsim.experiments.nm_training.findings import training_charts

    return training_charts()


def unchecked() -> list[str]:
    """Return what the paper publishes about accuracy that this cannot check."""
    return [
        "BDWP's average accuracy loss of 0.56 % at 2:8 (Fang et al. 2023, abstract): its data "
        "sets and networks are far larger than this experiment's; only a loss of at most 1.5 "
        "points on two small networks is claimed"
    ]


def _require_extra() -> None:
    if missing() is not None:
        absent = [name for name in _LIBRARIES if find_spec(name) is None]
        need = "the extra 'train' (pip install 'hwsim[train]')"
        raise InputError("nm-training", need, f"no {' and no '.join(absent)}")
