"""Weigh what sparsity gains on the matrix engine: the compressed prompt against the dense one."""

from __future__ import annotations

from collections import Counter

import numpy as np

from hwsim.core.result import Claim
from hwsim.experiments.flightllm_runs import MODEL
from hwsim.experiments.pipeline import RunRequest, machine_of
from hwsim.flightllm.plan import plan_layers
from hwsim.flightllm.spec import FlightSpec
from hwsim.flightllm.storage import product_cycles
from models.sparsify.attention import mask_attention
from models.zoo import load_model

__all__ = ["claims", "prompt_mm_ms"]

TOKENS = 2048
KEPT_PERCENT = 30
"""Of causal blocks that the authors' masks keep at 2048 tokens (artifact's statistics)."""


def prompt_mm_ms(attention: str, query_key_percent: int) -> float:
    """Return the milliseconds that MM works for a prompt of LLaMA2-7B on the VHK158."""
    request = RunRequest(
        MODEL, "flightllm", "vhk158", phase="prefill", seq_tokens=TOKENS,
        settings=(f"query_key_percent={query_key_percent}",),
    )  # fmt: skip
    machine = machine_of(request)
    assert isinstance(machine.spec, FlightSpec)
    graph = load_model(MODEL, workload=request.workload)
    graph = mask_attention(graph, attention, np.random.default_rng(request.seed))
    layers = [one.layer for one in plan_layers(machine.adapt(graph), machine.spec)]
    # Counted, not compiled: nothing but the products' cycles is asked.
    times = Counter(layer for layer in layers if layer.tokens > 1)
    cycles = sum(count * product_cycles(layer, machine.spec) for layer, count in times.items())
    return float(1000 * cycles / (machine.clock_hz * machine.spec.speed))


def claims() -> list[Claim]:
    """Return the claim about the gain of N:M and block sparsity, at the published densities."""
    masked = f"block:64x64:{(100 - KEPT_PERCENT) / 100}"
    gain = prompt_mm_ms("dense", 100) / prompt_mm_ms(masked, 70)
    return [
        Claim(
            "flightllm.chain.gain", "MM time of a prompt of 2048, dense over sparse", gain, 1.6,
            "x", 0.125, "published", False,
            "Zeng et al., FPGA 2024; densities of the published programs: queries and keys 0.7, "
            "attention 0.3, all else dense",
        )
    ]  # fmt: skip
