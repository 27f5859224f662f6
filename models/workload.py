"""Say what is done with a model beside its inputs: phase, token counts, kernel, second operand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hwsim.core.errors import InputError

__all__ = ["PHASES", "PhaseError", "Workload"]

PHASES = ("infer", "train", "prefill", "decode", "request")
"""Inference, a training iteration; of language models: a prompt, one step, a whole request."""

_TOKENS = {
    "seq_tokens": ("--seq", "prefill"),
    "kv_tokens": ("--kv", "decode"),
    "prompt_tokens": ("--prompt", "request"),
    "generate_tokens": ("--generate", "request"),
}
"""Field -> the flag that sets it, and the phase that it belongs to."""


class PhaseError(InputError):
    """The model ``source`` has ``phases``, and another one is asked for."""

    def __init__(self, source: str, phases: tuple[str, ...], found: str) -> None:
        listed = " or ".join([", ".join(phases[:-1]), phases[-1]] if phases[1:] else phases)
        super().__init__("--phase", f"{listed} for {source}", repr(found))
        self.args = (source, phases, found)  # what unpickling calls __init__ with
        self.source = source
        self.phases = phases


@dataclass(frozen=True)
class Workload:
    """What is done with a model.

    Attributes
    ----------
    phase : str
        One of ``PHASES``.
    seq_tokens : int, optional
        Tokens of the prompt that ``prefill`` runs through.
    kv_tokens : int, optional
        Context of the one step of ``decode``, its own token included.
    prompt_tokens, generate_tokens : int, optional
        Tokens read and written by a ``request``.
    kernel : str
        Algorithm, on machines that offer several; ``auto`` leaves the choice to the mapper.
    other : str, optional
        Source of a second operand, for products of two sparse matrices.
    seed : int
        Of everything that a generator draws.
    parameters : mapping
        Settings of a workload of several kernels, by name.
    """

    phase: str = "infer"
    seq_tokens: int | None = None
    kv_tokens: int | None = None
    prompt_tokens: int | None = None
    generate_tokens: int | None = None
    kernel: str = "auto"
    other: str | None = None
    seed: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise :class:`InputError` naming a flag that does not go with the phase."""
        if self.phase not in PHASES:
            raise InputError("--phase", f"one of {', '.join(PHASES)}", repr(self.phase))
        for name, (flag, phase) in _TOKENS.items():
            tokens: int | None = getattr(self, name)
            if tokens is None:
                continue
            if phase != self.phase:
                raise InputError(flag, f"--phase {phase}", f"--phase {self.phase}")
            if tokens < 1:
                raise InputError(flag, "at least 1 token", str(tokens))
