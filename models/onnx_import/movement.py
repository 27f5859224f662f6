"""Import operators that move or rename elements without computing on them."""

from __future__ import annotations

from typing import Any

from hwsim.core.graph import OpKind
from models.onnx_import.state import ImportState, Node, UnsupportedError, handles

__all__: list[str] = []


@handles("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(state: ImportState, node: Node) -> None:
    state.emit(node, OpKind.RESHAPE, [node.inputs[0]], shape=node.shape)


@handles("Identity", "Dropout")
def identity(state: ImportState, node: Node) -> None:
    if any(state.uses[name] for name in node.outputs[1:]):
        raise UnsupportedError("its mask is used")
    state.alias(node.outputs[0], node.inputs[0])


@handles("Transpose")
def transpose(state: ImportState, node: Node) -> None:
    rank = len(state.shape(node.inputs[0]))
    perm = [int(axis) for axis in node.attrs.get("perm", range(rank)[::-1])]
    state.emit(node, OpKind.TRANSPOSE, [node.inputs[0]], attrs={"perm": perm})


@handles("Concat")
def concat(state: ImportState, node: Node) -> None:
    axis = int(node.attrs["axis"]) % len(node.shape)
    state.emit(node, OpKind.CONCAT, list(node.inputs), attrs={"axis": axis})


@handles("Slice")
def cut(state: ImportState, node: Node) -> None:
    shape = state.shape(node.inputs[0])
    if "starts" in node.attrs:
        starts, ends = list(node.attrs["starts"]), list(node.attrs["ends"])
        axes = list(node.attrs.get("axes", range(len(starts))))
        steps = [1] * len(starts)
    else:
        starts = state.const(node, 1, "starts").reshape(-1).tolist()
        ends = state.const(node, 2, "ends").reshape(-1).tolist()
        count = range(len(starts))
        axes = state.const(node, 3, "axes").reshape(-1).tolist() if node.has(3) else list(count)
        steps = (
            state.const(node, 4, "steps").reshape(-1).tolist() if node.has(4) else [1] * len(starts)
        )
    first, every = [0] * len(shape), [1] * len(shape)
    out = list(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        taken = range(*slice(start, _open_end(end, step), step).indices(shape[axis]))
        first[axis], every[axis], out[axis] = taken.start, taken.step, len(taken)
    attrs = {"starts": first, "steps": every}
    state.emit(node, OpKind.SLICE, [node.inputs[0]], shape=tuple(out), attrs=attrs)


def _open_end(end: int, step: int) -> int | None:
    # The smallest int64 region means "to the very beginning" when walking backwards.
    return None if step < 0 and end < -(1 << 31) + 1 else end


@handles("Split")
def split(state: ImportState, node: Node) -> None:
    shape = state.shape(node.inputs[0])
    axis = int(node.attrs.get("axis", 0)) % len(shape)
    start = 0
    for index, part in enumerate(node.shapes):
        if part is None:
            raise UnsupportedError("its parts depend on data")
        starts = [0] * len(shape)
        starts[axis] = start
        attrs = {"starts": starts, "steps": [1] * len(shape)}
        state.emit(node, OpKind.SLICE, [node.inputs[0]], index=index, attrs=attrs)
        start += part[axis]


@handles("Pad")
def pad(state: ImportState, node: Node) -> None:
    rank = len(state.shape(node.inputs[0]))
    value: Any = float(node.attrs.get("value", 0.0))
    if "pads" in node.attrs:
        pads, axes = [int(p) for p in node.attrs["pads"]], list(range(rank))
    else:
        pads = [int(p) for p in state.const(node, 1, "pads").reshape(-1)]
        axes = list(range(rank))
        if node.has(2):
            value = state.const(node, 2, "values").item()
        if node.has(3):
            axes = [int(a) % rank for a in state.const(node, 3, "axes").reshape(-1)]
    mode = node.attrs.get("mode", "constant")
    if min(pads, default=0) < 0 or mode not in ("constant", "edge", "reflect"):
        raise UnsupportedError(f"mode {mode} with pads {pads}")
    begins, ends = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        begins[axis], ends[axis] = pads[index], pads[len(axes) + index]
    attrs = {"begins": begins, "ends": ends, "mode": mode, "value": value}
    state.emit(node, OpKind.PAD, [node.inputs[0]], attrs=attrs)


@handles("Gather")
def gather(state: ImportState, node: Node) -> None:
    axis = int(node.attrs.get("axis", 0)) % len(state.shape(node.inputs[0]))
    state.emit(node, OpKind.GATHER, list(node.inputs), attrs={"axis": axis})
