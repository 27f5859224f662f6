"""Read an ONNX file and bind its inputs; every defect of the file is one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no types
from numpy.typing import NDArray
from onnx.external_data_helper import load_external_data_for_model

from hwsim.core.errors import InputError, reason_of, unknown_name

__all__ = ["MIN_OPSET", "bind_inputs", "initializers", "read_model", "tensor_values"]

MIN_OPSET = 7
"""assumed: older files use attributes and broadcasting that no handler reads."""

Shape = tuple[int, ...]


def read_model(path: Path) -> onnx.ModelProto:
    """Return the model of ``path``, external data loaded and local functions inlined."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise InputError(str(path), "a readable file", reason_of(error)) from None
    except DecodeError:
        raise InputError(str(path), "an ONNX file", "damaged or truncated content") from None
    if not model.opset_import or not model.graph.node or not model.graph.output:
        found = "no operators (not ONNX, or truncated)"
        raise InputError(str(path), "an ONNX graph with operators and outputs", found)
    try:
        load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise InputError(str(path), "its external weight data", reason_of(error)) from None
    _check_opset(path, model)
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _check_opset(path: Path, model: onnx.ModelProto) -> None:
    newest = onnx.defs.onnx_opset_version()
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and not MIN_OPSET <= entry.version <= newest:
            raise InputError(str(path), f"opset {MIN_OPSET} to {newest}", f"opset {entry.version}")


def tensor_values(path: str, name: str, tensor: onnx.TensorProto) -> NDArray[np.generic]:
    """Return the values of a stored tensor; raise if they are damaged, NaN or Inf.

    A single Inf is let through: networks use it as a bound or a mask value.
    """
    try:
        values: NDArray[np.generic] = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        what = str(error).splitlines()[0]
        raise InputError(f"{path}: tensor {name}", "complete values", what) from None
    if values.dtype.kind == "f":
        bad = int(values.size - np.isfinite(values).sum())
        if bad and (values.size > 1 or bool(np.isnan(values).any())):
            found = f"{bad} NaN or Inf"
            raise InputError(f"{path}: tensor {name}", "finite values", found)
    return values


def initializers(path: str, graph: onnx.GraphProto) -> dict[str, NDArray[np.generic]]:
    """Return the values of a graph's initializers by name."""
    return {t.name: tensor_values(path, t.name, t) for t in graph.initializer}


def bind_inputs(
    graph: onnx.GraphProto, batch: int | None, shapes: Mapping[str, Shape]
) -> dict[str, tuple[Shape, int]]:
    """Return shape and ONNX element type of every input, all axes bound.

    A named axis has one extent in all inputs. Raises :class:`InputError` naming ``--input`` or
    ``--batch``.
    """
    stored = {t.name for t in graph.initializer}
    real = [value for value in graph.input if value.name not in stored]
    for name in shapes:
        if name not in {value.name for value in real}:
            raise unknown_name("--input", name, [value.name for value in real])
    symbols: dict[str, int] = {}
    for value in real:
        if value.name in shapes:
            _match(value, shapes[value.name], symbols)
    bound: dict[str, tuple[Shape, int]] = {}
    for value in real:
        shape = shapes.get(value.name) or _bind(value, batch, symbols)
        bound[value.name] = (shape, value.type.tensor_type.elem_type)
    return bound


def _axes(value: onnx.ValueInfoProto) -> list[int | str]:
    """Return each axis as its extent, or its symbol if dynamic."""
    dims = value.type.tensor_type.shape.dim
    return [
        d.dim_value if d.dim_value > 0 else d.dim_param or f"axis {i}" for i, d in enumerate(dims)
    ]


def _match(value: onnx.ValueInfoProto, shape: Shape, symbols: dict[str, int]) -> None:
    axes = _axes(value)
    if not value.type.tensor_type.HasField("shape"):
        return
    named = "[" + ", ".join(map(str, axes)) + "]"
    if len(shape) != len(axes):
        raise InputError(f"--input {value.name}", f"{len(axes)} extents {named}", f"{shape}")
    for axis, extent in zip(axes, shape, strict=True):
        if isinstance(axis, int) and axis != extent:
            raise InputError(f"--input {value.name}", f"extents {named}", f"{shape}")
        # "?" and unnamed axes are wildcards, not one symbol.
        is_symbol = isinstance(axis, str) and not axis.startswith(("axis ", "?"))
        if is_symbol and symbols.setdefault(str(axis), extent) != extent:
            need = f"{axis} = {symbols[str(axis)]} as in another input"
            raise InputError(f"--input {value.name}", need, f"{shape}")


def _bind(value: onnx.ValueInfoProto, batch: int | None, symbols: dict[str, int]) -> Shape:
    axes = _axes(value)
    if not value.type.tensor_type.HasField("shape"):
        raise InputError(f"--input {value.name}", "a shape (the network states none)", "none")
    shape: list[int] = []
    for index, axis in enumerate(axes):
        if isinstance(axis, int):
            if index == 0 and batch is not None and axis != batch:
                need = f"{axis}, which the network fixes for input {value.name}"
                raise InputError("--batch", need, str(batch))
            shape.append(axis)
        elif axis in symbols:
            shape.append(symbols[axis])
        elif index == 0:
            shape.append(1 if batch is None else batch)
        else:
            named = "[" + ", ".join(map(str, axes)) + "]"
            raise InputError(f"--input {value.name}", f"a shape for {named}", "none")
    return tuple(shape)
