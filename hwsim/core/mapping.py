"""Say how one operator is laid out on a machine, and check that it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from hwsim.core.errors import MappingError

if TYPE_CHECKING:
    from hwsim.core.machine import Spec

__all__ = ["Mapping"]


class Mapping(BaseModel):
    """A contract between mapper and machine for one op.

    Attributes
    ----------
    op : str
        Name of the op.
    dataflow : str
        Which operand stays in the processing elements (``ws``, ``os``, ``is``), or the name of the
        unit's only way of working (``vector``, ``fused``).
    tiling : dict of str to int
        Elements of a macro tile along m, k, n (what the buffers hold at once).
    loop_order : str
        Macro-tile loops from outermost to innermost, for example ``nmk``.
    placement : dict of str to str
        Where operands live (``resident`` or ``streamed``) and how groups are packed. Ops that
        follow each other and name the same ``slot`` run beside each other.
    buffer_bytes : dict of str to int
        Bytes needed in each buffer, double buffering included.
    note : str
        What a user should know, for example why a layer stayed dense.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    op: str
    dataflow: str
    tiling: dict[str, int] = Field(default_factory=dict)
    loop_order: str = ""
    placement: dict[str, str] = Field(default_factory=dict)
    buffer_bytes: dict[str, int] = Field(default_factory=dict)
    note: str = ""

    def check(self, spec: Spec) -> None:
        """Raise :class:`MappingError` naming buffer, need and have if a buffer is too small."""
        have = spec.capacities()
        for buffer, need in self.buffer_bytes.items():
            if need > have.get(buffer, 0):
                raise MappingError(f"{self.op}: {buffer}", need, have.get(buffer, 0))
