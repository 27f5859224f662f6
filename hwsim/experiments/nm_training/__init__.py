"""Train small networks by dense, SR-STE, SDGP, SDWP, BDWP and decaying masks, and compare them.

Evidence about the methods, not about the paper: two networks on 8x8 digits cannot confirm
accuracies of ResNets on ImageNet, which are not at hand either (docs/sat_validation.md). Claims and
figures come from a record (:mod:`hwsim.experiments.nm_training.record`); making it anew needs the
extra ``train``, whose libraries nothing outside this package imports.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from hwsim.core.errors import InputError
from hwsim.core.result import Claim

if TYPE_CHECKING:
    from hwsim.report.canvas import Chart

__all__ = ["charts", "claims", "require_extra", "unchecked"]

_LIBRARIES = ("jax", "sklearn")


def claims() -> list[Claim]:
    """Return accuracies against dense training, as recorded."""
    from hwsim.experiments.nm_training.findings import accuracy_claims
    from hwsim.experiments.nm_training.record import load_record

    return accuracy_claims(load_record())


def charts() -> list[Chart]:
    """Return the figures of accuracy and loss, as recorded."""
    from hwsim.experiments.nm_training.findings import training_charts
    from hwsim.experiments.nm_training.record import load_record

    return training_charts(load_record())


def unchecked() -> list[str]:
    """Return what the paper publishes about accuracy that this cannot check."""
    return [
        "BDWP's average accuracy loss of 0.56 % at 2:8 (Fang et al. 2023, abstract): its data "
        "sets and networks are far larger than this experiment's; only a loss of at most 1.5 "
        "points on two small networks is claimed"
    ]


def require_extra() -> None:
    """Raise :class:`InputError` unless the libraries that train are installed."""
    absent = [name for name in _LIBRARIES if find_spec(name) is None]
    if absent:
        need = "the extra 'train' (pip install 'hwsim[train]')"
        raise InputError("nm-training", need, f"no {' and no '.join(absent)}")
