"""Every matrix of an archive becomes an independent linear layer."""

import numpy as np
import pytest

from hwsim.core.errors import InputError
from models.zoo import load_model


def test_matrices_become_independent_linear_layers(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, a=np.eye(4, 6, dtype=np.float32), b=np.ones((3, 2), dtype=np.float32))
    graph = load_model(str(path), batch=5)
    assert graph.op("a").gemm().to_json() == {"groups": 1, "m": 5, "k": 4, "n": 6}
    assert graph.totals()["macs"] == 5 * (4 * 6 + 3 * 2)
    assert (graph.weight_values(graph.op("b")) == 1).all()
    assert load_model(str(path)).op("a").gemm().m == 1


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": np.array([{}], dtype=object)},
        {"a": np.ones(3)},
        {"a": np.ones((2, 2), dtype=complex)},
        {"a": np.ones((0, 2))},
        {},
    ],
)
def test_other_content_is_refused(tmp_path, arrays):
    path = tmp_path / "w.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError) as caught:
        load_model(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "w.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match="npz"):
        load_model(str(path))


def test_not_finite_values_are_refused(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, a=np.full((2, 2), np.nan))
    with pytest.raises(InputError, match=r"a\.weight"):
        load_model(str(path))
