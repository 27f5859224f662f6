"""Let N:M and the decay of masked weights change over the steps of a training run.

Syntax of a schedule (steps are optimiser steps; ``dense=D`` adds D dense steps in front,
``fine=F`` F steps with the final binary mask behind):

=================================  ==============================================================
text                               meaning
=================================  ==============================================================
``dense:steps=S``                  no mask
``constant:N:M:steps=S``           the same mask throughout (SR-STE, BDWP)
``sdgf-step:N:M:steps=S``          M-1:M, M/2:M, M/4:M … N:M in equal frames
``sdgf-geo:N:M:steps=S``           8N:8M, 4N:4M, 2N:2M, N:M in four equal frames
``mdgf-linear:N:M:steps=S,c=C``    weights times mask + (1 - mask) beta, beta = max(0, 1 - C t)
``mdgf-exp:N:M:steps=S,c=C``       the same with beta = exp(-C t)
=================================  ==============================================================

The decays and frames are those of progressive gradient flow (Bambhaniya et al. 2024, arXiv
2402.04744, and its authors' code). While beta > 0 every product is needed, so a frame with
``is_dense`` costs dense time; an exponential decay becomes binary only in its ``fine`` steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hwsim.core.errors import InputError, unknown_name
from hwsim.core.sparsity import NM

__all__ = ["Frame", "TrainingSchedule", "parse_schedule"]

KINDS = ("dense", "constant", "sdgf-step", "sdgf-geo", "mdgf-linear", "mdgf-exp")
_FIELDS = ("steps", "dense", "fine", "c")


@dataclass(frozen=True)
class Frame:
    """Consecutive optimiser steps of equal cost.

    Attributes
    ----------
    steps : int
        How many.
    nm : NM or None
        The mask; None: dense weights.
    beta : float
        What masked weights are multiplied by at the first step of the frame; 0: binary mask.
    """

    steps: int
    nm: NM | None
    beta: float = 0.0

    @property
    def is_dense(self) -> bool:
        """Return whether no product can be skipped."""
        return self.nm is None or self.nm.is_dense or self.beta > 0.0


@dataclass(frozen=True)
class TrainingSchedule:
    """Three phases: ``dense_steps`` without mask, ``steps`` of ``kind``, ``fine_steps`` of N:M.

    Attributes
    ----------
    kind : str
        One of the names in the table above.
    nm : NM or None
        The final pattern; None for ``dense`` only.
    steps, dense_steps, fine_steps : int
        Optimiser steps.
    decay : float
        C of the mask decay, per step.
    """

    kind: str
    nm: NM | None
    steps: int
    dense_steps: int = 0
    fine_steps: int = 0
    decay: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("schedule", self.kind, KINDS)
        for name, value, least in (
            ("steps", self.steps, 1),
            ("dense", self.dense_steps, 0),
            ("fine", self.fine_steps, 0),
        ):
            if value < least:
                raise InputError(f"schedule.{name}", f"at least {least}", str(value))
        if (self.nm is None) != (self.kind == "dense"):
            need = "no N:M" if self.kind == "dense" else "N:M"
            raise InputError("schedule.nm", need, "none" if self.nm is None else "one")
        if self.kind.startswith("mdgf") and not 0.0 < self.decay < math.inf:
            raise InputError("schedule.c", "a positive decay per step", str(self.decay))
        count = len(self._patterns())
        if self.steps < count:
            need = f"at least {count}, one per pattern"
            raise InputError("schedule.steps", need, str(self.steps))

    def frames(self) -> list[Frame]:
        """Return the frames in order; their steps sum to the whole run.

        Patterns that share a run of steps get equal frames, earlier ones the steps left over.
        """
        found = [Frame(self.dense_steps, None)]
        if self.kind.startswith("mdgf"):
            decaying = self._decaying_steps()
            found += [Frame(decaying, self.nm, 1.0), Frame(self.steps - decaying, self.nm)]
        else:
            patterns = self._patterns()
            share, extra = divmod(self.steps, len(patterns))
            found += [Frame(share + (i < extra), nm) for i, nm in enumerate(patterns)]
        found.append(Frame(self.fine_steps, self.nm))
        return [frame for frame in found if frame.steps > 0]

    def at(self, step: int) -> tuple[NM | None, float]:
        """Return pattern and beta of optimiser step ``step``, counted from 0."""
        start = 0
        for frame in self.frames():
            if step < start + frame.steps:
                is_decaying = frame.nm is not None and frame.beta > 0.0
                return frame.nm, self._beta(step - self.dense_steps) if is_decaying else 0.0
            start += frame.steps
        raise InputError("step", f"0 to {start - 1}", str(step))

    def mean_cost(self, cost: Callable[[NM | None], float]) -> float:
        """Return the mean over all steps of ``cost`` of the pattern that can be exploited.

        Dense frames ask for ``cost(None)``; the unit is that of ``cost``.
        """
        frames = self.frames()
        total = sum(f.steps * cost(None if f.is_dense else f.nm) for f in frames)
        return total / sum(f.steps for f in frames)

    def _beta(self, step: int) -> float:
        """Return beta ``step`` optimiser steps after the end of the dense phase."""
        if self.kind == "mdgf-exp":
            return math.exp(-self.decay * step)
        return max(0.0, 1.0 - self.decay * step)

    def _decaying_steps(self) -> int:
        """Return how many of ``steps`` have beta > 0."""
        if self.kind == "mdgf-exp":
            return self.steps
        count = min(self.steps, math.ceil(1.0 / self.decay))
        while count > 0 and self._beta(count - 1) <= 0.0:
            count -= 1
        return count

    def _patterns(self) -> Sequence[NM | None]:
        """Return the binary masks in order."""
        if self.nm is None or self.kind not in ("sdgf-step", "sdgf-geo"):
            return [self.nm]
        nm_n, nm_m = self.nm.nm_n, self.nm.nm_m
        if self.kind == "sdgf-geo":
            return [NM(nm_n=f * nm_n, nm_m=f * nm_m) for f in (8, 4, 2, 1)]
        halvings = (nm_m // nm_n).bit_length() - 1  # floor(log2(M / N))
        kept = [nm_m - 1, *(nm_m >> i for i in range(1, halvings + 1))]
        # floor(log2(M / N)) + 1 frames, the last of which is N:M whatever the halving gives.
        return [NM(nm_n=max(n, nm_n), nm_m=nm_m) for n in kept[:-1]] + [self.nm]


def parse_schedule(text: str, total_steps: int | None = None) -> TrainingSchedule:
    """Return the schedule that ``text`` describes (syntax in the module's docstring).

    ``total_steps`` is the length of the whole run, dense and fine steps included. ``text`` may then
    leave ``steps=`` out; if it does not, all its steps have to add up to that length.

    Raises
    ------
    InputError
        Naming the malformed or inconsistent field.
    """
    kind, *rest = text.split(":")
    if kind not in KINDS:
        raise unknown_name("schedule", kind, KINDS)
    form = f"{kind}:steps=S" if kind == "dense" else f"{kind}:N:M:steps=S"
    parts = 1 if kind == "dense" else 3
    if total_steps is not None and len(rest) == parts - 1:
        rest.append("")
    if len(rest) != parts:
        raise InputError("schedule", f"{form}[,dense=D][,fine=F][,c=C]", repr(text))
    values = _fields(rest[-1])
    if "c" in values and not kind.startswith("mdgf"):
        raise InputError("schedule.c", "a kind with mask decay (mdgf-linear, mdgf-exp)", kind)
    nm = None if kind == "dense" else NM(nm_n=_count("nm", rest[0]), nm_m=_count("nm", rest[1]))
    try:
        decay = float(values.get("c", "0"))
    except ValueError:
        raise InputError("schedule.c", "a number", repr(values["c"])) from None
    dense, fine = (_count(name, values.get(name, "0")) for name in ("dense", "fine"))
    return TrainingSchedule(kind, nm, _steps(values, dense + fine, total_steps), dense, fine, decay)


def _fields(text: str) -> dict[str, str]:
    """Return {name: value} of ``name=value,name=value``."""
    values: dict[str, str] = {}
    for item in text.split(",") if text else []:
        key, _, value = item.partition("=")
        if key not in _FIELDS:
            raise unknown_name("schedule", key, _FIELDS)
        if key in values:
            raise InputError(f"schedule.{key}", "one value", repr(text))
        values[key] = value
    return values


def _steps(values: dict[str, str], around: int, total: int | None) -> int:
    """Return the steps between the ``around`` dense and fine ones, of ``total`` if given."""
    if total is not None and "steps" not in values:
        if total <= around:
            need = f"more than the {around} dense and fine ones"
            raise InputError("schedule.total", need, str(total))
        return total - around
    steps = _count("steps", values.get("steps", ""))
    if total not in (None, steps + around):
        need = f"{steps + around}, the sum of the schedule's own"
        raise InputError("schedule.total", need, str(total))
    return steps


def _count(name: str, text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"schedule.{name}", "a whole number", repr(text))
    return int(text)
