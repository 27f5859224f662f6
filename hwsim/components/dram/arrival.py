"""Serve requests from Python in order of arrival, each answer known when the request is made."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.components.dram import arrival_kernels as kernels
from hwsim.components.dram.arrival_state import arrival_state
from hwsim.components.dram.controller import REQUEST, check_requests
from hwsim.components.dram.devices import Device
from hwsim.components.dram.layout import Dram
from hwsim.components.dram.state import Controller

__all__ = ["ArrivalDram", "arrival_state", "serve_in_order"]


def serve_in_order(
    device: Device,
    requests: NDArray[np.void],
    controller: Controller | None = None,
    **more: Any,
) -> Dram:
    """Serve ``requests`` : REQUEST[:] in their order, writing each one's answer to ``done``.

    On the device's own clock; ``more`` goes to :func:`arrival_state`. Arrivals may go back.

    Raises
    ------
    InputError
        If a request is empty or beyond the capacity.
    """
    check_requests(device, requests, is_ordered=False)
    arrival = arrival_state(device, controller, **more)
    kernels.play_arrivals(
        arrival.words, requests.view(np.int64).reshape(len(requests), len(REQUEST))
    )
    kernels.finish_arrivals(arrival.words, int(requests["arrival"].max(initial=0)))
    return arrival


class ArrivalDram:
    """A DRAM memory that says at once when an access is answered: a read done, a write taken."""

    def __init__(self, device: Device, controller: Controller | None = None, **more: Any) -> None:
        """Start idle; ``more`` goes to :func:`arrival_state`."""
        self.device = device
        self.state = arrival_state(device, controller, **more)

    def access(self, address: int, size_bytes: int, cycle: int, *, is_write: bool = False) -> int:
        """Return the cycle in which an access is answered.

        Raises
        ------
        InputError
            If it moves no byte or bytes beyond the capacity.
        """
        row = np.zeros(1, REQUEST)
        row[0] = (cycle, address, size_bytes, is_write, 0)
        check_requests(self.device, row, is_ordered=False)
        kernels.play_arrivals(self.state.words, row.view(np.int64).reshape(1, len(REQUEST)))
        return int(row["done"][0])

    def finish(self, cycle: int) -> int:
        """Serve all writes that still wait at ``cycle``; return when all data have moved."""
        return int(kernels.finish_arrivals(self.state.words, cycle))
