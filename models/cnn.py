"""Build the convolutional networks of the zoo. Layer names follow the original code.

Every convolution is followed by a batch normalisation in the original code. ``has_batch_norm``
keeps it as an operator, which training needs; the default folds it into a bias.
"""

from __future__ import annotations

from collections.abc import Sequence

from hwsim.core.graph import OpGraph
from models.build import GraphBuilder

__all__ = ["resnet", "resnet9_dawnbench", "resnet9_ffcv", "vgg19"]

Shape = tuple[int, ...]

VGG19_WIDTHS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""(channels, convolutions) between max-poolings: configuration E (Simonyan & Zisserman 2015)."""


def _conv_relu(
    g: GraphBuilder, name: str, x: str, co: int, kernel: int, stride: int = 1, pad: int = 0
) -> str:
    return g.relu(f"{name}.relu", g.conv_norm(name, x, co, kernel, stride=stride, pad=pad))


def _residual_pair(g: GraphBuilder, name: str, x: str) -> str:
    """Return x + f(f(x)) with two 3x3 layers that keep the channels."""
    co = g.shape(x)[1]
    y = _conv_relu(g, f"{name}.0", x, co, 3, pad=1)
    y = _conv_relu(g, f"{name}.1", y, co, 3, pad=1)
    return g.elementwise(f"{name}.add", "add", x, y)


def _classifier(g: GraphBuilder, x: str, classes: int, *, pool: str, bias: bool) -> str:
    x = g.flatten("flatten", g.global_pool("pool", x, pool))
    return g.linear("fc", x, classes, bias=bias)


def resnet9_ffcv(shape: Shape, classes: int = 10, *, has_batch_norm: bool = False) -> OpGraph:
    """Return ResNet-9 of ffcv's CIFAR-10 example, which SDGP also trains."""
    g = GraphBuilder("resnet9", has_batch_norm=has_batch_norm)
    x = g.input("image", shape)
    x = _conv_relu(g, "c1", x, 128, 3, pad=1)
    x = _conv_relu(g, "c2", x, 256, 5, stride=2, pad=2)
    x = _residual_pair(g, "res1", x)
    x = _conv_relu(g, "c3", x, 512, 3, pad=1)
    x = g.pool("c3.pool", x, "max", 2)
    x = _residual_pair(g, "res2", x)
    x = _conv_relu(g, "c4", x, 256, 3)
    x = _classifier(g, x, classes, pool="max", bias=False)
    return g.build([g.elementwise("scale", "mul", x, scalar=0.2)])


def resnet9_dawnbench(shape: Shape, classes: int = 10, *, has_batch_norm: bool = False) -> OpGraph:
    """Return ResNet-9 of the DAWNBench CIFAR-10 entry (assumed: layers as commonly described)."""
    g = GraphBuilder("resnet9-dawnbench", has_batch_norm=has_batch_norm)
    x = g.input("image", shape)
    x = _conv_relu(g, "prep", x, 64, 3, pad=1)
    for layer, (co, residual) in enumerate(((128, True), (256, False), (512, True)), start=1):
        x = _conv_relu(g, f"layer{layer}", x, co, 3, pad=1)
        x = g.pool(f"layer{layer}.pool", x, "max", 2)
        if residual:
            x = _residual_pair(g, f"layer{layer}.res", x)
    x = _classifier(g, x, classes, pool="max", bias=False)
    return g.build([g.elementwise("scale", "mul", x, scalar=0.125)])


def resnet(
    name: str,
    shape: Shape,
    *,
    blocks: Sequence[int],
    bottleneck: bool,
    cifar_stem: bool,
    classes: int,
    has_batch_norm: bool = False,
) -> OpGraph:
    """Return a ResNet with ``blocks`` per stage (He et al. 2016), strides as in torchvision.

    ``cifar_stem`` replaces the 7x7 stride-2 stem and its pooling by one 3x3 stride-1 convolution.
    """
    g = GraphBuilder(name, has_batch_norm=has_batch_norm)
    x = g.input("image", shape)
    if cifar_stem:
        x = _conv_relu(g, "conv1", x, 64, 3, pad=1)
    else:
        x = _conv_relu(g, "conv1", x, 64, 7, stride=2, pad=3)
        x = g.pool("maxpool", x, "max", 3, stride=2, pad=1)
    block = _bottleneck if bottleneck else _basic_block
    for stage, count in enumerate(blocks):
        for index in range(count):
            stride = 2 if stage > 0 and index == 0 else 1
            x = block(g, f"layer{stage + 1}.{index}", x, 64 << stage, stride)
    return g.build([_classifier(g, x, classes, pool="average", bias=True)])


def _basic_block(g: GraphBuilder, name: str, x: str, width: int, stride: int) -> str:
    y = _conv_relu(g, f"{name}.conv1", x, width, 3, stride, 1)
    y = g.conv_norm(f"{name}.conv2", y, width, 3, pad=1)
    return _join(g, name, x, y, stride)


def _bottleneck(g: GraphBuilder, name: str, x: str, width: int, stride: int) -> str:
    # The stride sits on the 3x3 layer (torchvision, "ResNet v1.5").
    y = _conv_relu(g, f"{name}.conv1", x, width, 1)
    y = _conv_relu(g, f"{name}.conv2", y, width, 3, stride, 1)
    y = g.conv_norm(f"{name}.conv3", y, 4 * width, 1)
    return _join(g, name, x, y, stride)


def _join(g: GraphBuilder, name: str, x: str, y: str, stride: int) -> str:
    if g.shape(x) != g.shape(y):
        x = g.conv_norm(f"{name}.downsample", x, g.shape(y)[1], 1, stride=stride)
    return g.relu(f"{name}.relu", g.elementwise(f"{name}.add", "add", y, x))


def vgg19(
    name: str, shape: Shape, *, fc_widths: Sequence[int], has_batch_norm: bool = False
) -> OpGraph:
    """Return VGG-19 with fully connected layers of ``fc_widths`` (the last one: classes)."""
    g = GraphBuilder(name, has_batch_norm=has_batch_norm)
    x = g.input("image", shape)
    for stage, (co, count) in enumerate(VGG19_WIDTHS, start=1):
        for index in range(1, count + 1):
            x = _conv_relu(g, f"conv{stage}_{index}", x, co, 3, pad=1)
        x = g.pool(f"pool{stage}", x, "max", 2)
    x = g.flatten("flatten", x)
    for index, width in enumerate(fc_widths, start=1):
        x = g.linear(f"fc{index}", x, width)
        if index < len(fc_widths):
            x = g.relu(f"fc{index}.relu", x)
    return g.build([x])
