"""Name what a training iteration reads, keeps and returns; nothing is computed here.

Numbers of an iteration, the same for the simulator and for golden:

* activations, gradients and the weights that products read are FP16, N:M weights in compact form;
  master weights and momentum are FP32;
* an array product sums exact FP16 products from +0 in the order of k, one FP32 rounding per
  addition; overlapping results of a transposed convolution are added in FP32, tap after tap; the
  bias is added in FP32; the result is rounded to FP16 once (nearest, ties to even);
* every op of the vector path takes FP16 and returns FP16;
* every weight is updated as :mod:`hwsim.sat.wuve` says;
* NaN and infinity propagate, every stored NaN is the canonical one. Which zeros of a layout meet
  an infinite operand (0 · inf is NaN) depends on the mapping, so bits are defined by the list
  above for finite operands only. An iteration with non-finite gradients is counted, not skipped:
  whoever trains keeps the old state and lowers the loss scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Op, OpGraph

__all__ = [
    "CompactCopy",
    "Iteration",
    "Loss",
    "SgdRule",
    "TrainingState",
    "VectorFunction",
    "check_values",
]

Array = NDArray[Any]

VectorFunction = Callable[[Op, list[Array], tuple[int, ...]], Array]
"""(op, operands, output shape) -> output: the vector path, FP16 in and FP16 out."""

Loss = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""{output y: values} -> {"y.grad": gradient times the loss scale}; the host computes it."""


@dataclass(frozen=True)
class SgdRule:
    """Constants of the weight update. Raises :class:`InputError` for a loss scale of 0 or less."""

    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    loss_scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.loss_scale > 0:
            raise InputError("loss_scale", "more than 0", str(self.loss_scale))


@dataclass(frozen=True)
class CompactCopy:
    """Weights as an N:M product reads them: ``nm_n`` slots per group of ``nm_m`` rows of k.

    ``values`` : float16[groups of the op, k / nm_m, nm_n, n]; ``indices`` : uint8 of the same
    shape, ascending positions in the group.
    """

    values: NDArray[np.float16]
    indices: NDArray[np.uint8]
    nm_m: int


@dataclass(frozen=True)
class TrainingState:
    """What memory holds between two iterations, by weight tensor.

    ``master`` and ``momentum`` : float32, ``half`` : float16, the weights' copy; ``compact``: the
    selections that follow the update (none if the graph selects in front of its products).
    """

    master: dict[str, NDArray[np.float32]]
    momentum: dict[str, NDArray[np.float32]]
    half: dict[str, NDArray[np.float16]]
    compact: dict[str, CompactCopy] = field(default_factory=dict)


@dataclass(frozen=True)
class Iteration:
    """What one iteration computed.

    ``tensors``: every activation and gradient by name, float16 (integers as they are);
    ``state``: after all updates; ``nonfinite_gradients``: elements of weight gradients, with the
    loss scale in them, that are infinite or NaN.
    """

    tensors: dict[str, Array]
    state: TrainingState
    nonfinite_gradients: int


def check_values(graph: OpGraph, names: list[str], values: Mapping[str, Array]) -> None:
    """Raise :class:`InputError` for a tensor of ``names`` that is missing or has another shape."""
    for name in names:
        need = f"shape {graph.tensors[name].shape}"
        if name not in values:
            raise InputError(f"input {name}", need, "none")
        if values[name].shape != graph.tensors[name].shape:
            raise InputError(f"input {name}", need, f"shape {values[name].shape}")
