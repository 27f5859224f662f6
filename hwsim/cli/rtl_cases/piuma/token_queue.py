"""Draw what is played against the queue engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwsim.cli.rtl_cases.case import Case
from hwsim.cli.rtl_cases.piuma.replay import pack_fields, replayed_case
from hwsim.piuma.token_queue import Operation, TokenQueueModel, pair_up
from hwsim.piuma.unit_model import play
from hwsim.piuma.unit_spec import TokenQueueSpec
from rtl.cosim.vectors import random_stalls

__all__ = ["random_operations", "token_queue_case", "token_queue_cases"]


def random_operations(
    spec: TokenQueueSpec, rng: np.random.Generator, tokens: int
) -> list[list[Operation]]:
    """Return ``tokens`` pushes from port 0 and as many pops from the others, or all from one."""

    def push() -> Operation:
        return Operation(True, 0, int(rng.integers(0, 1 << min(spec.token_bits, 62))))

    def pop() -> Operation:
        return Operation(False, int(rng.integers(0, 1 << spec.tag_bits)), 0)

    if spec.ports == 1:
        # In pairs, either first, so that neither tokens nor pops pile up.
        pairs = [(push(), pop()) for _ in range(tokens)]
        return [[one for pair in pairs for one in (pair if rng.random() < 0.5 else pair[::-1])]]
    operations: list[list[Operation]] = [[push() for _ in range(tokens)]]
    operations += [[] for _ in range(spec.ports - 1)]
    for port in rng.integers(1, spec.ports, tokens):
        operations[port].append(pop())
    return operations


def token_queue_case(
    spec: TokenQueueSpec,
    operations: Sequence[Sequence[Operation]],
    *,
    push_gap_share: float = 0.0,
    pop_gap_share: float = 0.0,
    stall_share: float = 0.0,
    seed: int = 0,
) -> Case:
    """Return what the queue must answer to the ``operations`` of every port, and when.

    Gaps of port 0 make the others wait for tokens; gaps of the others fill the queue.
    """
    rng = np.random.default_rng(seed)
    model = TokenQueueModel(spec)
    cycles = 3 * max(map(len, operations))
    shares = [push_gap_share, *[pop_gap_share] * (spec.ports - 1)]
    gaps = {
        name: random_stalls(rng, cycles, share)
        for name, share in zip(model.inputs, shares, strict=True)
    }
    stalls = {"o": random_stalls(rng, cycles, stall_share)}
    inputs = dict(zip(model.inputs, operations, strict=True))
    played = play(model, inputs, gaps=gaps, stalls=stalls)
    done = sorted(
        (cycle, port, operation)
        for port, name in enumerate(model.inputs)
        for cycle, operation in zip(played.cycles[name], operations[port], strict=True)
    )
    answers = pair_up([(port, operation) for _, port, operation in done])
    packing = pack_fields(1, spec.tag_bits, spec.token_bits)
    packings = dict.fromkeys(model.inputs, packing)
    packings["o"] = pack_fields(spec.port_bits, spec.tag_bits, spec.token_bits)
    return replayed_case(model, played, packings, expected={"o": answers}, stalls=stalls, seed=seed)


def token_queue_cases(spec: TokenQueueSpec, seed: int) -> list[Case]:
    """Return a queue that runs empty, one that runs full, and one with stalls."""
    rng = np.random.default_rng(seed)
    shares = [(0.6, 0.0, 0.0), (0.0, 0.9, 0.0), (0.3, 0.5, 0.3)]
    return [
        token_queue_case(
            spec,
            random_operations(spec, rng, 500),
            push_gap_share=push,
            pop_gap_share=pop,
            stall_share=stall,
            seed=seed,
        )
        for push, pop, stall in shares
    ]
