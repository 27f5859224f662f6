"""Run sparse products on the machine of threads, instruction by instruction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.measure import peak_rss_bytes, sample
from hwsim.core.result import Result

__all__ = ["PRODUCTS", "WORKLOADS", "sparse_product"]

WORKLOADS = ("ppr", "teddy", "khop", "gcn", "mlp")
"""Chains of kernels on the matrix of docs/piuma.md."""
PRODUCTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "piuma-fv1": ("stencil9:98", "smash-v3", ()),
    "piuma-uniform": ("uniform:n=1000,density=0.05", "smash-v3", ()),
    "piuma-rmat-v3": ("rmat", "smash-v3", ()),
    "piuma-rmat-v2": ("rmat", "smash-v2", ()),
    "piuma-rmat-v1": ("rmat", "smash-v1", ()),
    "piuma-64-blocks": ("stencil9:98", "smash-v3", ("blocks=64",)),
    **{
        f"piuma-{kernel}": ("powerlaw:n=1000,edges=6000,seed=1", kernel, ("smash.hash=mult",))
        for kernel in WORKLOADS
    },
}
"""Workload -> matrix, kernel, settings."""


def sparse_product(name: str, n: int) -> dict[str, Any]:
    """Map, lower and simulate a product or workload, values checked in the first run."""
    from hwsim.experiments.pipeline import RunRequest, execute, prepare

    source, kernel, settings = PRODUCTS[name]
    request = RunRequest(
        source, machine="piuma", kernel=kernel, settings=settings, is_verified=True
    )
    session = prepare(replace(request, is_verified=False))
    results: list[Result] = []

    def check() -> None:
        results[:] = [execute(request)]
        if not all(record["equal"] for record in results[0].verification):
            raise RuntimeError(f"{name}: values differ from scipy's")

    def work() -> None:
        results[:] = [session.machine.run(session.program)]

    first = sample(check, n=1, warmups=0)  # the warm-up; may compile
    samples = sample(work, n=n, warmups=0) if n else first
    return {
        "samples": samples.to_json(),
        "first_s": first.median_s,
        "cycles": results[0].cycles,
        "instructions": results[0].extra["instructions"],
        "products": results[0].extra["partial_products"],
        "peak_rss": peak_rss_bytes(),
    }
