"""Set the energy tables against the power that is reported of real boards and memories.

FlightLLM's activity is that of a simulated step, PIUMA's is stated below; no number was fitted to
a reference. What is not modelled is named by :func:`tables` and :func:`unchecked`: parts without
RTL, controllers, regulators. So the modelled parts must stay below a whole board (gated); whether
they come near it is reported, not gated.

FlightLLM (Zeng et al. 2024): one decode step of LLaMA2-7B on a U280, and 45 W of board power, as
third-party notes on its board run and a later comparison table (AccLLM) have it. PIUMA (Hot Chips
2023, by the press): 75 W for the die and its optics, of which about 60 % optics and 21 % the eight
cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from hwsim.components.dram.devices import load_device
from hwsim.components.energy import EnergyTable, average_power_w, energy_by_component
from hwsim.components.energy_dram import dram_energy, dram_energy_class
from hwsim.core.result import Claim
from hwsim.core.units import ceil_div
from hwsim.experiments.claims import ClaimMaker
from hwsim.experiments.flightllm_runs import run
from hwsim.flightllm.energy import REST
from hwsim.piuma.energy import BLOCK_STATIC_MW, REGISTER_BYTES
from hwsim.piuma.spec import PRESETS as PIUMA_PRESETS
from hwsim.report.tables import DataTable

__all__ = [
    "claims",
    "flightllm_power_w",
    "piuma_power_w",
    "streaming_pj_per_bit",
    "tables",
    "unchecked",
]

_U280_CONTEXT = 128
_U280_BOARD_W = 45.0

_PIUMA_MEMORY_SHARE_INVERSE = 3  # assumed: every third instruction accesses memory, 8 bytes
_PIUMA_OPTICS_BYTES_PER_S = 32 * 32_000_000_000  # 32 ports of 32 GB/s per direction, by the press
_PIUMA_W, _PIUMA_CORE_SHARE, _PIUMA_OPTICS_SHARE = 75.0, 0.21, 0.60

_HBM2_PJ_PER_BIT = 3.97
_DDR4_PJ_PER_BIT = 1300 / 64

_NOTES = "third-party notes on FlightLLM's board run (Zeng et al. 2024); AccLLM's comparison table"
_PRESS = "Hot Chips 2023, PIUMA, as reported by the press"

_claim = ClaimMaker("energy-")


@cache
def flightllm_power_w() -> dict[str, float]:
    """Return the modelled parts of the U280's power in W during a decode step."""
    step = run("u280", "decode", _U280_CONTEXT)
    parts = step.stats.energy_by_component_pj
    return {
        name: average_power_w(pj, step.cycles, step.clock_hz)
        for name, pj in parts.items()
        if name != REST
    }


@cache
def piuma_power_w() -> dict[str, float]:
    """Return the modelled parts of the die's power in W, every pipeline and link busy.

    Every instruction does one FP32 multiplication, the dearest single operation of the table but
    one; half of the memory accesses go to a cache, half to the scratchpad (assumed).
    """
    die = PIUMA_PRESETS["die"]
    second = die.clock_hz
    instructions = die.blocks * (die.mtp.pipelines + die.stp.pipelines) * second
    accessed = instructions // _PIUMA_MEMORY_SHARE_INVERSE * 8
    counts = {
        "pipelines": {"instruction": instructions, "fp32_mult": instructions},
        "registers": {"sram_8kb_byte": REGISTER_BYTES * instructions},
        "caches": {"sram_32kb_byte": accessed // 2},
        "scratchpads": {"sram_1mb_byte": accessed // 2},
        "optics": {"optical_byte": _PIUMA_OPTICS_BYTES_PER_S},
    }
    energy = energy_by_component(
        EnergyTable.named("asic-7nm"),
        counts,
        second,
        die.clock_hz,
        static_mw=die.blocks * BLOCK_STATIC_MW,
    )
    return {name: average_power_w(pj, second, die.clock_hz) for name, pj in energy.items()}


def streaming_pj_per_bit(name: str) -> dict[str, float]:
    """Return what a bit of a device costs, by part, while all its buses stream reads of whole rows.

    Refresh takes its share of the time; background power and refreshes are those of all ranks.
    """
    device = load_device(name)
    second, timings = device.clock_hz, device.timings
    busy_clocks = second * (1 - timings["RFC_AB"] / timings["REFI"])
    moved = round(device.peak_bytes_per_s * busy_clocks / second)
    commands = {
        "RD": ceil_div(moved, device.burst_bytes),
        "ACT": ceil_div(moved, device.row_bytes),
        "REFab": device.controllers * device.ranks * second // timings["REFI"],
    }
    parts = dram_energy(device, commands, second, second)
    return {part: pj / (8 * moved) for part, pj in parts.items()}


def claims() -> list[Claim]:
    """Return what holds of memories and boards, gated, and how near the boards are, not gated."""
    board, die = sum(flightllm_power_w().values()), piuma_power_w()
    cores = sum(watts for name, watts in die.items() if name != "optics")
    core_limit = _PIUMA_W * _PIUMA_CORE_SHARE
    optics_limit = _PIUMA_W * _PIUMA_OPTICS_SHARE
    hbm2 = dram_energy_class("hbm").stream_pj_per_bit()
    ddr4 = sum(streaming_pj_per_bit("ddr4-2400").values())
    source = "O'Connor et al. 2017, abstract; ours from its Table 3, whole rows"
    what = "energy of a bit read from HBM2 in whole rows"
    below = "modelled parts that stay below the reported power of the whole: U280, cores, die"
    limits = [board < _U280_BOARD_W, cores < core_limit, sum(die.values()) < _PIUMA_W]
    return [
        _claim("hbm2-bit", what, hbm2, _HBM2_PJ_PER_BIT, "pJ/bit", 0.15, "published", source),
        _claim.cases("parts-below-boards", below, limits, f"{_NOTES}; {_PRESS}"),
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
            "energy of a bit while four DDR4-2400 modules stream, without their controllers",
            *(ddr4, _DDR4_PJ_PER_BIT, "pJ/bit", 0.25, "published"),
            "Jouppi et al. 2021, Table 2; the load behind it is not stated",
            gated=False,
        ),
    ]


def tables() -> list[DataTable]:
    """Return the reported powers that are missed, part by part, with what is missing of each."""
    cores = {name: watts for name, watts in piuma_power_w().items() if name != "optics"}
    rows = [
        *_part_rows("U280 decoding, FlightLLM", "W", flightllm_power_w(), _U280_BOARD_W, _U280),
        *_part_rows("eight PIUMA cores", "W", cores, _PIUMA_W * _PIUMA_CORE_SHARE, _PIUMA),
        *_part_rows(
            "DDR4-2400 streaming",
            "pJ/bit",
            streaming_pj_per_bit("ddr4-2400"),
            _DDR4_PJ_PER_BIT,
            _DDR4,
        ),
    ]
    caption = (
        "Counts of a simulated step (U280), of every pipeline issuing (PIUMA) or of all buses "
        "streaming (DDR4), times energies with a source; the row `missing` is the reported value "
        "less these. Nothing is fitted to a reported value."
    )
    return [DataTable("Power and energy by part, and what is missing", caption, rows)]


_U280 = {
    "mpe": "products and sums issued; FPGA table",
    "buffers": "bytes filled and read; FPGA table",
    "static": "a U50 with its shell at rest, by its sensors: leakage, shell, idle HBM, regulators",
    "hbm": "bytes and rows of HBM2, inside and interface (O'Connor et al. 2017)",
    "soft_logic": "look-up tables of chains, unpackers, vector units in the cycles in which they "
    "work, per cell by Vivado's estimate of a U50 design",
    "clocks": "all registers of the units with RTL, per cell by the same estimate",
    "missing": "load and store units, addresses, instruction fetch, HBM's crossbar (no RTL here); "
    "regulators under load; a U280 at rest beyond a U50; no breakdown is published",
}
_PIUMA = {
    "pipelines": "an instruction of a simple core and an FP32 product, each cycle and pipeline",
    "registers": "three of 8 bytes per instruction, in an array of 16 threads",
    "caches": "every third instruction accesses 8 bytes, half of them here (assumed)",
    "scratchpads": "the other half (assumed)",
    "static": "9.2 mm2 of a core at 20 mW per mm2 (assumed)",
    "missing": "clock trees, DMA and queue engines, routers, what these pipelines take beyond a "
    "simple core's; the 21 % of the press may include more than the cores",
}
_DDR4 = {
    "activate": "currents of the chip (Micron, by DRAMsim3), one activate per row",
    "read": "the same, bursts",
    "write": "none in a stream of reads",
    "interface": "driver and termination (assumed)",
    "refresh": "currents of the chip, all ranks",
    "background": "open standby of all 64 GiB",
    "missing": "the memory's controller and its side of the interface; the reference's load and "
    "module are not stated",
}


def _part_rows(
    whole: str, unit: str, parts: Mapping[str, float], reported: float, sources: Mapping[str, str]
) -> list[dict[str, str | float]]:
    """Return a row per part, one for what is missing and one for what is reported."""
    values = {**parts, "missing": reported - sum(parts.values())}
    rows: list[dict[str, str | float]] = [
        {
            "of": whole,
            "part": name,
            "value": value,
            "unit": unit,
            "share_of_reported": value / reported,
            "from": sources[name],
        }
        for name, value in values.items()
    ]
    total = {"of": whole, "part": "reported", "value": reported, "unit": unit}
    return [*rows, {**total, "share_of_reported": 1.0, "from": "see the claims"}]


def unchecked() -> list[str]:
    """Return what is known to be missing from the modelled powers."""
    return [
        "energy: power of a U280's parts without RTL, what regulators lose under load, and the "
        "difference between an idle U50, which stands for the card at rest, and a U280; no "
        "breakdown of its 45 W is at hand. Three U280 in a computing centre's nodes read 39.2, "
        "41.4 and 58.3 W (PC2's documentation), with what load is not said.",
        "energy: power of PIUMA's routers, memory controllers and PCIe, its clock, and what an "
        "instruction costs there beyond a simple core's and its registers; only shares of cores "
        "and optics are reported.",
        "energy: power of a VHK158 under load: FlightLLM's preset counts its modelled parts only.",
    ]
