# amaranth: UnusedElaboratable=no
# Counters are looked at in units that are never elaborated.
"""Do masks mean what the instruction set says, and is a lost token found?"""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.cli.rtl_cases.flightllm.tokens import scoreboard_case
from hwsim.flightllm.token_scoreboard import TokenPlay, peer_bits, play_scoreboard
from hwsim.flightllm.unit_spec import TokenSpec
from rtl.cosim.check import check
from rtl.cosim.pysim import run_pysim
from rtl.flightllm import token_scoreboard
from rtl.flightllm.token_scoreboard import TokenScoreboard
from rtl.formal.bench import proof_rtlil
from rtl.formal.prove import prove_rtlil
from rtl.formal.token_scoreboard import token_scoreboard_properties

SPEC = TokenSpec()
UNITS = ("LD", "ST", "MM", "MV", "MISC", "SYS")


class NeverWaits(TokenScoreboard):
    """Starts without tokens."""

    def _is_there(self, mask, bit, producer, consumer):
        del mask, bit, producer, consumer
        return 1


class NeverHeld(TokenScoreboard):
    """Takes instructions beyond what a unit may have in flight."""

    def _may_fly(self, flying):
        del flying
        return 1


class NeverFull(TokenScoreboard):
    """Takes tokens beyond the depth."""

    def _has_room(self, mask, bit, producer, consumer):
        del mask, bit, producer, consumer
        return 1


def _play(waits, dones):
    """Return a play by unit name; what completes was an instruction that waited for nothing."""
    waits = {name: waits.get(name, []) or [0] * len(dones.get(name, [])) for name in UNITS}
    per_unit = [waits.get(name, []) for name in UNITS]
    return TokenPlay(per_unit, per_unit, [dones.get(name, []) for name in UNITS])


def test_thirty_counters_and_masks_without_the_unit_itself():
    assert len(TokenScoreboard(SPEC).tokens) == 30
    # MV: LD, ST, MM, MISC, SYS from the highest bit down.
    assert peer_bits(SPEC, 3) == {0: 4, 1: 3, 2: 2, 4: 1, 5: 0}
    for unit in range(6):
        assert peer_bits(SPEC, unit) == token_scoreboard.peer_bits(SPEC, unit)


def test_an_instruction_starts_two_cycles_after_its_last_token_came():
    # LD releases MV (bit 2 of LD's mask: ST, MM, MV, MISC, SYS); MV waits for LD (bit 4).
    play = _play({"MV": [0b10000]}, {"LD": [0b00100]})
    run = play_scoreboard(SPEC, play)
    assert run.cycles["i__0"] == [0]
    assert run.cycles["done__0"] == [1]
    assert run.cycles["i__3"] == [2]
    assert run.cycles["o__3"] == [3]
    assert set(run.tokens.values()) == {0}
    vectors, schedule = scoreboard_case(SPEC, play)
    check(run_pysim(TokenScoreboard(SPEC), vectors), vectors, schedule)


def test_an_instruction_whose_token_never_comes_never_starts():
    run = play_scoreboard(SPEC, _play({"MV": [0b10000]}, {"ST": [0b00100]}), limit_cycles=50)
    assert run.cycles["i__3"] == run.cycles["o__3"] == []


def test_a_full_counter_holds_its_producer_back_and_no_other():
    spec = TokenSpec(depth=2)
    play = _play({"MV": []}, {"LD": [0b00100] * 3, "ST": [0b00100] * 2})
    run = play_scoreboard(spec, play, limit_cycles=50)
    assert run.cycles["done__0"] == [1, 2]
    assert run.cycles["done__1"] == [1, 2]
    assert run.tokens[0, 3] == 2


def test_a_unit_takes_no_more_instructions_than_may_be_in_flight():
    spec = TokenSpec(in_flight=2)
    play = TokenPlay([[0] * 4, *[[]] * 5], [[0] * 4, *[[]] * 5], [[0] * 4, *[[]] * 5])
    gap = np.ones(9, np.bool_)
    gap[8] = False  # nothing completes before cycle 8
    run = play_scoreboard(spec, play, {"done__0": gap})
    assert run.cycles["i__0"] == [0, 1, 9, 10]
    vectors, schedule = scoreboard_case(spec, play, gaps={"done__0": gap})
    check(run_pysim(TokenScoreboard(spec), vectors), vectors, schedule)


@pytest.mark.parametrize("mutant", [NeverWaits, NeverFull, NeverHeld])
def test_a_token_too_few_or_too_many_is_refuted(mutant):
    unit = mutant(TokenSpec(units=2, depth=1, in_flight=1))
    text = proof_rtlil(unit, token_scoreboard_properties)
    assert prove_rtlil(text, 4).status == "refuted"
