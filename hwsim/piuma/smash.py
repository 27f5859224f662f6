"""Write SMASH's three versions of the sparse product as thread programs.

Only the thesis' abstract is at hand: rows are multiplied row-wise, and atomics merge partial
products as they are generated (Shivdikar 2021). Windows, tables, tokens and fragments follow
recollection and this project's choices (DEVIATIONS.md).

One single-threaded pipeline of each block packs windows and leads; the block's multi-threaded
pipelines hash and, in V1 and V2, write back. In V3 the second single-threaded pipeline posts the
DMA copies of one half of the scratchpad while the threads fill the other.
"""

from __future__ import annotations

from hwsim.core.errors import InputError
from hwsim.piuma.isa import Assembler
from hwsim.piuma.smash_copier import SmashCopier
from hwsim.piuma.smash_layout import smash_layout
from hwsim.piuma.smash_leader import SmashLeader
from hwsim.piuma.smash_role import SparseProduct
from hwsim.piuma.smash_threads import SmashThreads
from hwsim.piuma.spec import PiumaSpec
from hwsim.piuma.state import Launch

__all__ = ["write_smash"]


def write_smash(a: Assembler, spec: PiumaSpec, product: SparseProduct, version: int) -> Launch:
    """Append SMASH ``version`` and return where its threads begin.

    Raises
    ------
    InputError
        If a tag would not fit a word, or the machine lacks the pipelines.
    """
    layout = smash_layout(spec, version, product.n)
    stps = 2 if version == 3 else 1
    if spec.mtp.pipelines < 1 or spec.stp.pipelines < stps:
        need = f"1 multi-threaded and {stps} single-threaded pipelines for smash-v{version}"
        raise InputError(
            "mtp.pipelines, stp.pipelines", need, f"{spec.mtp.pipelines}, {spec.stp.pipelines}"
        )
    if layout.column_bits + max(product.m, 1).bit_length() > 62:
        raise InputError("coordinates", "62 bits of row and column", f"{product.m} x {product.n}")
    entries = [a.place]
    role = (spec, product, layout)
    SmashThreads(*role).threads(a.fresh())
    for write in (SmashLeader(*role).leader, SmashCopier(*role).copier)[:stps]:
        entries.append(a.place)
        write(a.fresh())
    return Launch(entries[0], tuple(entries[1:]))
