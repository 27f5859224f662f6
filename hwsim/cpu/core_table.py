"""Name the arrays of a core, which kernels reach through one table of their places."""

from __future__ import annotations

from numba.core import types

from hwsim.components.array_table import bundle_reader

__all__ = ["ARRAYS", "core_of"]

ARRAYS = {
    **{"code": 2, "params": 1, "state": 1, "registers": 2, "calendar": 1, "hints": 2},
    **{"window": 1, "window_why": 1, "loads": 1, "stores": 1, "lost": 2},
    **{"pointers": 1, "streams": 1, "stream_first": 1, "stream_at": 1, "strides": 2},
    **{"loop_start": 1, "loop_left": 1, "last_trips": 1},
    **{"segments": 2, "actions": 1, "words": 1, "first": 1, "state_slots": 1},
    **{"edges": 2, "edge_slots": 1, "offsets": 2, "edge_lost": 3, "touched": 1, "memo": 1},
    **{"lost_before": 2, "times": 1, "outcomes": 1},
    **{"geometry": 2, "tags": 1, "stamps": 1, "fill": 1, "flags": 1, "written": 1, "recent": 1},
    **{"miss_queue": 1, "walk": 1, "counts": 1, "pages": 1, "page_stamps": 1, "followed": 2},
    **{"dram": 1},
}
"""Array -> its dimensions, in the order of the table; all int64. ``pipeline_kernels.py``,
``memo_kernels.py`` and ``cache_kernels.py`` say what is in them."""

core_of = bundle_reader("Core", {name: (types.int64, count) for name, count in ARRAYS.items()})
"""Return the core of a table, for kernels."""
