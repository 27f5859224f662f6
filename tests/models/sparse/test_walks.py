"""Check that walks follow their law, whoever draws them."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from models.sparse.walks import DRAW_BITS, draw, edge_thresholds, walk_index, walk_lengths

WALKS = np.arange(20_000)
TOP = 1 << DRAW_BITS


def test_draws_are_even_and_do_not_depend_on_each_other() -> None:
    first, second = draw(WALKS, 0, 7) / TOP, draw(WALKS, 1, 7) / TOP
    for draws in (first, second, draw(WALKS, 0, 8) / TOP):
        # 20 bins of 1000: chi-squared of 19 degrees of freedom stays below 44 in 999 of 1000.
        counts = np.histogram(draws, 20, (0, 1))[0]
        assert ((counts - 1000) ** 2 / 1000).sum() < 44
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.03
    assert (draw(WALKS, 0, 7) == draw(WALKS, 0, 7)).all()
    assert (draw(WALKS, 0, 7) != draw(WALKS, 0, 8)).mean() > 0.99


def test_a_walk_of_restart_c_visits_one_over_c_vertices() -> None:
    lengths = walk_lengths(WALKS, round(0.75 * TOP), 1)
    assert lengths.min() == 1
    assert abs(lengths.mean() - 4) < 0.1  # deviation sqrt(12) / sqrt(20000) = 0.025
    assert (walk_lengths(WALKS[:5], 0, 1) == 1).all()


def test_edges_are_taken_by_their_weights() -> None:
    w = sparse.csr_array(np.array([[0, 0.25, 0.75], [0, 0, 1.0], [0, 0, 0]]))
    assert edge_thresholds(w).tolist() == [TOP // 4, TOP - 1, TOP - 1]
    index = walk_index(w, 20_000, round(0.5 * TOP), 3).toarray()
    np.testing.assert_allclose(index.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert index[2].tolist() == [0, 0, 1]  # a dead end's walks stay
    # Visits of a walk from 0, a dead end returning to it: x0 = 1 + x2 / 2, x1 = x0 / 8,
    # x2 = 3 x0 / 8 + x1 / 2, so that x0 : x1 : x2 = 16 : 2 : 7.
    np.testing.assert_allclose(index[0], np.array([16, 2, 7]) / 25, atol=0.01)


def test_nothing_to_walk_on() -> None:
    assert (
        walk_index(sparse.csr_array((3, 3)), 2, TOP - 1 >> 1, 0).toarray().tolist()
        == np.eye(3).tolist()
    )
