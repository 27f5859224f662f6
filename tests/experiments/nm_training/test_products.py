"""A sparse product and its gradients: each method's formulas, written out in numpy."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from hwsim.experiments.nm_training.products import RESCALE_EPSILON, Knobs, Masking, masked_product
from models.training import TrainingMethod

BATCH, POSITIONS, CHANNELS, TAPS, CO = 3, 5, 8, 2, 16
NM_N, NM_M = 1, 4
LAMBDA = 0.25
"""Far above SR-STE's, so that a forgotten or doubled regulariser cannot hide in rounding."""


@pytest.fixture
def case():
    """Return x, W and dY."""
    rng = np.random.default_rng(3)
    shapes = ((BATCH, POSITIONS, TAPS * CHANNELS), (TAPS * CHANNELS, CO), (BATCH, POSITIONS, CO))
    return tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)


def kept(values: np.ndarray, axis: int) -> np.ndarray:
    """Return ``values`` with zeros where fewer than NM_N of its group are smaller."""
    lines = np.moveaxis(values, axis, -1)
    groups = lines.reshape(-1, NM_M)
    limit = np.sort(np.abs(groups), axis=1)[:, -NM_N, None]
    pruned = np.where(np.abs(groups) >= limit, groups, 0).reshape(lines.shape)
    return np.moveaxis(pruned, -1, axis)


def expected(method, x, w, dy, regulariser=0.0):
    """Return Y, dX and dW as the method's definition says."""
    w_ff = kept(w, 0) if method in ("sr-ste", "bdwp") else w
    w_bp = {"sr-ste": w_ff, "sdwp": kept(w, 1), "bdwp": kept(w, 1)}.get(method, w)
    dy_bp = kept(dy, 2) if method == "sdgp" else dy
    dw = np.einsum("bpk,bpc->kc", x, dy) + regulariser * (w - w_ff)
    return x @ w_ff, dy_bp @ w_bp.T, dw


def computed(masking, knobs, x, w, dy, channels=CHANNELS):
    """Return Y, dX and dW of the compiled product."""
    y, pull = jax.vjp(lambda x, w: masked_product(x, w, channels, masking, knobs), x, w)
    return y, *pull(dy)


def assert_close(found, wanted):
    for name, mine, theirs in zip(("Y", "dX", "dW"), found, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("regulariser", [0.0, LAMBDA])
@pytest.mark.parametrize("method", [m.value for m in TrainingMethod])
def test_forward_and_both_gradients_are_those_of_the_method(case, method, regulariser):
    masking = Masking(TrainingMethod(method), NM_M)
    found = computed(masking, Knobs(NM_N, 0.0, regulariser), *case)
    assert_close(found, expected(method, *case, regulariser))


@pytest.mark.parametrize("method", [m.value for m in TrainingMethod])
def test_no_two_methods_agree_on_all_three_products(case, method):
    masking = Masking(TrainingMethod(method), NM_M)
    found = computed(masking, Knobs(NM_N, 0.0, LAMBDA), *case)
    for other in TrainingMethod:
        if other.value != method:
            with pytest.raises(AssertionError):
                assert_close(found, expected(other.value, *case, LAMBDA))


@pytest.mark.parametrize("method", [m.value for m in TrainingMethod])
def test_keeping_all_of_a_group_is_dense(case, method):
    found = computed(Masking(TrainingMethod(method), NM_M), Knobs(NM_M), *case)
    assert_close(found, expected("dense", *case))


def test_a_decaying_mask_lets_masked_weights_through_in_part(case):
    x, w, dy = case
    beta = 0.5
    found = computed(Masking(TrainingMethod.SR_STE, NM_M), Knobs(NM_N, beta), *case)
    w_ff = beta * w + (1 - beta) * kept(w, 0)
    assert_close(found, (x @ w_ff, dy @ w_ff.T, np.einsum("bpk,bpc->kc", x, dy)))


def test_sdgp_rescaled_gives_back_the_norm_of_each_sample_and_channel(case):
    x, w, dy = case
    found = computed(Masking(TrainingMethod.SDGP, NM_M, is_rescaled=True), Knobs(NM_N), *case)
    whole, left = (np.abs(part).sum(axis=1, keepdims=True) for part in (dy, kept(dy, 2)))
    dy_bp = kept(dy, 2) * whole / (left + RESCALE_EPSILON)
    assert_close(found, (x @ w, dy_bp @ w.T, np.einsum("bpk,bpc->kc", x, dy)))


def test_a_direction_whose_channels_m_does_not_divide_stays_dense(case):
    x, w, dy = case
    narrow = w[:, :6]  # 6 output channels in groups of 4
    found = computed(Masking(TrainingMethod.BDWP, NM_M), Knobs(NM_N), x, narrow, dy[..., :6])
    y, _, dw = expected(
        "bdwp", x, np.pad(narrow, ((0, 0), (0, 2))), np.pad(dy[..., :6], ((0, 0), (0, 0), (0, 2)))
    )
    assert_close(found, (y[..., :6], dy[..., :6] @ narrow.T, dw[:, :6]))
    # Two taps of 8 channels, or eight of 2: only the former have groups of 4 channels.
    assert_close(
        computed(Masking(TrainingMethod.SR_STE, NM_M), Knobs(NM_N), *case, 2),
        expected("dense", *case),
    )
