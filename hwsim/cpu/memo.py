"""Hold what a core remembers of its pipeline, and cut kernels into segments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.core.result import STALL_REASONS
from hwsim.cpu import memo_kernels as m
from hwsim.cpu import pipeline_state as k

__all__ = ["Memo"]

_STATES = 1 << 14
_WORDS = 1 << 22
_EDGES = 1 << 15
_OFFSETS = 1 << 19


class Memo:
    """States and edges of one core (see ``memo_kernels.py``), and the segments of its kernels.

    Parameters
    ----------
    width : int
        Dispatch slots per cycle.
    """

    def __init__(self, width: int) -> None:
        self._segments = np.zeros((0, m.SEGMENT_COLUMNS), dtype=np.int64)
        self._actions = np.zeros(0, dtype=np.int64)
        self._scalars = np.zeros(m.MEMO_SCALARS, dtype=np.int64)
        shape = (len(STALL_REASONS), width + 1)
        # Untouched pages of these cost nothing.
        self._arrays = (
            np.empty(_WORDS, dtype=np.int64),
            np.zeros(_STATES, dtype=np.int64),
            np.full(2 * _STATES, -1, dtype=np.int64),
            np.empty((_EDGES, m.EDGE_COLUMNS), dtype=np.int64),
            np.full(2 * _EDGES, -1, dtype=np.int64),
            np.empty((_OFFSETS, 2), dtype=np.int64),
            np.empty((_EDGES, *shape), dtype=np.int64),
            np.empty(_EDGES, dtype=np.int64),
            self._scalars,
            np.zeros(shape, dtype=np.int64),
        )

    @property
    def tables(self) -> tuple[NDArray[np.int64], ...]:
        """Return the arrays in the order in which the compiled pipeline takes them."""
        return (self._segments, self._actions, *self._arrays)

    @property
    def followed_instructions(self) -> int:
        """Return how many instructions were not stepped so far."""
        return int(self._scalars[m.M_FOLLOWED])

    def add_kernel(self, code: NDArray[np.int64]) -> None:
        """Number the segments of bound ``code`` in its ``K_SEGMENT`` column.

        A segment is a stretch of rows without LOOP and END; its number is in its first row.
        """
        is_loop = np.isin(code[:, k.K_KIND], (-1, -2))
        bounds = np.flatnonzero(np.diff(np.concatenate([[True], is_loop, [True]])))
        firsts, ends = bounds[::2], bounds[1::2]
        is_action = ~is_loop & ((code[:, k.K_MEMORY] != 0) | (code[:, k.K_UPDATE] != 0))
        actions = np.flatnonzero(is_action)
        rows = np.zeros((len(firsts), m.SEGMENT_COLUMNS), dtype=np.int64)
        rows[:, m.G_END] = ends
        rows[:, m.G_ACTIONS] = len(self._actions) + np.searchsorted(actions, firsts)
        rows[:, m.G_ACTIONS_END] = len(self._actions) + np.searchsorted(actions, ends)
        is_counted = code[:, k.K_KIND] >= 0
        for column, values in (
            (m.G_INSTRUCTIONS, is_counted),
            (m.G_UOPS, code[:, k.K_UOPS]),
            (m.G_MACS, code[:, k.K_MACS]),
        ):
            total = np.concatenate([[0], np.cumsum(np.where(is_counted, values, 0))])
            rows[:, column] = total[ends] - total[firsts]
        code[firsts, k.K_SEGMENT] = len(self._segments) + np.arange(len(firsts))
        self._segments = np.concatenate([self._segments, rows])
        self._actions = np.concatenate([self._actions, actions])
