"""Constants of an update and tensors of an iteration are checked by name."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.sat.training_state import SgdRule, check_values
from models.build import GraphBuilder


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_loss_scale_is_positive(scale: float) -> None:
    with pytest.raises(InputError, match="loss_scale: need more than 0, found"):
        SgdRule(loss_scale=scale)


def test_a_missing_or_misshapen_tensor_is_named() -> None:
    b = GraphBuilder("net")
    graph = b.build([b.relu("act", b.input("x", (2, 3)))])
    check_values(graph, ["x"], {"x": np.zeros((2, 3))})
    with pytest.raises(InputError, match=r"input x: need shape \(2, 3\), found none"):
        check_values(graph, ["x"], {})
    with pytest.raises(InputError, match=r"input x: need shape \(2, 3\), found shape \(3, 2\)"):
        check_values(graph, ["x"], {"x": np.zeros((3, 2))})
