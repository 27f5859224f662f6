"""Say what programs take to store, compiled for every length or for buckets of lengths."""

from __future__ import annotations

from typing import Any

from hwsim.flightllm.isa import program_bytes

__all__ = ["storage_report", "total_storage"]


def storage_report(instructions: dict[str, int]) -> dict[str, Any]:
    """Return the bytes of the executed instructions of one core, by unit and in all."""
    return {
        "program_bytes": program_bytes(instructions),
        "bytes_by_unit": {
            unit.upper(): program_bytes({unit: count}) for unit, count in instructions.items()
        },
    }


def total_storage(
    decode_bytes: list[int], prefill_bytes: list[int], cores: int, buckets: tuple[int, int]
) -> dict[str, float]:
    """Return bytes of all programs up to the longest length.

    ``naive`` has one program per length and core; ``bucketed`` one per bucket and core. With
    ``shared`` the cores' programs, which differ in base addresses only, are one.
    """
    step, prompt = buckets
    bucketed = sum(decode_bytes) + sum(prefill_bytes)
    naive = step * sum(decode_bytes) + prompt * sum(prefill_bytes)
    return {
        "naive": float(naive * cores),
        "bucketed": float(bucketed * cores),
        "shared": float(bucketed),
    }
