"""Say which memory words the compact groups of pre-generation become, and when.

A tile is ``nm_m`` neighbouring lanes with a packer of its own per direction, so that a packer takes
one group per cycle while the chain takes a row. All groups of a tile in one panel are a block that
begins a word. That tiles are packed apart is this project's own choice: one stream for all lanes
would need a shifter as wide as all groups of a block together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from hwsim.core.formats import NMCompact
from hwsim.core.machine import UnitTiming
from hwsim.sat import pre_gen
from hwsim.sat.packer import pack_nm_words, play_packer
from hwsim.sat.pre_gen import Groups, pregen_schedule
from hwsim.sat.spec import PackerSpec, PreGenSpec

__all__ = ["pack_tiles", "timing", "words_schedule"]

SERIALIZER_CYCLES = 1
"""From a set of groups on offer to its first group on offer at the packers (register)."""


def timing(spec: PreGenSpec) -> UnitTiming:
    """Return the cycle contract; a transfer is a block of ``nm_m`` rows.

    The latency is that of the word which ends a panel of BP, from the panel's last row.
    """
    chain = pre_gen.timing(spec)
    nm_m = spec.sore.sorter.nm_m
    groups = SERIALIZER_CYCLES + nm_m - 1
    return UnitTiming(chain.latency_cycles + groups + 1, chain.interval_cycles)


def pack_tiles(spec: PreGenSpec, groups: Groups, panel_rows: int) -> NDArray[np.uint8]:
    """Return the words of every tile and panel, of ``groups`` of either direction.

    FF tile g is a matrix [panel_rows, nm_m] grouped along its rows, BP tile g one of
    [nm_m, panel_rows]; both are laid out as :func:`hwsim.sat.packer.pack_nm_words` does.

    Parameters
    ----------
    spec : PreGenSpec
        Lanes, pattern and word.
    groups : (uint16[sets, lanes, nm_n], uint8[sets, lanes, nm_n])
        From :func:`hwsim.sat.pre_gen.pregenerate`.
    panel_rows : int
        Rows per panel.

    Returns
    -------
    uint8[tiles, panels, words, word_bits / 8]

    Raises
    ------
    InputError
        If ``groups`` are no whole panels.
    """
    nm_m, nm_n = spec.sore.sorter.nm_m, spec.sore.sorter.nm_n
    sets = len(groups[0])
    if panel_rows % nm_m or sets * nm_m % panel_rows:
        need = f"a multiple of {nm_m} that divides {sets * nm_m}"
        raise InputError("panel_rows", need, str(panel_rows))
    values, indices = (
        # [panel, group row, tile, column, slot] -> [tile, panel, group row, slot, column]
        field.reshape(-1, panel_rows // nm_m, spec.sore.lanes // nm_m, nm_m, nm_n).transpose(
            2, 0, 1, 4, 3
        )
        for field in groups
    )
    return np.array(
        [
            [
                pack_nm_words(
                    NMCompact(values[tile, panel], indices[tile, panel], panel_rows, nm_m),
                    spec.word_bits,
                )
                for panel in range(values.shape[1])
            ]
            for tile in range(values.shape[0])
        ]
    )


def words_schedule(
    spec: PreGenSpec, blocks: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return when rows are accepted and words leave, if nobody stalls and all is one panel.

    Words must be at least as wide as groups, else the packers hold the chain back.

    Returns
    -------
    accept_cycles : int64[blocks * nm_m]
    ff_cycles, bp_cycles : int64[words]
        Emit cycles of every tile.
    """
    nm_m = spec.sore.sorter.nm_m
    packer = PackerSpec(sorter=spec.sore.sorter, word_bits=spec.word_bits)
    accepts, *sets = pregen_schedule(spec, blocks)
    words = []
    for cycles in sets:
        offers = (cycles[:, None] + SERIALIZER_CYCLES + np.arange(nm_m)).ravel()
        is_gap = np.ones(int(offers[-1]) + 1, dtype=np.bool_)
        is_gap[offers] = False
        _, emits = play_packer(packer, 1, blocks * nm_m, is_gap, np.zeros(0, dtype=np.bool_))
        words.append(emits)
    return accepts, words[0], words[1]
