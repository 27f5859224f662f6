"""Model files that cannot be used: exit 2 and one line that names the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.ones((16, 8), dtype=np.float32)
MATMUL = helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")


def network(weights=WEIGHTS, nodes=(MATMUL,), shape=(1, 16)):
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_nan(shape):
    values = np.ones(shape, dtype=np.float32)
    values[1, 1] = np.nan
    return values


def _onnx(path: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, path)
    return path


def not_onnx(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_text("not a network")
    return path


def empty_file(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.touch()
    return path


def truncated(folder: Path) -> Path:
    path = _onnx(folder / "model.onnx", network())
    path.write_bytes(path.read_bytes()[:-40])
    return path


def without_external_data(folder: Path) -> Path:
    path = folder / "model.onnx"
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save_model(network(), path, **options)
    (folder / "weights.bin").unlink()
    return path


def nan_in_onnx(folder: Path) -> Path:
    return _onnx(folder / "model.onnx", network(with_nan((16, 8))))


def no_operators(folder: Path) -> Path:
    return _onnx(folder / "model.onnx", network(nodes=()))


def zero_extent(folder: Path) -> Path:
    return _onnx(folder / "model.onnx", network(np.ones((16, 0), dtype=np.float32)))


def npz(folder: Path, **arrays) -> Path:
    np.savez(folder / "model.npz", **arrays)
    return folder / "model.npz"


def pickled(folder: Path) -> Path:
    return npz(folder, a=np.array([{}], dtype=object))


def nan_in_npz(folder: Path) -> Path:
    return npz(folder, a=with_nan((8, 8)))


def zero_in_npz(folder: Path) -> Path:
    return npz(folder, a=np.ones((0, 4)))


def vector_in_npz(folder: Path) -> Path:
    return npz(folder, a=np.ones(4))


def empty_npz(folder: Path) -> Path:
    return npz(folder)


def truncated_npz(folder: Path) -> Path:
    path = npz(folder, a=np.ones((64, 64)))
    path.write_bytes(path.read_bytes()[:500])
    return path


def csv(folder: Path, text: str) -> Path:
    path = folder / "model.csv"
    path.write_text(text)
    return path


def zero_in_csv(folder: Path) -> Path:
    return csv(folder, "Layer,M,N,K\nfc,1,0,16\n")


def header_only_csv(folder: Path) -> Path:
    return csv(folder, "Layer,M,N,K\n")


def missing(folder: Path) -> Path:
    return folder / "nowhere.onnx"


FILES = [
    (not_onnx, "an ONNX"),
    (empty_file, "an ONNX graph with operators"),
    (truncated, "an ONNX file"),
    (without_external_data, "external weight data"),
    (nan_in_onnx, "finite values"),
    (no_operators, "operators"),
    (zero_extent, ""),
    (pickled, "without pickled objects"),
    (nan_in_npz, "finite values"),
    (zero_in_npz, "a real matrix [k, n]"),
    (vector_in_npz, "a real matrix [k, n]"),
    (empty_npz, "at least one matrix"),
    pytest.param(
        truncated_npz,
        "an npz archive",
        # numpy leaves the file open when it finds no archive in it.
        marks=pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    ),
    (zero_in_csv, "N, an integer of at least 1"),
    (header_only_csv, "at least one layer"),
    (missing, "an existing file"),
]


@pytest.mark.parametrize(("make", "need"), FILES, ids=lambda v: getattr(v, "__name__", ""))
def test_an_unusable_file_is_refused_in_one_line(hwsim, tmp_path, make, need):
    assert need in hwsim("run", make(tmp_path)).refusal()[1]


def test_the_same_network_undamaged_runs(hwsim, tmp_path):
    path = _onnx(tmp_path / "model.onnx", network())
    outcome = hwsim("run", path, "--json", "-")
    assert outcome.status == 0
    assert outcome.document["macs"] == 16 * 8
