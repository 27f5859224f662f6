"""The simulator runs the code that is executed for real."""

from __future__ import annotations

from hwsim.cpu.execute.aarch64_emulator import run_aarch64
from hwsim.cpu.execute.calls import spmm_call
from hwsim.cpu.execute.simulated import simulate_calls
from hwsim.cpu.microkernel.target import AARCH64
from hwsim.cpu.spec import PRESETS
from tests.cpu.layers import make_layer


def test_what_is_simulated_is_what_was_executed() -> None:
    layer = make_layer(12, 10, 37, 0.4, seed=3)
    call = spmm_call(AARCH64, layer.weights, layer.bias, layer.x, mr=16)
    cold, warm = simulate_calls(call, PRESETS["sd835"])
    executed = len(run_aarch64(call, is_traced=True).addresses)
    assert cold.instructions == warm.instructions == executed
    assert warm.cycles < cold.cycles
    # Multiply-add lanes: pairs at least, so the one-pixel tail (37 = 2 * 16 + 4 + 1) counts two.
    assert cold.macs == int((layer.weights != 0).sum()) * 38
