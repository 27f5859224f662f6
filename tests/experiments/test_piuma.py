"""PIUMA's claims: closed forms by counting, and comparisons that can fail."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.experiments import piuma_counts, piuma_memories, piuma_runs
from hwsim.experiments.piuma_counts import mycielskian_counts, stencil_counts
from hwsim.experiments.piuma_laws import knuth_probes
from hwsim.experiments.piuma_runs import PIECE_ROWS, calibrated, sampled_rows
from hwsim.experiments.spgemm_counts import product_counts
from models.sparse.generators import generate


@pytest.mark.parametrize("side", [4, 7, 30])
def test_stencil_counts_are_those_of_the_matrix(side: int) -> None:
    a = generate(f"stencil9:{side}")
    products = int(np.diff(a.indptr)[a.indices].sum())
    a.data[:] = 1
    assert stencil_counts(side) == (products, (a @ a).nnz)


@pytest.mark.parametrize("order", [2, 3, 4, 8])
def test_mycielskian_counts_are_those_of_the_matrix(order: int) -> None:
    a = generate(f"mycielskian:{order}")
    assert mycielskian_counts(order) == product_counts(a, a)


def test_a_matrix_read_wrongly_misses_its_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    right = piuma_counts.read_matrix
    monkeypatch.setattr(piuma_counts, "read_matrix", lambda source: right(source)[:-1, :-1])
    claims = piuma_counts._not_executed()
    assert len(claims) == 4
    assert not any(claim.passed for claim in claims)


def test_knuth_probes_average_what_insertions_take() -> None:
    loads = (np.arange(100_000) + 0.5) / 100_000 * 0.75
    last = 0.5 * (1 + 1 / (1 - loads) ** 2)
    assert knuth_probes(0.75) == pytest.approx(last.mean(), rel=1e-6)


def test_a_sample_keeps_whole_runs_of_rows() -> None:
    sample, matrix = sampled_rows(2), calibrated()
    assert sample.shape == (2 * PIECE_ROWS, matrix.shape[1])
    dense, starts = sample.toarray(), range(0, matrix.shape[0], PIECE_ROWS)
    runs = [matrix[lo : lo + PIECE_ROWS].toarray() for lo in starts]
    for half in (dense[:PIECE_ROWS], dense[PIECE_ROWS:]):
        assert sum((half == run).all() for run in runs) == 1


def test_a_wrong_value_of_the_machine_misses_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    right = piuma_runs.run_product

    def wrong(*args: object, **options: object) -> object:
        result, golden = right(*args, **options)
        result.outputs["product"]["value"][0] += 1
        result.stats.bytes["dram"]["write"] += 12
        return result, golden

    monkeypatch.setattr(piuma_counts, "run_product", wrong)
    claims = piuma_counts._counted("small", "stencil9:5", *stencil_counts(5))
    assert {claim.id: claim.passed for claim in claims} == {
        "piuma-small-products": True,
        "piuma-small-entries": True,
        "piuma-small-values": False,
        "piuma-small-stored": False,
    }


def test_a_memory_that_is_too_far_or_too_fast_misses_its_claims(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(piuma_memories, "_cycles", lambda kernel, model: -len(model))
    monkeypatch.setattr(piuma_memories, "lone_word_cycles", len)
    monkeypatch.setattr(piuma_memories, "words_per_cycle", lambda model: 0.32)
    assert [claim.passed for claim in piuma_memories.claims()] == [False, False, False]
