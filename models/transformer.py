"""Build the vision transformers of the zoo."""

from __future__ import annotations

import math

from hwsim.core.graph import OpGraph
from models.build import GraphBuilder

__all__ = ["attention", "feed_forward", "vit"]

Shape = tuple[int, ...]


def attention(g: GraphBuilder, name: str, x: str, heads: int, *, qkv_bias: bool) -> str:
    """Append multi-head self-attention on ``x`` [batch, tokens, dim]; both products are MATMULs."""
    batch, tokens, dim = g.shape(x)
    head = dim // heads
    qkv = g.linear(f"{name}.qkv", x, 3 * dim, bias=qkv_bias)
    parts = []
    for index, part in enumerate("qkv"):
        cut = g.slice(f"{name}.{part}", qkv, -1, index * dim, dim)
        split = g.reshape(f"{name}.{part}.heads", cut, (batch, tokens, heads, head))
        # Keys come transposed, [batch, heads, head, tokens], ready for the product.
        perm = (0, 2, 3, 1) if part == "k" else (0, 2, 1, 3)
        parts.append(g.transpose(f"{name}.{part}.transpose", split, perm))
    q, k, v = parts
    scores = g.matmul(f"{name}.qk", q, k)
    scores = g.elementwise(f"{name}.scale", "mul", scores, scalar=1.0 / math.sqrt(head))
    mixed = g.matmul(f"{name}.av", g.softmax(f"{name}.softmax", scores), v)
    mixed = g.transpose(f"{name}.transpose", mixed, (0, 2, 1, 3))
    joined = g.reshape(f"{name}.join", mixed, (batch, tokens, dim))
    return g.linear(f"{name}.proj", joined, dim)


def feed_forward(g: GraphBuilder, name: str, x: str, hidden: int) -> str:
    """Append dim > ``hidden`` > dim with a GELU between, on ``x`` [batch, tokens, dim]."""
    dim = g.shape(x)[-1]
    y = g.elementwise(f"{name}.gelu", "gelu", g.linear(f"{name}.ff1", x, hidden))
    return g.linear(f"{name}.ff2", y, dim)


def vit(
    name: str,
    shape: Shape,
    *,
    patch: int,
    dim: int,
    layers: int,
    heads: int,
    hidden: int,
    classes: int,
    qkv_bias: bool,
    has_batch_norm: bool = False,
) -> OpGraph:
    """Return a pre-norm vision transformer (Dosovitskiy et al. 2021) on images ``shape``.

    The patch embedding is the equivalent convolution with kernel and stride ``patch``. The class
    token and its position are one constant: the sequence is padded by one row of zeros in front
    and the position constants [1, tokens + 1, dim] are added. It has layer normalisations only, so
    ``has_batch_norm`` changes nothing.
    """
    g = GraphBuilder(name, has_batch_norm=has_batch_norm)
    x = g.conv("patch_embed", g.input("image", shape), dim, patch, stride=patch)
    batch, _, oh, ow = g.shape(x)
    tokens = oh * ow
    x = g.reshape("patch_embed.flatten", x, (batch, dim, tokens))
    x = g.transpose("patch_embed.transpose", x, (0, 2, 1))
    x = g.pad("cls_token", x, (0, 1, 0), (0, 0, 0))
    position = g.weight("pos_embed.weight", (1, tokens + 1, dim))
    x = g.elementwise("pos_embed", "add", x, position)
    for index in range(layers):
        block = f"blocks.{index}"
        y = g.layer_norm(f"{block}.norm1", x)
        y = attention(g, f"{block}.attn", y, heads, qkv_bias=qkv_bias)
        x = g.elementwise(f"{block}.add1", "add", x, y)
        y = feed_forward(g, f"{block}.mlp", g.layer_norm(f"{block}.norm2", x), hidden)
        x = g.elementwise(f"{block}.add2", "add", x, y)
    x = g.slice("cls", x, 1, 0, 1)
    x = g.layer_norm("norm", g.reshape("cls.flatten", x, (batch, dim)))
    return g.build([g.linear("head", x, classes)])
