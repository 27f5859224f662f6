"""Check two laws on the machine: what a barrel of threads issues, how long a hash table probes."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from hwsim.core.result import Claim
from hwsim.experiments.piuma_runs import run_product
from hwsim.piuma.isa import Assembler
from hwsim.piuma.play import play
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import BUSY, Launch, chip_state

__all__ = ["claims", "knuth_probes", "measured_probes"]

_SLOTS = 1 << 15
_ROW = 64
"""Entries of each row of B, so that products come in steps of 64."""
_FILLS = (50, 75, 90)
"""Percent of the slots that are taken in the end."""


def claims() -> list[Claim]:
    """Return the claims of both laws."""
    return [*_barrel(), *_probes()]


def _barrel() -> list[Claim]:
    """16 threads of latency L issue min(1, 16 / L) instructions per cycle."""
    found = []
    for latency in (1, 16, 32, 100):
        a = Assembler()
        (x,) = a.registers(1)
        for _ in range(1000):
            a.add(x, x, 1)
        a.emit("halt")
        spec = PiumaSpec().override([f"mtp.alu_cycles={latency}"])
        chip = chip_state(spec, a.array(), np.zeros(64, np.int64), Launch(0))
        cycles = play(chip) - 16  # the halts
        found.append(
            Claim(
                id=f"piuma-barrel-{latency}",
                what=f"instructions per cycle of 16 threads at {latency} cycles per instruction",
                simulated=(int(chip.accounts[0, BUSY]) - 16) / cycles,
                reference=min(1.0, 16 / latency),
                unit="1/cycle",
                tolerance=0.0,
                basis="derived",
                gated=True,
                source="each thread has one instruction in flight, the pipeline issues one a cycle",
            )
        )
    return found


def knuth_probes(load: float) -> float:
    """Return the mean probes of filling a table up to ``load`` by linear probing.

    That is also what a later search finds on average; it is the mean of the last insertion's
    0.5 (1 + 1 / (1 - x)^2) over x from 0 to ``load`` (Knuth, TAOCP vol. 3, 6.4).
    """
    return 0.5 * (1 + 1 / (1 - load))


def measured_probes(percent: int, seed: int = 0) -> float:
    """Return the mean probes of SMASH V2 filling one table with distinct random keys.

    Rows of A pick rows of B, no row of C gets a column twice, and one window takes all.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = _SLOTS * percent // 100 // _ROW
    a = sparse.csr_array(sparse.eye_array(rows))
    columns = [np.sort(rng.choice(1 << 20, _ROW, replace=False)) for _ in range(rows)]
    places = (np.ones(rows * _ROW), np.concatenate(columns), np.arange(rows + 1) * _ROW)
    b = sparse.csr_array(places, shape=(rows, 1 << 20))
    settings = ("smash.hash=mult", f"smash.slots={_SLOTS}", "smash.load_percent=95")
    result, _ = run_product("smash-v2", a, b, settings)
    return float(result.extra["probes"]["mean"])


def _probes() -> list[Claim]:
    return [
        Claim(
            id=f"piuma-knuth-{percent}",
            what=f"mean probes to fill {percent} % of a table by multiplicative hashing",
            simulated=measured_probes(percent),
            reference=knuth_probes(percent / 100),
            unit="probes",
            tolerance=0.05,
            basis="derived",
            gated=True,
            source="linear probing (Knuth, TAOCP vol. 3, 6.4)",
        )
        for percent in _FILLS
    ]
