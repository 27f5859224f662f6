"""Leave the comparison with the machine's kernels out where there are none."""

from __future__ import annotations

import importlib.util

collect_ignore = []
if importlib.util.find_spec("hwsim.piuma.thread_kernels") is None:
    collect_ignore.append("test_simulator_units.py")
