"""Train one network by one method under several seeds.

Steps are one compiled loop, run once per seed: batching the seeds' products as well gains nothing
on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hwsim.experiments.nm_training.data import Split, batch_order, split_digits
from hwsim.experiments.nm_training.networks import Network
from hwsim.experiments.nm_training.optimisers import OPTIMISERS, Moments, Parameters
from hwsim.experiments.nm_training.products import Knobs, Masking, masked_product
from hwsim.experiments.nm_training.recipe import Recipe, Training
from models.training import TrainingSchedule

__all__ = ["plan_steps", "train", "train_seed"]


class _State(NamedTuple):
    parameters: Parameters
    moments: Moments


class _Step(NamedTuple):
    """Masks, learning rate and images of a step; stacked over steps."""

    knobs: Knobs
    rate: Array
    batch: Array


def plan_steps(
    masking: Masking, schedule: TrainingSchedule, regulariser: float
) -> list[tuple[Masking, Knobs]]:
    """Return what every optimiser step masks by; a step without pattern keeps all of M."""
    last_m = schedule.nm.nm_m if schedule.nm is not None else 1
    plan = []
    for step in range(sum(frame.steps for frame in schedule.frames())):
        nm, beta = schedule.at(step)
        nm_m = nm.nm_m if nm is not None else last_m
        nm_n = nm.nm_n if nm is not None else nm_m
        plan.append((replace(masking, nm_m=nm_m), Knobs(nm_n, beta, regulariser)))
    return plan


def train(
    network: Network,
    masking: Masking,
    schedule: TrainingSchedule,
    recipe: Recipe,
    regulariser: float = 0.0,
) -> Training:
    """Return what ``network`` reaches under ``schedule``, which lasts ``recipe.steps`` steps."""
    plan = plan_steps(masking, schedule, regulariser)
    runs = [train_seed(network, plan, recipe, seed) for seed in range(recipe.seeds)]
    accuracies, losses = zip(*runs, strict=True)
    return Training(np.array(accuracies), np.mean(losses, axis=0))


def train_seed(
    network: Network, plan: list[tuple[Masking, Knobs]], recipe: Recipe, seed: int
) -> tuple[float, np.ndarray]:
    """Return test accuracy and the losses float64[steps] of one run."""
    split, orders = _data(recipe, seed)
    parameters = jax.tree.map(jnp.asarray, network.initial(np.random.default_rng([seed, 1])))
    state = _State(parameters, Moments.zeros(parameters))
    rates = _rates(recipe, OPTIMISERS[network.optimiser].rate)
    losses, start = [], 0
    for masking, group in groupby(plan, key=lambda entry: entry[0]):
        knobs = [knob for _, knob in group]
        part = slice(start, start + len(knobs))
        steps = _Step(_stack(knobs), rates[part], orders[part])
        state, loss = _advance(network, masking, state, split.images, split.labels, steps)
        losses.append(np.asarray(loss, dtype=np.float64))
        start += len(knobs)
    masking, knobs = plan[-1]
    logits = _logits(state.parameters, split.test_images, network, masking, knobs)
    is_right = np.asarray(logits).argmax(axis=1) == split.test_labels
    return float(is_right.mean()), np.concatenate(losses)


def _stack(knobs: Sequence[Knobs]) -> Knobs:
    nm_n, beta, regulariser = zip(*knobs, strict=True)
    return Knobs(np.int32(nm_n), np.float32(beta), np.float32(regulariser))


def _data(recipe: Recipe, seed: int) -> tuple[Split, np.ndarray]:
    """Return the split of ``seed`` and int32[steps, batch], the images of each step."""
    rng = np.random.default_rng([seed, 0])
    split = split_digits(rng, recipe.train_images, recipe.noise)
    return split, batch_order(rng, recipe.train_images, recipe.batch, recipe.steps)


def _rates(recipe: Recipe, peak: float) -> np.ndarray:
    """Return float32[steps]."""
    step = np.arange(recipe.steps)
    warm = np.minimum(1.0, (step + 1) / max(recipe.warmup_steps, 1))
    return (peak * warm * 0.5 * (1 + np.cos(np.pi * step / recipe.steps))).astype(np.float32)


@partial(jax.jit, static_argnums=(2, 3))
def _logits(
    parameters: Parameters, images: Array, network: Network, masking: Masking, knobs: Knobs
) -> Array:
    """Return float32[batch, 10] of weights masked as ``knobs`` say."""
    return network.apply(
        parameters, images, lambda x, w, ci: masked_product(x, w, ci, masking, knobs)
    )


@partial(jax.jit, static_argnums=(0, 1))
def _advance(
    network: Network,
    masking: Masking,
    state: _State,
    images: Array,
    labels: Array,
    steps: _Step,
) -> tuple[_State, Array]:
    """Return the state after ``steps`` and the loss of each, float32[steps]."""
    optimiser = OPTIMISERS[network.optimiser]

    def loss_of(parameters: Parameters, step: _Step) -> Array:
        logits = _logits(parameters, images[step.batch], network, masking, step.knobs)
        chosen = jnp.take_along_axis(
            jax.nn.log_softmax(logits), labels[step.batch][:, None], axis=1
        )
        return -chosen.mean()

    def advance(state: _State, step: _Step) -> tuple[_State, Array]:
        loss, gradients = jax.value_and_grad(loss_of)(state.parameters, step)
        moved = optimiser.update(
            state.parameters, state.moments, gradients, step.rate, optimiser.weight_decay
        )
        return _State(*moved), loss

    return jax.lax.scan(advance, state, steps)
