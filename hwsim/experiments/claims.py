"""Make the claims of an experiment, saying once what they share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hwsim.core.result import Claim

__all__ = ["ClaimMaker"]


@dataclass(frozen=True)
class ClaimMaker:
    """Make claims whose ids begin with ``prefix``; the rest is of those that do not say their own.

    A claim is exact, derived and gated unless told otherwise.
    """

    prefix: str
    source: str = ""
    basis: str = "derived"
    tolerance: float = 0.0
    unit: str = "1"

    def __call__(
        self,
        name: str,
        what: str,
        simulated: float,
        reference: float,
        unit: str | None = None,
        tolerance: float | None = None,
        basis: str | None = None,
        source: str | None = None,
        *,
        gated: bool = True,
    ) -> Claim:
        """Return the claim ``name``, its fields in the order that :class:`Claim` has."""
        return Claim(
            self.prefix + name,
            what,
            simulated,
            reference,
            self.unit if unit is None else unit,
            self.tolerance if tolerance is None else tolerance,
            self.basis if basis is None else basis,
            gated,
            self.source if source is None else source,
        )

    def cases(
        self, name: str, what: str, holds: Iterable[bool], source: str | None = None
    ) -> Claim:
        """Return the claim that each of ``holds`` is true, as a count."""
        found = list(holds)
        return self(name, what, sum(found), len(found), "cases", source=source)
