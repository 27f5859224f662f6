"""State that the compare network loses, repeats and reorders no group."""

from __future__ import annotations

from types import SimpleNamespace

from amaranth.hdl import Module

from rtl.formal.float_pipeline import float_pipeline_properties
from rtl.sat.topn_network import TopNNetwork

__all__ = ["topn_network_properties"]


def topn_network_properties(m: Module, unit: TopNNetwork) -> None:
    """Assert that the k-th group emitted went through all ranks from the k-th one accepted.

    The network stalls as a whole like the floating-point pipelines, and has their registers; what
    the ranks compare is not stated here.
    """
    payload = unit.o.payload.as_value()
    flat = SimpleNamespace(valid=unit.o.valid, ready=unit.o.ready, payload=payload)
    names = ("latency_cycles", "is_used", "stages", "moves", "i")
    float_pipeline_properties(
        m, SimpleNamespace(o=flat, **{name: getattr(unit, name) for name in names})
    )
