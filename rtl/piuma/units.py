"""Name the units of PIUMA."""

from __future__ import annotations

from hwsim.piuma.unit_spec import HashSpec
from rtl.formal.piuma_hash_accumulate import hash_accumulate_properties
from rtl.piuma import hash_accumulate
from rtl.unit import Unit

__all__ = ["HASH_PROOF_SPEC", "PIUMA_UNITS"]

HASH_PROOF_SPEC = HashSpec(
    slots=4, key_bits=3, column_bits=1, data_bits=2, comparators=2, epoch_bits=2
)
"""Two lines of two slots: every case of wrapping, forwarding and probing on."""

PIUMA_UNITS = (
    Unit(
        "piuma/hash_accumulate",
        "sums by key in a hash table: probe, insert or add, drain, clear in one cycle",
        HashSpec(),
        hash_accumulate.HashAccumulate,
        hash_accumulate.timing,
        hash_accumulate_properties,
        HASH_PROOF_SPEC,
    ),
)
"""Every unit of PIUMA."""
