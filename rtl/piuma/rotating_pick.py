"""Pick by turns: the first that wants, from a place that moves on."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal, Value

__all__ = ["at_place", "pick_by_turn"]


def at_place(values: Sequence[Value], place: Signal) -> Value:
    """Return the one of ``values`` at ``place``, the last one beyond the end."""
    padding = (1 << len(place)) - len(values)
    return Array([*values, *[values[-1]] * padding])[place]


def pick_by_turn(m: Module, wanting: Value, turn: Signal, name: str) -> tuple[Signal, Signal]:
    """Return which of ``wanting`` is first from place ``turn`` on, around the end.

    Parameters
    ----------
    m : Module
        Gets the combinational logic.
    wanting : Value(places)
        A bit per place.
    turn : Signal
        Below the number of places.
    name : str
        Of the signals.

    Returns
    -------
    place : Signal
        As wide as ``turn``; 0 if none wants.
    following : Signal
        The place behind it: the next ``turn`` if it is served.
    """
    places = len(wanting)
    place = Signal.like(turn, name=f"{name}_place")
    following = Signal.like(turn, name=f"{name}_following")
    # Every turn is at most the last place: a comparison that lint takes for a mistake.
    is_ahead = [turn <= k for k in range(places - 1)]
    late = Cat(wanting[k] & ahead for k, ahead in enumerate([*is_ahead, C(1)]))
    ordered = Mux(late.any(), late, wanting)
    for k in reversed(range(places)):
        with m.If(ordered[k]):
            m.d.comb += place.eq(k)
    m.d.comb += following.eq(Mux(place == places - 1, 0, place + 1))
    return place, following
