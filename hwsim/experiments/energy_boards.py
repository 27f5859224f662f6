"""Set the energy tables against the power that is reported of real boards and memories.

Activity is stated below and every slot is charged, used or not; no number was fitted to a
reference. What is not modelled is named by :func:`unchecked`: soft logic outside the listed units,
its clocks, controllers. So the modelled parts must stay below a whole board (gated); whether they
come near it is reported, not gated.

FlightLLM (Zeng et al. 2024): one decode step of LLaMA2-7B on a U280, 17.50 ms at 225 MHz, and
45 W of board power, as third-party notes on its board run and a later comparison table (AccLLM)
have it. PIUMA (Hot Chips 2023, by the press): 75 W for the die and its optics, of which about 60 %
optics and 21 % the eight cores.
"""

from __future__ import annotations

from functools import cache

from hwsim.components.dram.devices import load_device
from hwsim.components.energy import EnergyTable, average_power_w, energy_by_component
from hwsim.components.energy_dram import dram_energy, dram_energy_class
from hwsim.core.result import Claim
from hwsim.core.units import ceil_div

__all__ = ["claims", "flightllm_power_w", "piuma_power_w", "unchecked"]

_U280_CLOCK_HZ = 225_000_000
_U280_STEP_CYCLES = 3_937_100  # third-party board run, decode at 128 tokens
_U280_WEIGHT_BYTES = 3_430_000_000  # third-party board notes: weights with metadata
_U280_KV_BYTES = 128 * 262_144  # LLaMA2-7B in INT8: 262 144 bytes per token
_U280_SLOTS_PER_CYCLE = (
    3 * 2 * 16 * 128
)  # three cores, authors' configuration (flightllm_test_demo)
_U280_VECTOR_BYTES_PER_CYCLE = 3 * 32  # B buffers, the same
_U280_BOARD_W = 45.0
_IDLE_CARD_W = 12.213 * 1.363 + 3.300 * 0.223
"""A U50 with its shell and nothing running, sensors of both supplies (17.4 W; output in XRT's pull
request 5184): leakage, shell, clocks, idle HBM and regulators. Assumed for the U280, whose die and
card are larger: no reading of an idle one is at hand."""

_PIUMA_CLOCK_HZ = 1_000_000_000  # assumed: not public
_PIUMA_CORES, _PIUMA_PIPELINES = 8, 6  # HotTiles (HPCA 2024): 4 + 2 pipelines per core
_PIUMA_MEMORY_SHARE_INVERSE = 3  # assumed: every third instruction accesses memory, 8 bytes
_PIUMA_CORE_MM2 = 9.2  # Hot Chips 2023, by the press
_LEAKAGE_MW_PER_MM2 = 20.0  # assumed: as static_mw of asic-7nm
_PIUMA_OPTICS_BYTES_PER_S = 32 * 32_000_000_000  # 32 ports of 32 GB/s per direction, by the press
_PIUMA_W, _PIUMA_CORE_SHARE, _PIUMA_OPTICS_SHARE = 75.0, 0.21, 0.60

_HBM2_PJ_PER_BIT = 3.97
_DDR4_PJ_PER_BIT = 1300 / 64

_NOTES = "third-party notes on FlightLLM's board run (Zeng et al. 2024); AccLLM's comparison table"
_PRESS = "Hot Chips 2023, PIUMA, as reported by the press"


@cache
def flightllm_power_w() -> dict[str, float]:
    """Return the modelled parts of the U280's power in W during a decode step."""
    cycles, clock_hz = _U280_STEP_CYCLES, _U280_CLOCK_HZ
    slots = _U280_SLOTS_PER_CYCLE * cycles
    counts = {
        "mpe": {"int8_mult": slots, "int32_add": slots},
        # Weights are written to the A buffers and read once.
        "weight_buffers": {"sram_1mb_byte": 2 * _U280_WEIGHT_BYTES},
        "vector_buffers": {"sram_32kb_byte": _U280_VECTOR_BYTES_PER_CYCLE * cycles},
    }
    idle_mw = _IDLE_CARD_W * 1000
    table = EnergyTable.named("fpga-16nm")
    energy = energy_by_component(table, counts, cycles, clock_hz, static_mw=idle_mw)
    device = load_device("hbm2-1800")
    moved = _U280_WEIGHT_BYTES + _U280_KV_BYTES
    commands = {
        "RD": ceil_div(moved, device.burst_bytes),
        "ACT": ceil_div(moved, device.row_bytes),  # assumed: long bursts use whole rows
    }
    for part, part_pj in dram_energy(device, commands, cycles, clock_hz).items():
        if part != "background":  # in the idle card
            energy[f"hbm_{part}"] = part_pj
    return {name: average_power_w(pj, cycles, clock_hz) for name, pj in energy.items()}


@cache
def piuma_power_w() -> dict[str, float]:
    """Return the modelled parts of the die's power in W, every pipeline and link busy.

    Every instruction does one FP32 multiplication, the dearest single operation of the table but
    one; half of the memory accesses go to a cache, half to the scratchpad (assumed).
    """
    second = _PIUMA_CLOCK_HZ
    instructions = _PIUMA_CORES * _PIUMA_PIPELINES * second
    accessed = instructions // _PIUMA_MEMORY_SHARE_INVERSE * 8
    counts = {
        "pipelines": {"instruction": instructions, "fp32_mult": instructions},
        "caches": {"sram_32kb_byte": accessed // 2},
        "scratchpads": {"sram_1mb_byte": accessed // 2},
        "optics": {"optical_byte": _PIUMA_OPTICS_BYTES_PER_S},
    }
    energy = energy_by_component(
        EnergyTable.named("asic-7nm"),
        counts,
        second,
        _PIUMA_CLOCK_HZ,
        static_mw=_PIUMA_CORES * _PIUMA_CORE_MM2 * _LEAKAGE_MW_PER_MM2,
    )
    return {name: average_power_w(pj, second, _PIUMA_CLOCK_HZ) for name, pj in energy.items()}


def claims() -> list[Claim]:
    """Return what holds of memories and boards, gated, and how near the boards are, not gated."""
    board, die = sum(flightllm_power_w().values()), piuma_power_w()
    cores = sum(watts for name, watts in die.items() if name != "optics")
    core_limit = _PIUMA_W * _PIUMA_CORE_SHARE
    optics_limit = _PIUMA_W * _PIUMA_OPTICS_SHARE
    hbm2, ddr4 = (dram_energy_class(family).stream_pj_per_bit() for family in ("hbm", "ddr4"))
    source = "O'Connor et al. 2017, abstract; ours from its Table 3, whole rows"
    what = "energy of a bit read from HBM2 in whole rows"
    limits = [board < _U280_BOARD_W, cores < core_limit, sum(die.values()) < _PIUMA_W]
    return [
        _claim("hbm2-bit", what, hbm2, _HBM2_PJ_PER_BIT, "pJ/bit", 0.15, "published", source),
        _is_below("parts-below-boards", limits),
        _claim(
            "piuma-optics",
            "optical links of a PIUMA die, all busy in both directions",
            *(die["optics"], optics_limit, "W", 0.15, "third-party", _PRESS),
        ),
        _claim(
            "piuma-cores",
            "the eight cores of a PIUMA die, every pipeline issuing",
            *(cores, core_limit, "W", 0.25, "third-party", _PRESS),
            gated=False,
        ),
        _claim(
            "flightllm-u280",
            "U280 board decoding LLaMA2-7B with FlightLLM",
            *(board, _U280_BOARD_W, "W", 0.25, "third-party", _NOTES),
            gated=False,
        ),
        _claim(
            "ddr4-bit",
            "energy of a bit read from DDR4 in whole rows, without background and controller",
            *(ddr4, _DDR4_PJ_PER_BIT, "pJ/bit", 0.25, "published", "Jouppi et al. 2021, Table 2"),
            gated=False,
        ),
    ]


def unchecked() -> list[str]:
    """Return what is known to be missing from the modelled powers."""
    return [
        "energy: power of a U280's soft logic and its clocks, and what regulators lose under load; "
        "no breakdown of its 45 W is at hand.",
        "energy: power of PIUMA's routers, memory controllers and PCIe, and its clock; only "
        "shares of cores and optics are reported.",
    ]


def _claim(
    name: str,
    what: str,
    simulated: float,
    reference: float,
    unit: str,
    tolerance: float,
    basis: str,
    source: str,
    *,
    gated: bool = True,
) -> Claim:
    return Claim(
        f"energy-{name}", what, simulated, reference, unit, tolerance, basis, gated, source
    )


def _is_below(name: str, holds: list[bool]) -> Claim:
    what = "modelled parts that stay below the reported power of the whole: U280, cores, die"
    return _claim(
        name, what, sum(holds), len(holds), "cases", 0.0, "derived", f"{_NOTES}; {_PRESS}"
    )
