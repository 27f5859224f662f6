"""Parse the values of command-line flags."""

from __future__ import annotations

from hwsim.core.errors import InputError

__all__ = ["parse_inputs"]


def parse_inputs(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Return {name: shape} for ``name=1,3,640,640`` or ``name=1x3x640x640`` texts."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, separator, shape = text.partition("=")
        try:
            if not separator:
                raise ValueError
            shapes[name] = tuple(int(part) for part in shape.replace("x", ",").split(","))
        except ValueError:
            raise InputError("--input", "name=1,3,640,640", repr(text)) from None
    return shapes
