"""Count the bytes that one op moves between memory levels.

Levels: ``dram``; ``activation_buffer``, ``weight_buffer`` (written by loads, read by the array);
``output_buffer`` (written by the array, or by the vector path on its results, read by stores);
``partial_sums`` (FP32 sums re-read and re-written between reduction tiles); ``lane_operands`` and
``lane_results``, the halves of the lane buffer (what the vector path, WUVE and SORE take and give).
What loads write into the buffers is what they read from ``dram``; stores likewise.
"""

from __future__ import annotations

from hwsim.core.sparsity import index_bits
from hwsim.core.units import ceil_div
from hwsim.sat.plan import ACTIVATION_BYTES, PARTIAL_SUM_BYTES, GemmPlan

__all__ = ["LEVELS", "OpTraffic"]

LEVELS = (
    "dram",
    "activation_buffer",
    "weight_buffer",
    "output_buffer",
    "partial_sums",
    "lane_operands",
    "lane_results",
)


class OpTraffic:
    """Accumulate bytes; ``bytes[level]["read" | "write"]``."""

    def __init__(self) -> None:
        self.bytes = {level: {"read": 0, "write": 0} for level in LEVELS}

    def load(self, buffer: str, size: int) -> None:
        """Count a DMA load into ``buffer``."""
        self.bytes["dram"]["read"] += size
        self.bytes[buffer]["write"] += size

    def store(self, size: int, buffer: str = "output_buffer") -> None:
        """Count a DMA store from ``buffer``."""
        self.bytes[buffer]["read"] += size
        self.bytes["dram"]["write"] += size

    def fill(self, buffer: str, size: int) -> None:
        """Count a write into ``buffer`` by a compute unit."""
        self.bytes[buffer]["write"] += size

    def drain(self, buffer: str, size: int) -> None:
        """Count a read of ``buffer`` by a compute unit."""
        self.bytes[buffer]["read"] += size

    def array_tile(
        self,
        plan: GemmPlan,
        tile: tuple[int, int, int],
        times: int,
        *,
        is_first: bool,
        is_last: bool,
    ) -> None:
        """Count the array's own accesses for ``times`` macro tiles of (m, n, k).

        Sums start from zero in the first tile along k and are complete after the last.
        """
        m, n, k = tile
        array = plan.array
        is_gather = plan.packing.kind == "gather"
        nm_n, nm_m = (1, plan.packing.nm_m) if is_gather else plan.nm
        depth = array.rows * nm_m
        k_tiles, n_tiles = ceil_div(k, depth), ceil_div(n, array.cols)
        groups = ceil_div(k, nm_m)
        slot_bits = 16 + index_bits(nm_m)
        if plan.dataflow == "os":
            m_tiles = ceil_div(m, array.rows)
            inputs = n_tiles * m * groups * nm_m * ACTIVATION_BYTES
            weights = m_tiles * ceil_div(groups * nm_n * n * slot_bits, 8)
            k_tiles = 1
        else:
            inputs = n_tiles * m * groups * nm_m * ACTIVATION_BYTES
            weights = ceil_div(groups * nm_n * n * slot_bits, 8)
        self.bytes["activation_buffer"]["read"] += inputs * times
        self.bytes["weight_buffer"]["read"] += weights * times
        sums = m * n * PARTIAL_SUM_BYTES * times
        self.bytes["partial_sums"]["read"] += (k_tiles - is_first) * sums
        self.bytes["partial_sums"]["write"] += (k_tiles - is_last) * sums
        self.bytes["output_buffer"]["write"] += is_last * sums
