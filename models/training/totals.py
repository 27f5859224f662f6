"""Count the multiply-accumulates of an iteration per stage."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from hwsim.core.graph import OpGraph, Stage

__all__ = ["TrainingMacs", "training_macs"]


@dataclass(frozen=True)
class TrainingMacs:
    """Multiply-accumulates that meet kept values, per stage of one iteration (whole batch)."""

    ff: int
    bp: int
    wu: int

    @property
    def total(self) -> int:
        """Return the sum of the three stages."""
        return self.ff + self.bp + self.wu


def training_macs(graph: OpGraph, *, is_border_counted: bool = True) -> TrainingMacs:
    """Return the kept products of a training graph by stage.

    Parameters
    ----------
    graph : OpGraph
        From :func:`~models.training.graph.training_graph`.
    is_border_counted : bool
        Count BP as its convolutions execute it. An unpadded k x k layer has more input than
        output pixels, so its BP meets k - 1 rows of padding that FF has no counterpart of.
        False: every layer's BP has the products of its FF times the kept fraction, which is the
        convention of published FLOP counts; inserted zeros do not count either.
    """
    kept = dict.fromkeys((Stage.FF, Stage.BP, Stage.WU), Fraction(0))
    layers: dict[str, list[int]] = {}
    for op in graph.ops():
        is_conv = op.stage is Stage.BP and "oh" in op.dims
        if is_conv and not is_border_counted:
            sums = layers.setdefault(op.attrs["layer"], [0, 0])
            sums[0] += op.useful_macs()
            sums[1] += op.macs()
        elif op.stage in kept:
            kept[op.stage] += op.useful_macs()
    for layer, (useful, issued) in layers.items():
        kept[Stage.BP] += Fraction(graph.op(layer).macs() * useful, issued)
    return TrainingMacs(*(round(kept[stage]) for stage in (Stage.FF, Stage.BP, Stage.WU)))
