"""Do the words of pre-generation hold the masked weights, in the predicted cycles?"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Cat

from hwsim.cli.rtl_cases.selection import pre_gen_words_case
from hwsim.cli.rtl_cases.sorter import random_groups
from hwsim.core.formats import decode_nm, nm_compact_bits
from hwsim.core.units import ceil_div
from hwsim.sat import pre_gen_words as model
from hwsim.sat.packer import unpack_nm_words
from hwsim.sat.pre_gen import weight_rows
from hwsim.sat.spec import PreGenSpec, SoreSpec, SorterSpec
from rtl.cosim.check import CosimError, check
from rtl.cosim.pysim import run_pysim
from rtl.cosim.verilator import run_verilator
from rtl.formal.bench import proof_rtlil
from rtl.formal.pre_gen_words import pre_gen_words_properties
from rtl.formal.prove import prove_rtlil
from rtl.sat import pre_gen_words
from rtl.sat.pre_gen_words import PreGenWords
from rtl.sat.units import PREGEN_PROOF_SPEC, PREGEN_SPEC

SHAPES = [(4, 1, 2, 64), (8, 2, 4, 128), (4, 3, 4, 64)]


def _spec(lanes: int, nm_n: int, nm_m: int, word_bits: int, engines: int = 2) -> PreGenSpec:
    sore = SoreSpec(lanes=lanes, sorter=SorterSpec(nm_n=nm_n, nm_m=nm_m))
    return PreGenSpec(sore=sore, engines=engines, word_bits=word_bits)


def _rows(spec: PreGenSpec, blocks: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return random_groups(rng, blocks * spec.sore.sorter.nm_m, spec.sore.lanes)


def _masked(dense: np.ndarray, nm_n: int, nm_m: int) -> np.ndarray:
    """Return ``dense`` [k, n] with the smaller magnitudes of every group along k set to zero."""
    groups = dense.reshape(-1, nm_m, dense.shape[1]).copy()
    order = np.argsort(-np.abs(groups), axis=1, kind="stable")
    np.put_along_axis(groups, order[:, nm_n:], 0, axis=1)
    return groups.reshape(dense.shape)


class TurnedTiles(PreGenWords):
    """Feeds the packers of a tile the groups of its lanes in falling order."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        nm_m = self.spec.sore.sorter.nm_m
        for name in self.serializers:
            groups = getattr(self.chain, name).payload
            for tile, serializer in enumerate(self.serializers[name]):
                lanes = [groups[tile * nm_m + lane].as_value() for lane in range(nm_m)]
                m.d.comb += serializer.i.payload.eq(Cat(lanes[::-1]))
        return m


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("engines", [1, 2])
@pytest.mark.parametrize(("panels", "stall_share"), [(1, 0.0), (3, 0.0), (3, 0.5)])
def test_rtl_equals_golden_and_cycle_model_on_pysim(shape, engines, panels, stall_share):
    spec = _spec(*shape, engines)
    vectors, schedule = pre_gen_words_case(
        spec, _rows(spec, 12), panels=panels, stall_share=stall_share, seed=3
    )
    assert (schedule is None) == (panels > 1)
    check(run_pysim(PreGenWords(spec), vectors), vectors, schedule)


@pytest.mark.evidence("sat", "T3")
def test_a_hundred_thousand_transfers_under_random_stalls_on_verilator():
    spec = PREGEN_SPEC
    drawn = [
        pre_gen_words_case(spec, _rows(spec, blocks, seed), panels=panels, stall_share=share)
        for seed, (blocks, panels, share) in enumerate([(7_800, 6, 0.3), (200, 1, 0.0)])
    ]
    played = run_verilator(PreGenWords(spec), [vectors for vectors, _ in drawn])
    for observed, (vectors, schedule) in zip(played, drawn, strict=True):
        check(observed, vectors, schedule)
    # Rows in, words of two tiles and two directions out.
    assert sum(len(trace.words) for trace in played[0].streams.values()) > 100_000


@pytest.mark.parametrize("engines", [1, 2])
def test_words_decode_to_the_masked_weights_of_both_directions(engines):
    spec, (ci, co) = _spec(8, 2, 4, 64, engines), (12, 16)
    weights = np.random.default_rng(1).integers(-6, 7, (ci, co)).astype(np.float16)
    vectors, _ = pre_gen_words_case(spec, weight_rows(spec.sore, weights), panels=2)
    observed = run_pysim(PreGenWords(spec), vectors)
    check(observed, vectors)
    ff, bp = np.zeros((ci, co), np.float16), np.zeros((co, ci), np.float16)
    for tile in range(2):
        for panel in range(2):
            first = 8 * panel + 4 * tile
            columns = slice(first, first + 4)
            words = _panel(observed.outputs[f"o_ff__{tile}"], panel, 64)
            ff[:, columns] = decode_nm(unpack_nm_words(words, ci, 4, 2, 4))
            words = _panel(observed.outputs[f"o_bp__{tile}"], panel, 64)
            bp[columns] = decode_nm(unpack_nm_words(words, 4, ci, 2, 4))
    np.testing.assert_array_equal(ff, _masked(weights, 2, 4))
    np.testing.assert_array_equal(bp, _masked(weights.T, 2, 4))


def _panel(words: list[int], panel: int, word_bits: int) -> np.ndarray:
    """Return the words of one panel as bytes; a bit above the last one of each marks it."""
    ends = [place + 1 for place, word in enumerate(words) if word >> word_bits]
    part = words[[0, *ends][panel] : ends[panel]]
    data = b"".join(
        (word & (1 << word_bits) - 1).to_bytes(word_bits // 8, "little") for word in part
    )
    return np.frombuffer(data, np.uint8).reshape(len(part), -1)


@pytest.mark.parametrize(("nm_n", "nm_m", "share"), [(2, 4, 0.5625), (2, 8, 0.296875)])
def test_words_take_the_bits_of_the_format_up_to_the_end_of_a_panel(nm_n, nm_m, share):
    spec = _spec(8, nm_n, nm_m, 64)
    rows, tiles = 64, 8 // nm_m
    vectors, _ = pre_gen_words_case(spec, _rows(spec, rows // nm_m))
    for name in ("o_ff", "o_bp"):
        words = sum(len(vectors.expected[f"{name}__{tile}"]) for tile in range(tiles))
        bits = nm_compact_bits(rows, 8, nm_n, nm_m)
        # N (16 + log2 M) / (16 M) of the dense FP16 copy.
        assert bits == share * 16 * rows * 8
        assert words == tiles * ceil_div(bits // tiles, 64)


@pytest.mark.parametrize("engines", [1, 2])
def test_timing_is_the_same_in_rtl_simulator_and_measurement(engines):
    spec = _spec(4, 2, 4, 64, engines)
    vectors, schedule = pre_gen_words_case(spec, _rows(spec, 4))
    observed = run_pysim(PreGenWords(spec), vectors)
    check(observed, vectors, schedule)
    accepts, emits = observed.accept_cycles["i"], observed.emit_cycles["o_bp__0"]
    # 16 groups of 36 bits: the last one completes the ninth word.
    assert len(emits) == 9
    measured = int(emits[-1]) - int(accepts[-1]), int(accepts[4] - accepts[0])
    for timing in (model.timing(spec), pre_gen_words.timing(spec)):
        assert (timing.latency_cycles, timing.interval_cycles) == measured


def test_packers_keep_pace_with_a_row_per_cycle():
    spec = _spec(8, 2, 4, 64)
    vectors, schedule = pre_gen_words_case(spec, _rows(spec, 20))
    observed = run_pysim(PreGenWords(spec), vectors)
    check(observed, vectors, schedule)
    assert observed.accept_cycles["i"].tolist() == list(range(80))


def test_groups_in_another_order_are_found():
    spec = _spec(4, 1, 2, 64)
    vectors, schedule = pre_gen_words_case(spec, _rows(spec, 8))
    with pytest.raises(CosimError, match="outputs"):
        check(run_pysim(TurnedTiles(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("engines", [1, 2])
def test_every_group_reaches_its_packer_once(engines):
    spec = PREGEN_PROOF_SPEC.model_copy(update={"engines": engines})
    result = prove_rtlil(proof_rtlil(PreGenWords(spec), pre_gen_words_properties))
    assert result.is_proved, result.log


def test_groups_in_another_order_are_refuted():
    text = proof_rtlil(TurnedTiles(PREGEN_PROOF_SPEC), pre_gen_words_properties)
    assert prove_rtlil(text, 6).status == "refuted"
