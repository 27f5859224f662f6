"""Hold the mobile networks to their published sizes, and the released sparsity to its layers."""

from __future__ import annotations

import pytest

from hwsim.core.errors import InputError
from hwsim.core.sparsity import Block, Unstructured
from models.mobile import round_channels
from models.sparsify.published import PUBLISHED, prune_as_published
from models.zoo import load_model


@pytest.mark.parametrize(
    ("name", "mega_macs"),
    [
        ("mobilenet-v1-1.0", 568.7),  # Howard et al. 2017, table 8: 569
        ("mobilenet-v1-0.5", 149.0),
        ("mobilenet-v2-1.0", 300.0),  # Sandler et al. 2018, table 4
        ("mobilenet-v2-1.4", 585.0),
    ],
)
def test_multiply_accumulates_are_the_published_ones(name: str, mega_macs: float) -> None:
    assert load_model(name).totals()["macs"] / 1e6 == pytest.approx(mega_macs, rel=0.01)


def test_efficientnets_have_their_published_size() -> None:
    # Tan and Le 2019, table 2: 0.39 and 0.70 billion multiply-adds; 5.3 and 7.8 million weights.
    for name, giga, million in (("efficientnet-b0", 0.39, 5.3), ("efficientnet-b1", 0.70, 7.8)):
        totals = load_model(name).totals()
        assert totals["macs"] / 1e9 == pytest.approx(giga, rel=0.02)
        assert totals["weight_elems"] / 1e6 == pytest.approx(million, rel=0.02)


def test_mobilenet_v1_at_90_percent_keeps_83_million_products() -> None:
    # 568.7 M less 90 % of the 539.5 M of the 1x1 layers.
    graph = prune_as_published(load_model("mobilenet-v1-1.0"))
    assert graph.totals()["useful_macs"] / 1e6 == pytest.approx(83.2, rel=0.005)


def test_blocks_begin_where_the_released_models_say() -> None:
    graph = prune_as_published(load_model("mobilenet-v1-1.0"))
    patterns = {op.name: op.weight.pattern for op in graph.ops() if op.weight is not None}
    assert patterns["block12.pw"] == Unstructured(keep=0.1)
    assert patterns["block13.pw"] == Block(rows=1, cols=4, keep=0.1)
    assert patterns["conv0"].is_dense
    assert patterns["block13.dw"].is_dense
    assert patterns["fc"].is_dense
    graph = prune_as_published(load_model("mobilenet-v2-1.4"))
    assert graph.op("block10.project").weight.pattern == Unstructured(keep=0.15)
    assert graph.op("block11.expand").weight.pattern == Block(rows=1, cols=2, keep=0.15)
    assert graph.op("conv_last").weight.pattern == Block(rows=1, cols=2, keep=0.15)


def test_efficientnets_prune_the_classifier_and_leave_squeeze_and_excite() -> None:
    graph = prune_as_published(load_model("efficientnet-b0"))
    assert graph.op("fc").weight.pattern == Unstructured(keep=0.2)
    assert graph.op("block2.se.reduce").weight.pattern.is_dense
    assert graph.op("block2.expand").weight.pattern == Unstructured(keep=0.2)


def test_a_network_without_a_released_sparse_model_is_refused() -> None:
    with pytest.raises(InputError, match="none published for resnet18"):
        prune_as_published(load_model("resnet18"))
    assert all(load_model(name).name == name for name in PUBLISHED)


@pytest.mark.parametrize(
    ("channels", "expected"), [(44.8, 48), (33.6, 32), (22.4, 24), (134.4, 136), (3, 8), (11.2, 16)]
)
def test_channels_round_to_eight_but_lose_no_tenth(channels: float, expected: int) -> None:
    assert round_channels(channels) == expected
