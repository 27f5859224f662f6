"""Do masks of blocks skip what they drop, in time and in values?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hwsim.core.formats.block_mask import BlockMask, mask_text
from hwsim.experiments import quantised_model
from hwsim.experiments.pipeline import RunRequest, execute
from hwsim.flightllm import attention_view
from hwsim.flightllm.attention_view import group_view, heads_of_core
from hwsim.flightllm.isa import LD, MM
from hwsim.flightllm.lower import layer_body
from hwsim.flightllm.plan import Layer
from hwsim.flightllm.spec import PRESETS, FlightSpec
from hwsim.flightllm.timing import play_body
from tests.flightllm.test_verify import folder

__all__ = ["folder"]

SPEC = PRESETS["vhk158"]
assert isinstance(SPEC, FlightSpec)
TOKENS = 384
SCORES = Layer(
    "scores", TOKENS, k=128, n=TOKENS, heads=2, context=TOKENS, is_causal=True,
    functions=("softmax",), mask_tokens=TOKENS,
)  # fmt: skip
MIX = replace(SCORES, kind="mix", k=TOKENS, n=128, functions=())


def masked(layer: Layer, kept: np.ndarray[Any, Any]) -> Layer:
    return replace(layer, mask=mask_text(BlockMask(kept, TOKENS)))


def counts(layer: Layer) -> np.ndarray[Any, Any]:
    return layer_body(layer, 0, SPEC).counts()


@pytest.mark.parametrize("layer", [SCORES, MIX])
def test_a_mask_that_keeps_all_costs_what_none_does(layer: Layer) -> None:
    whole = masked(layer, np.tile(np.tri(6, dtype=bool), (2, 1, 1)))
    built, plain = layer_body(whole, 0, SPEC), layer_body(replace(layer, mask_tokens=0), 0, SPEC)
    assert (built.counts() == plain.counts()).all()
    assert play_body(built).cycles == play_body(plain).cycles
    assert (built.hbm_read, built.hbm_write) == (plain.hbm_read, plain.hbm_write)


def test_empty_blocks_below_the_diagonal_are_neither_loaded_nor_multiplied() -> None:
    """The last group of 128 rows sees blocks 0 and 4, and 0 and 5: three of six."""
    kept = np.tile(np.tri(6, dtype=bool), (2, 1, 1))
    kept[0, 4:] = False
    kept[0, 4, [0, 4]] = kept[0, 5, [0, 5]] = True
    view = group_view(masked(SCORES, kept), 0, 2, SPEC)
    assert (view.kept, view.union, view.runs) == ((128, 128), 192, (64, 128))
    # Over blocks 0, 4 and 5: kept, kept, not; kept, not, kept.
    assert view.spans == ((128, 64), (64, 64, 64))
    # Three blocks less in steps of 16 keys.
    assert counts(replace(SCORES, mask_tokens=0))[MM] - counts(masked(SCORES, kept))[MM] == 12
    found = layer_body(masked(MIX, kept), 0, SPEC)
    whole = layer_body(replace(MIX, mask_tokens=0), 0, SPEC)
    steps = 128 // 16
    # Values of the last group come in two pieces per step, shares of its last 64 rows too, and
    # zeros are one stretch more for the first 64 (4 channels), as many as before for the others.
    assert found.counts()[LD] - whole.counts()[LD] == steps + 4 + 4
    # Of 64 rows' shares, 128 of 320, 128 of 384 are stored and loaded.
    assert _filled(whole) - _filled(found) == 64 * (320 + 384 - 128 - 128)
    assert play_body(found).cycles < play_body(whole).cycles


def _filled(body: Any) -> int:
    return int(body.filled["a_buffer"])


def test_the_core_with_the_most_blocks_counts() -> None:
    spec = SPEC.model_copy(update={"timing": "independent", "cores": 2})
    kept = np.tile(np.tri(6, dtype=bool), (2, 1, 1))
    kept[0, 3:, :3] = False
    assert heads_of_core(masked(SCORES, kept), spec) == range(1, 2)
    assert heads_of_core(masked(SCORES, kept[::-1]), spec) == range(1)


def run(model: str, **asked: Any) -> Any:
    return execute(RunRequest(model, "flightllm", "vhk158", phase="prefill", **asked))


def test_a_masked_prompt_is_shorter_and_its_values_equal_golden(folder: str) -> None:
    asked: dict[str, Any] = {"seq_tokens": 300, "is_verified": True}
    whole, half = run(folder, **asked), run(folder, attention="block:64x64:0.5", **asked)
    assert half.cycles < whole.cycles
    assert all(record["equal"] for record in half.verification)
    assert half.verification[-1]["layer"] == "whole model"
    # 15 causal blocks, 8 kept (round(7.5)).
    assert "attention keeps 0.533 of its causal blocks in 2 layers" in half.notes


def test_a_product_that_sees_dropped_blocks_is_noticed(folder: str, monkeypatch: Any) -> None:
    real = attention_view.kept_of_group
    monkeypatch.setattr(attention_view, "kept_of_group", lambda *a: np.ones_like(real(*a)))
    monkeypatch.setattr(quantised_model, "MAX_MODEL_MACS", 0)
    found = run(folder, attention="block:64x64:0.5", seq_tokens=300, is_verified=True)
    assert {r["layer"] for r in found.verification if not r["equal"]} == {
        "l0.attn.mix",
        "l1.attn.mix",
    }


def test_every_core_multiplies_what_its_own_heads_keep(folder: str) -> None:
    asked: dict[str, Any] = {"attention": "block:64x64:0.5", "seq_tokens": 300}
    request = RunRequest(folder, "flightllm", "u280", phase="prefill", is_verified=True, **asked)
    assert all(record["equal"] for record in execute(request).verification)
