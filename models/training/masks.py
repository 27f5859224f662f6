"""Say which operand of which stage each training method makes N:M sparse.

=======  ==================  =========================  =====
method   FF                  BP                         WU
=======  ==================  =========================  =====
dense    dense               dense                      dense
sr-ste   W along Ci          W along Ci, cost dense     dense
sdgp     dense               dY along Co                dense, of the unpruned dY
sdwp     dense               W along Co                 dense
bdwp     W along Ci          W along Co                 dense
=======  ==================  =========================  =====

sr-ste: the authors' code, repository aojunzz/NM-sparsity; its mask lies on the wrong axis for the
reduction of BP, so nothing can be skipped there. sdgp: the authors' code, repository sdgp. bdwp
prunes weights in both passes (Fang et al. 2023, abstract). assumed: the directions of bdwp and
sdwp, two independent masks of the same dense weights, and a dense update. Skipping needs the
group on the reduction axis, which is Ci in FF and Co in BP.
"""

from __future__ import annotations

from enum import StrEnum

from hwsim.core.errors import unknown_name
from hwsim.core.graph import Op, OpGraph, OpKind
from hwsim.core.sparsity import NM

__all__ = [
    "TrainingMethod",
    "as_method",
    "as_pattern",
    "backward_reason",
    "classifiers",
    "forward_reason",
]


class TrainingMethod(StrEnum):
    """How an iteration uses N:M sparsity."""

    DENSE = "dense"
    SR_STE = "sr-ste"
    SDGP = "sdgp"
    SDWP = "sdwp"
    BDWP = "bdwp"

    @property
    def prunes_forward_weights(self) -> bool:
        """Return whether FF uses weights masked along Ci."""
        return self in (TrainingMethod.SR_STE, TrainingMethod.BDWP)

    @property
    def prunes_backward_weights(self) -> bool:
        """Return whether BP uses weights masked along Co."""
        return self in (TrainingMethod.SDWP, TrainingMethod.BDWP)

    @property
    def prunes_gradients(self) -> bool:
        """Return whether BP uses output gradients masked along Co."""
        return self is TrainingMethod.SDGP


def as_method(method: TrainingMethod | str) -> TrainingMethod:
    """Return the method called ``method``; raise :class:`InputError` for another name."""
    names = [known.value for known in TrainingMethod]
    if method not in names:
        raise unknown_name("--training", method, names)
    return TrainingMethod(method)


def as_pattern(nm: NM | tuple[int, int]) -> NM:
    """Return (N, M) as the pattern along a reduction axis; raise :class:`InputError` if N > M."""
    if isinstance(nm, NM):
        return nm.model_copy(update={"axis": 0})
    return NM(nm_n=nm[0], nm_m=nm[1])


def forward_reason(op: Op, nm: NM, *, is_first: bool, is_kept_classifier: bool) -> str | None:
    """Return why FF of a layer with weights stays dense, or None."""
    if is_first:
        return "first layer"
    return _reason(op, nm, "ci", is_kept_classifier)


def backward_reason(op: Op, nm: NM, *, is_kept_classifier: bool) -> str | None:
    """Return why BP of a layer with weights stays dense, or None."""
    return _reason(op, nm, "co", is_kept_classifier)


def _reason(op: Op, nm: NM, axis: str, is_kept_classifier: bool) -> str | None:
    if is_kept_classifier:
        return "classifier"
    if op.kind is OpKind.LINEAR:
        channels = op.dims["k" if axis == "ci" else "n"]
    else:
        channels = op.dims[axis] // op.dims["groups"]
    if channels % nm.nm_m:
        return f"{axis.capitalize()} {channels} not divisible by {nm.nm_m}"
    return None


def classifiers(graph: OpGraph) -> set[str]:
    """Return the fully connected layers from whose output no other layer with weights is fed."""
    found: set[str] = set()
    feeds_layer: set[str] = set()  # tensors from which a later layer with weights is reached
    for op in reversed(list(graph.ops())):
        is_layer = op.is_gemm and op.weight is not None
        if is_layer and op.kind is OpKind.LINEAR and op.output not in feeds_layer:
            found.add(op.name)
        if is_layer or op.output in feeds_layer:
            feeds_layer |= {operand.tensor for operand in op.inputs}
    return found
