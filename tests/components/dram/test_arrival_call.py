"""Does a DRAM that is called by its address answer as the compiled-in one does?"""

from __future__ import annotations

import numpy as np

from hwsim.components.dram.arrival_call import arrival_place, call_arrival, finish_arrival
from hwsim.components.dram.arrival_kernels import finish_arrivals, play_arrivals
from hwsim.components.dram.arrival_state import arrival_state
from hwsim.components.dram.devices import load_device
from hwsim.components.jit import njit_entry


@njit_entry
def _play(place, requests):
    for i in range(requests.shape[0]):
        cycle, address, size, kind = (
            requests[i, 0],
            requests[i, 1],
            requests[i, 2],
            requests[i, 3],
        )
        requests[i, 4] = call_arrival(place, address, size, kind, cycle)


def test_called_dram_answers_in_the_same_cycles() -> None:
    rng = np.random.default_rng(5)
    requests = np.zeros((2000, 5), np.int64)
    requests[:, 0] = np.cumsum(rng.integers(0, 20, 2000))
    requests[:, 1] = 64 * rng.integers(0, 1 << 20, 2000)
    requests[:, 2], requests[:, 3] = 64, rng.integers(0, 2, 2000)
    called = requests.copy()
    first, second = (arrival_state(load_device("ddr5-4400", 1)).words for _ in range(2))
    place = arrival_place(second)
    play_arrivals(first, requests)
    _play(place, called)
    assert (called == requests).all()
    assert finish_arrival(place, 90_000) == finish_arrivals(first, 90_000)
    assert (first == second).all()
