"""The simulator runs generated code; its inner loops take what LLVM's tables say."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.cpu.execute.aarch64_emulator import run_aarch64
from hwsim.cpu.execute.calls import spmm_call
from hwsim.cpu.execute.simulated import simulate_calls
from hwsim.cpu.microkernel.target import AARCH64
from hwsim.cpu.spec import PRESETS
from tests.cpu.layers import make_layer


def cycles_per_block(rules: str, mr: int, nr: int, form: str) -> float:
    """Return the steady-state cycles per nonzero block of one strip, every access in the L1."""
    spec = PRESETS["sd835"].override([f"core.rules={rules}"])
    cycles = []
    for blocks in (300, 900):
        ones = np.ones((nr, blocks), dtype=np.float32)
        x = np.zeros((blocks, mr), dtype=np.float32)
        call = spmm_call(AARCH64, ones, np.zeros(nr), x, mr=mr, nr=nr, form=form)
        cycles.append(simulate_calls(call, spec, times=1, is_ideal=True)[0].cycles)
    return (cycles[1] - cycles[0]) / 600


# XNNPACK's loops of the same instructions by clang 14 -O2 under llvm-mca: Cortex-A57's tables
# (LLVM 14) and Neoverse-N1's (LLVM 19).
@pytest.mark.parametrize(
    ("mr", "nr", "form", "a57", "n1"),
    [
        (16, 1, "plain", 8.05, 4.04),
        (32, 1, "pipelined", 13.05, 6.55),
        (16, 4, "plain", 16.09, 8.06),
        (32, 2, "plain", 16.11, 8.07),
    ],
)
def test_inner_loops_take_what_llvm_says(
    mr: int, nr: int, form: str, a57: float, n1: float
) -> None:
    assert cycles_per_block("a57", mr, nr, form) == pytest.approx(a57, rel=0.05)
    assert cycles_per_block("n1", mr, nr, form) == pytest.approx(n1, rel=0.05)


def test_two_nonzeros_per_turn_cost_no_more_than_twice_one() -> None:
    # Loads bound both: 4 vectors, weight, increment and 2 prefetches at one per cycle.
    assert cycles_per_block("a57", 16, 1, "u2") == pytest.approx(8, rel=0.02)


def test_what_is_simulated_is_what_was_executed() -> None:
    layer = make_layer(12, 10, 37, 0.4, seed=3)
    call = spmm_call(AARCH64, layer.weights, layer.bias, layer.x, mr=16)
    cold, warm = simulate_calls(call, PRESETS["sd835"])
    executed = len(run_aarch64(call, is_traced=True).addresses)
    assert cold.instructions == warm.instructions == executed
    assert warm.cycles < cold.cycles
    # Multiply-add lanes: pairs at least, so the one-pixel tail (37 = 2 * 16 + 4 + 1) counts two.
    assert cold.macs == int((layer.weights != 0).sum()) * 38
