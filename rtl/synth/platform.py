"""Name what a unit is built for, so that it can instantiate cells that no tool infers."""

from __future__ import annotations

__all__ = ["UltraScalePlus"]


class UltraScalePlus:
    """Passed to ``elaborate``: cells of UltraScale+ may be instantiated (AMD, UG974)."""
