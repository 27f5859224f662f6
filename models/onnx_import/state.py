"""Hold what is known while an ONNX graph is walked: tensors, constants, aliases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.graph import Operand, OpKind
from hwsim.core.units import DTYPE_BYTES
from models.build import GraphBuilder

__all__ = ["HANDLERS", "Handler", "ImportState", "Node", "UnsupportedError", "handles"]

Shape = tuple[int, ...]


class UnsupportedError(Exception):
    """A handler cannot express this node; it becomes UNMODELLED for the stated reason."""

    def __init__(self, reason: str, macs: int = 0) -> None:
        super().__init__(reason)
        self.macs = macs


@dataclass(frozen=True)
class Node:
    """One ONNX node with resolved tensor names and inferred outputs.

    ``shapes`` and ``dtypes`` have one entry per output, None where unknown. Optional inputs that
    are absent are empty strings.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    opset: int
    shapes: tuple[Shape | None, ...] = ()
    dtypes: tuple[str | None, ...] = ()

    @property
    def shape(self) -> Shape:
        """Return the first output's shape; raise UnsupportedError if unknown."""
        shape = self.shapes[0]
        if shape is None:
            raise UnsupportedError("its output shape depends on data")
        return shape

    def has(self, index: int) -> bool:
        """Return whether input ``index`` is present."""
        return index < len(self.inputs) and bool(self.inputs[index])


@dataclass
class ImportState:
    """Mutable state of one import."""

    builder: GraphBuilder
    source: str
    uses: Counter[str]
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def alias(self, name: str, target: str) -> None:
        """Let ``name`` stand for ``target``, whose readers then include those of ``name``."""
        self.aliases[name] = target
        self.uses[target] += self.uses[name] - 1

    def resolve(self, name: str) -> str:
        """Follow removed identities to the tensor that holds the values."""
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def is_const(self, name: str) -> bool:
        """Return whether the values of ``name`` are known at import."""
        return name in self.constants

    def const(self, node: Node, index: int, what: str) -> NDArray[Any]:
        """Return constant input ``index``; raise UnsupportedError if it is computed at run time."""
        name = node.inputs[index]
        if name not in self.constants:
            raise UnsupportedError(f"its {what} are computed at run time")
        return self.constants[name]

    def shape(self, name: str) -> Shape:
        """Return the extents of a tensor or constant."""
        if name in self.constants:
            return self.constants[name].shape
        return self.builder.shape(name)

    def operand(self, name: str) -> Operand:
        """Return ``name`` as an operand: constants become weights."""
        if name in self.constants:
            return self.weight(name, self.constants[name])
        return Operand(tensor=name)

    def weight(self, name: str, values: NDArray[Any]) -> Operand:
        """Attach ``values`` as the weight tensor ``name``."""
        dtype = str(values.dtype)
        if dtype not in DTYPE_BYTES:
            known = ", ".join(DTYPE_BYTES)
            raise InputError(f"{self.source}: tensor {name}", f"one of {known}", dtype)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int(values.size - np.isfinite(values).sum())
            raise InputError(f"{self.source}: tensor {name}", "finite values", f"{bad} NaN or Inf")
        return self.builder.weight(name, values.shape, np.ascontiguousarray(values))

    def unique(self, name: str) -> str:
        """Return ``name``, with a number if it is taken."""
        candidate, count = name, 1
        while candidate in self.names:
            count += 1
            candidate = f"{name}.{count}"
        self.names.add(candidate)
        return candidate

    def emit(
        self,
        node: Node,
        kind: OpKind,
        inputs: list[str | Operand],
        *,
        suffix: str = "",
        shape: Shape | None = None,
        index: int = 0,
        dims: Mapping[str, int] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> str:
        """Append an op for output ``index`` of ``node``, or for a step before it (``suffix``)."""
        name = node.name
        if suffix:
            name = self.unique(f"{name}.{suffix}")
        elif index:
            name = self.unique(f"{name}.{index}")
        output = name if suffix else node.outputs[index]
        if shape is None:
            found = node.shapes[index]
            shape = node.shape if found is None else found
        dtype = None if suffix else node.dtypes[index]
        operands = [self.operand(i) if isinstance(i, str) else i for i in inputs]
        return self.builder.add(
            kind, name, operands, shape, dims=dims, attrs=attrs, output=output, dtype=dtype
        )


Handler = Callable[[ImportState, Node], None]
HANDLERS: dict[str, Handler] = {}
"""ONNX operator -> what emits its ops. Anything else is UNMODELLED."""


def handles(*operators: str) -> Callable[[Handler], Handler]:
    """Register a handler for ``operators`` of the default domain."""

    def register(handler: Handler) -> Handler:
        for operator in operators:
            HANDLERS[operator] = handler
        return handler

    return register
