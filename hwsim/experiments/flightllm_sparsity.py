"""Weigh what sparsity gains on the matrix engine: the compressed prompt against the dense one."""

from __future__ import annotations

from hwsim.core.result import Claim
from hwsim.experiments.flightllm_runs import MODEL
from hwsim.experiments.pipeline import RunRequest, prepare
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.sim import busy_ms
from hwsim.flightllm.spec import FlightSpec

__all__ = ["claims", "prompt_mm_ms"]

TOKENS = 2048
KEPT_PERCENT = 30
"""Of causal blocks that the authors' masks keep at 2048 tokens (artifact's statistics)."""


def prompt_mm_ms(attention: str, query_key_percent: int) -> float:
    """Return the milliseconds that MM works for a prompt of LLaMA2-7B on the VHK158."""
    setting = f"query_key_percent={query_key_percent}"
    made = prepare(
        RunRequest(
            MODEL, "flightllm", "vhk158", phase="prefill", seq_tokens=TOKENS,
            attention=attention, settings=(setting,),
        )
    )  # fmt: skip
    assert isinstance(made.program, FlightProgram)
    assert isinstance(made.machine.spec, FlightSpec)
    return busy_ms(made.program, made.machine.spec)["mm"]


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
