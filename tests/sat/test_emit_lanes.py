"""Check that lane work laid over array tiles is complete, even and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hwsim.sat.emit_lanes import LaneOp, Piece, spread
from hwsim.sat.lane_work import LaneWork
from hwsim.sat.traffic import OpTraffic


def lane_op(index: int, size_in: int, elems: int, size_out: int) -> LaneOp:
    work = LaneWork("vector", 32, size_in, elems, size_out)
    return LaneOp(index, f"lane{index}", work, OpTraffic())


def total(pieces: list[list[Piece]], op: LaneOp) -> tuple[int, ...]:
    own = [piece for of_array in pieces for piece in of_array if piece.op is op]
    return tuple(sum(p.each[i] * (p.end - p.begin) + p.rest[i] for p in own) for i in range(3))


amounts = st.tuples(st.integers(0, 1 << 24), st.integers(1, 1 << 22), st.integers(0, 1 << 24))


@given(
    arrays=st.lists(st.tuples(st.integers(1, 400), st.integers(1, 9000)), min_size=1, max_size=4),
    works=st.lists(st.tuples(amounts, st.integers(1, 1 << 20)), min_size=1, max_size=4),
)
def test_every_amount_is_moved_exactly_once_beside_tiles_in_order(
    arrays: list[tuple[int, int]], works: list[tuple[tuple[int, int, int], int]]
) -> None:
    ops = [lane_op(i, *amount) for i, (amount, _) in enumerate(works)]
    tiles = [count for count, _ in arrays]
    pieces = spread(tiles, [each for _, each in arrays], ops, [own for _, own in works])
    assert [total(pieces, op) for op in ops] == [op.amount for op in ops]
    order = [piece.op.index for of_array in pieces for piece in of_array]
    assert order == sorted(order)
    firsts = [piece.op.index for of_array in pieces for piece in of_array if piece.is_first]
    assert firsts == list(range(len(ops)))
    for count, of_array in zip(tiles, pieces, strict=True):
        edges = [0, *(edge for piece in of_array for edge in (piece.begin, piece.end)), count]
        assert edges[::2] == edges[1::2]  # each piece begins where the one before ended


def test_work_takes_shares_of_the_array_in_proportion_to_what_it_lasts() -> None:
    ops = [lane_op(0, 1 << 20, 1000, 0), lane_op(1, 1 << 20, 3000, 0)]
    pieces = spread([40, 60], [10, 10], ops, [100, 300])
    spans = [[(p.op.index, p.begin, p.end) for p in of_array] for of_array in pieces]
    assert spans == [[(0, 0, 25), (1, 25, 40)], [(1, 0, 60)]]


def test_tiny_parts_are_gathered() -> None:
    (pieces,) = spread([1000], [10], [lane_op(0, 50_000, 100, 0)], [100])
    assert [(p.each, p.rest) for p in pieces] == [((0, 0, 0), (50_000, 100, 0))]
