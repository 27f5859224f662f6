"""Are the golden words those of the compact matrices, and do their cycles follow the chain?"""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.sat.packer import unpack_nm_words
from hwsim.sat.pre_gen import collect_bp, collect_ff, pregenerate, weight_rows
from hwsim.sat.pre_gen_words import pack_tiles, words_schedule
from hwsim.sat.spec import PreGenSpec, SoreSpec, SorterSpec


def _spec(lanes: int, nm_n: int, nm_m: int) -> PreGenSpec:
    return PreGenSpec(sore=SoreSpec(lanes=lanes, sorter=SorterSpec(nm_n=nm_n, nm_m=nm_m)))


def test_each_tile_is_its_part_of_both_compact_matrices():
    spec, (ci, co) = _spec(8, 2, 4), (12, 16)
    weights = np.random.default_rng(0).standard_normal((ci, co)).astype(np.float16)
    ff, bp = pregenerate(spec, weight_rows(spec.sore, weights))
    whole_ff = collect_ff(spec.sore, (ci, co), ff)
    whole_bp = collect_bp(spec.sore, (ci, co), bp)
    packed_ff, packed_bp = (pack_tiles(spec, groups, ci) for groups in (ff, bp))
    for tile in range(2):
        for panel in range(2):
            group = 2 * panel + tile
            part = unpack_nm_words(packed_ff[tile, panel], ci, 4, 2, 4)
            columns = slice(4 * group, 4 * group + 4)
            np.testing.assert_array_equal(part.values, whole_ff.values[:, :, columns])
            np.testing.assert_array_equal(part.indices, whole_ff.indices[:, :, columns])
            part = unpack_nm_words(packed_bp[tile, panel], 4, ci, 2, 4)
            np.testing.assert_array_equal(part.values, whole_bp.values[group : group + 1])
            np.testing.assert_array_equal(part.indices, whole_bp.indices[group : group + 1])


def test_words_leave_a_cycle_after_the_group_that_completes_them():
    # 1:2 groups of 17 bits: the fourth, eighth, twelfth (of 204 bits) and sixteenth complete words.
    _, ff, bp = words_schedule(_spec(2, 1, 2), 8)
    # Sets of groups are on offer in 2, 4, .. (FF); their groups reach the packer in 3, 4, 5, ..
    assert ff.tolist() == [3 + 3 + 1, 3 + 7 + 1, 3 + 11 + 1, 3 + 15 + 1, 3 + 15 + 2]
    assert (bp - ff).tolist() == [2] * 5  # nm_m later


@pytest.mark.parametrize("panel_rows", [6, 5, 24])
def test_rows_that_are_no_whole_panels_are_refused(panel_rows):
    spec = _spec(4, 1, 2)
    ff, _ = pregenerate(spec, np.zeros((8, 4), dtype=np.uint16))
    with pytest.raises(InputError, match="panel_rows: need a multiple of 2 that divides 8"):
        pack_tiles(spec, ff, panel_rows)
