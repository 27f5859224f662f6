"""Build the mobile networks of the zoo: MobileNet v1 and v2, EfficientNet.

Batch normalisations are folded (see :mod:`models.build`). Channel counts that a width multiplier
makes odd are rounded to a multiple of 8, as in the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hwsim.core.graph import OpGraph
from models.build import GraphBuilder

__all__ = ["efficientnet", "mobilenet_v1", "mobilenet_v2", "round_channels"]

Shape = tuple[int, ...]

V1_BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
"""(output channels, stride) of the 13 separable blocks (Howard et al. 2017, table 1)."""

V2_BLOCKS = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
"""(expansion, output channels, repeats, stride) (Sandler et al. 2018, table 2)."""

B0_BLOCKS = (
    *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
    *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
)
"""(expansion, channels, repeats, stride, kernel) of EfficientNet-B0 (Tan and Le 2019, table 1)."""


def round_channels(channels: float, multiple: int = 8) -> int:
    """Return the nearest multiple of ``multiple``, never less than 90 % of ``channels``."""
    rounded = max(multiple, int(channels + multiple / 2) // multiple * multiple)
    return rounded + multiple if rounded < 0.9 * channels else rounded


def _conv(
    g: GraphBuilder, name: str, x: str, co: int, kernel: int, stride: int, act: str | None
) -> str:
    x = g.conv_norm(name, x, co, kernel, stride=stride, pad=kernel // 2)
    return x if act is None else g.elementwise(f"{name}.{act}", act, x)


def _depthwise(g: GraphBuilder, name: str, x: str, kernel: int, stride: int, act: str) -> str:
    channels = g.shape(x)[1]
    is_folded = not g.has_batch_norm
    x = g.conv(
        name, x, channels, kernel, stride=stride, pad=kernel // 2, groups=channels, bias=is_folded
    )
    if g.has_batch_norm:
        x = g.batch_norm(f"{name}.bn", x)
    return g.elementwise(f"{name}.{act}", act, x)


def _head(g: GraphBuilder, x: str, classes: int) -> OpGraph:
    x = g.flatten("flatten", g.global_pool("pool", x, "average"))
    return g.build([g.linear("fc", x, classes)])


def mobilenet_v1(
    name: str, shape: Shape, *, width: float, classes: int = 1000, has_batch_norm: bool = False
) -> OpGraph:
    """Return MobileNet v1 (Howard et al. 2017) at a width multiplier."""
    g = GraphBuilder(name, has_batch_norm=has_batch_norm)
    x = _conv(g, "conv0", g.input("image", shape), round_channels(32 * width), 3, 2, "relu")
    for index, (channels, stride) in enumerate(V1_BLOCKS, start=1):
        x = _depthwise(g, f"block{index}.dw", x, 3, stride, "relu")
        x = _conv(g, f"block{index}.pw", x, round_channels(channels * width), 1, 1, "relu")
    return _head(g, x, classes)


def mobilenet_v2(
    name: str,
    shape: Shape,
    *,
    width: float,
    blocks: Sequence[tuple[int, int, int, int]] = V2_BLOCKS,
    classes: int = 1000,
    has_batch_norm: bool = False,
) -> OpGraph:
    """Return MobileNet v2 (Sandler et al. 2018) at a width multiplier; the head never shrinks."""
    g = GraphBuilder(name, has_batch_norm=has_batch_norm)
    x = _conv(g, "conv0", g.input("image", shape), round_channels(32 * width), 3, 2, "relu")
    index = 0
    for expansion, channels, repeats, first_stride in blocks:
        for repeat in range(repeats):
            index += 1
            stride = first_stride if repeat == 0 else 1
            co = round_channels(channels * width)
            x = _inverted_residual(g, f"block{index}", x, expansion, co, stride, 3, "relu", 0)
    x = _conv(g, "conv_last", x, round_channels(1280 * max(1.0, width)), 1, 1, "relu")
    return _head(g, x, classes)


def _inverted_residual(
    g: GraphBuilder,
    name: str,
    x: str,
    expansion: int,
    co: int,
    stride: int,
    kernel: int,
    act: str,
    squeezed: int,
) -> str:
    """Append expand, depthwise, squeeze-and-excite to ``squeezed`` channels, and project."""
    ci = g.shape(x)[1]
    y = x
    if expansion > 1:
        y = _conv(g, f"{name}.expand", y, ci * expansion, 1, 1, act)
    y = _depthwise(g, f"{name}.dw", y, kernel, stride, act)
    if squeezed:
        y = _squeeze_excite(g, f"{name}.se", y, squeezed, act)
    y = _conv(g, f"{name}.project", y, co, 1, 1, None)
    return g.elementwise(f"{name}.add", "add", x, y) if stride == 1 and ci == co else y


def _squeeze_excite(g: GraphBuilder, name: str, x: str, squeezed: int, act: str) -> str:
    """Append x * sigmoid(W2 act(W1 mean(x))), one number per channel."""
    y = g.global_pool(f"{name}.pool", x, "average")
    y = g.elementwise(f"{name}.{act}", act, g.conv(f"{name}.reduce", y, squeezed, 1))
    y = g.conv(f"{name}.expand", y, g.shape(x)[1], 1)
    return g.elementwise(f"{name}.scale", "mul", x, g.elementwise(f"{name}.gate", "sigmoid", y))


def efficientnet(
    name: str,
    shape: Shape,
    *,
    width: float,
    depth: float,
    classes: int = 1000,
    has_batch_norm: bool = False,
) -> OpGraph:
    """Return an EfficientNet (Tan and Le 2019): swish activations, squeeze-and-excite 0.25."""
    g = GraphBuilder(name, has_batch_norm=has_batch_norm)
    x = _conv(g, "conv0", g.input("image", shape), round_channels(32 * width), 3, 2, "silu")
    index = 0
    for expansion, channels, repeats, first_stride, kernel in B0_BLOCKS:
        for repeat in range(math.ceil(repeats * depth)):
            index += 1
            stride = first_stride if repeat == 0 else 1
            squeezed = max(1, g.shape(x)[1] // 4)
            co = round_channels(channels * width)
            block = f"block{index}"
            x = _inverted_residual(g, block, x, expansion, co, stride, kernel, "silu", squeezed)
    x = _conv(g, "conv_last", x, round_channels(1280 * width), 1, 1, "silu")
    return _head(g, x, classes)
