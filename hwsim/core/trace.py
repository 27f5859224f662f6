"""Say what a run hands over while it is traced: records in order of time, chunk by chunk."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hwsim.core.program import Program

__all__ = ["TraceSink"]


class TraceSink(Protocol):
    """Takes the records of a traced run; what it is handed is overwritten afterwards."""

    def begin(self, program: Program, lanes: int) -> None:
        """Prepare for ``program``, whose units have up to ``lanes`` requests in flight each."""

    def take(self, events: NDArray[np.int64], samples: NDArray[np.int64]) -> None:
        """Take records.

        Parameters
        ----------
        events : int64[n, 4]
            Cycle, instruction (its complement: a request that is done), end cycle of a computation
            (-1: a request), lane of the unit's requests in flight. Not decreasing in time.
        samples : int64[m, columns]
            Begin and end cycle, bytes read and written in between, cycle from which the levels
            hold, levels: bursts queued to be read and written, per unit instructions queued, per
            unit requests in flight, per channel tokens.
        """
