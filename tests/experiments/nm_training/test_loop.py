"""Training loop: what each step masks by, an update by hand, and that it learns the same twice."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from hwsim.experiments.nm_training.data import batch_order, split_digits
from hwsim.experiments.nm_training.loop import plan_steps, train
from hwsim.experiments.nm_training.networks import NETWORKS, Network
from hwsim.experiments.nm_training.optimisers import OPTIMISERS, Moments
from hwsim.experiments.nm_training.products import Masking
from hwsim.experiments.nm_training.recipe import Recipe
from hwsim.experiments.nm_training.study import CASES
from models.training import TrainingMethod, parse_schedule

RECIPE = Recipe(seeds=2, steps=40, warmup_steps=4, batch=32, train_images=400)
BDWP = Masking(TrainingMethod.BDWP)
INPUTS, CLASSES = 64, 10


def one_product() -> Network:
    """Return the smallest network that learns: one sparse product from pixels to 16 numbers."""

    def initial(rng):
        return {"w": (0.1 * rng.standard_normal((INPUTS, 16))).astype(np.float32)}

    def apply(parameters, images, product):
        rows = images.reshape(-1, 1, INPUTS)
        return product(rows, parameters["w"], INPUTS)[:, 0, :CLASSES]

    return Network("toy", "one product", "sgd", initial, apply)


@pytest.fixture(scope="module")
def network():
    return one_product()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_plans_one_mask_per_step_and_ends_with_its_pattern(case):
    steps = 300
    plan = plan_steps(case.masking, case.schedule(steps), case.regulariser)
    assert len(plan) == steps
    masking, knobs = plan[-1]
    if case.kind == "dense":
        assert knobs.nm_n == masking.nm_m
    else:
        assert f"{knobs.nm_n}:{masking.nm_m}" == case.pattern
    assert knobs.beta == 0.0
    assert masking.method is case.masking.method


def test_decays_follow_their_schedule_step_by_step():
    schedule = parse_schedule("sdgf-geo:1:8:dense=2,fine=2", 12)
    plan = plan_steps(BDWP, schedule, 0.0)
    kept = [f"{knobs.nm_n}:{masking.nm_m}" for masking, knobs in plan]
    frames = ["8:64"] * 2 + ["4:32"] * 2 + ["2:16"] * 2 + ["1:8"] * 2
    assert kept == ["8:8"] * 2 + frames + ["1:8"] * 2
    linear = plan_steps(BDWP, parse_schedule("mdgf-linear:1:8:c=0.25", 6), 0.0)
    assert [knobs.beta for _, knobs in linear] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


def test_it_learns_the_same_twice_and_otherwise_with_other_masks(network):
    dense = train(network, BDWP, parse_schedule("dense:steps=40"), RECIPE)
    assert dense.accuracy.shape == (2,)
    assert dense.loss.shape == (40,)
    assert dense.loss[0] > 2 * dense.loss[-5:].mean()
    assert dense.accuracy.min() > 0.6  # ten classes: chance is 0.1
    again = train(network, BDWP, parse_schedule("dense:steps=40"), RECIPE)
    np.testing.assert_array_equal(dense.loss, again.loss)
    sparse = train(network, BDWP, parse_schedule("constant:1:32", 40), RECIPE)
    turned = train(
        network, replace(BDWP, keeps_smallest=True), parse_schedule("constant:1:32", 40), RECIPE
    )
    assert turned.accuracy.max() < sparse.accuracy.min() < dense.accuracy.min()


def test_momentum_and_adam_move_weights_as_written_out():
    rng = np.random.default_rng(1)
    w, v, s, g = (rng.standard_normal(6).astype(np.float32) for _ in range(4))
    s = np.abs(s)
    moments = Moments({"w": v}, {"w": s}, 4)
    rate = np.float32(0.1)
    moved, after = OPTIMISERS["sgd"].update({"w": w}, moments, {"w": g}, rate, 0.01)
    velocity = 0.9 * v + g + 0.01 * w
    np.testing.assert_allclose(after.first["w"], velocity, rtol=1e-5)
    np.testing.assert_allclose(moved["w"], w - 0.1 * velocity, rtol=1e-5)
    moved, after = OPTIMISERS["adam"].update({"w": w}, moments, {"w": g}, rate, 0.01)
    first, second = 0.9 * v + 0.1 * g, 0.999 * s + 0.001 * g * g
    scaled = first / (1 - 0.9**5) / (np.sqrt(second / (1 - 0.999**5)) + 1e-8)
    np.testing.assert_allclose(moved["w"], w - 0.1 * (scaled + 0.01 * w), rtol=1e-4)
    assert after.updates == 5


def test_splits_share_no_image_and_batches_pass_over_all_of_them():
    split = split_digits(np.random.default_rng(2), 800, noise=0.0)
    assert split.images.shape == (800, 8, 8)
    assert len(split.images) + len(split.test_images) == 1797
    train_rows, test_rows = (
        {image.tobytes() for image in images} for images in (split.images, split.test_images)
    )
    assert not train_rows & test_rows
    orders = batch_order(np.random.default_rng(2), 100, 30, 7)
    assert orders.shape == (7, 30)
    for epoch in (orders[:3], orders[3:6]):
        assert len(np.unique(epoch)) == 90
    assert (orders[:3] != orders[3:6]).any()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_both_networks_give_logits_and_hand_every_sparse_layer_to_the_product(name):
    network = NETWORKS[name]
    parameters = network.initial(np.random.default_rng(0))
    shapes = []

    def product(x, w, channels):
        shapes.append((w.shape, channels))
        return x @ w

    images = np.zeros((3, 8, 8), np.float32)
    logits = jax.eval_shape(lambda p: network.apply(p, images, product), parameters)
    assert logits.shape == (3, CLASSES)
    # The longest group of any schedule has 64 values; the first layer and the head stay dense.
    assert all(
        channels % 64 == shape[1] % 64 == shape[0] % channels == 0 for shape, channels in shapes
    )
    assert len(shapes) == {"cnn": 3, "transformer": 8}[name]
