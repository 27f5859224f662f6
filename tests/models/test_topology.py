"""Topology tables mean what SCALE-Sim computes from them."""

import math

import numpy as np
import pytest

from hwsim.core.errors import InputError
from hwsim.core.graph import OpKind
from hwsim.core.sparsity import NM, Dense
from models.build import with_random_weights
from models.reference import execute
from models.topology import read_scalesim_config
from models.zoo import load_model

CONV_HEADER = (
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, "
    "Channels, Num Filter, Strides,"
)


def table(tmp_path, *lines):
    path = tmp_path / "net.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_convolution_row_has_its_extents_and_macs(tmp_path):
    graph = load_model(table(tmp_path, CONV_HEADER, "Conv1, 224, 224, 7, 7, 3, 64, 2,"))
    op = graph.op("Conv1")
    # derived: ceil((224 - 7 + 2) / 2) = 110
    assert (op.dims["oh"], op.dims["ow"]) == (110, 110)
    assert op.macs() == 110**2 * 49 * 3 * 64


@pytest.mark.parametrize("size", range(3, 12))
@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_output_extents_round_up_and_the_graph_executes(tmp_path, size, kernel, stride):
    row = f"c, {size}, {size + 1}, {kernel}, {kernel}, 2, 3, {stride},"
    graph = with_random_weights(
        load_model(table(tmp_path, CONV_HEADER, row), batch=2), np.random.default_rng(0)
    )
    op = graph.op("c")
    assert op.dims["oh"] == math.ceil((size - kernel + stride) / stride)
    assert op.dims["ow"] == math.ceil((size + 1 - kernel + stride) / stride)
    x = np.ones((2, 2, size, size + 1), dtype=np.float32)
    assert execute(graph, {"c.x": x})["c"].shape == (2, 3, op.dims["oh"], op.dims["ow"])


def test_the_trailing_comma_is_optional(tmp_path):
    with_comma = load_model(table(tmp_path, CONV_HEADER, "a, 8, 8, 3, 3, 4, 8, 1,"))
    without = load_model(table(tmp_path, CONV_HEADER.rstrip(","), "a, 8, 8, 3, 3, 4, 8, 1"))
    assert list(with_comma.ops()) == list(without.ops())


def test_sparsity_and_column_stride_are_told_apart(tmp_path):
    lines = [
        "a, 8, 8, 3, 3, 4, 8, 1, 2:4,",
        "b, 8, 8, 3, 3, 4, 8, 1, 2,",
        "c, 8, 8, 3, 3, 4, 8, 1, 1:1,",
    ]
    graph = load_model(table(tmp_path, CONV_HEADER, *lines))
    assert graph.op("a").weight.pattern == NM(nm_n=2, nm_m=4)
    assert graph.op("b").attrs["strides"] == [1, 2]
    assert graph.op("c").weight.pattern == Dense()
    assert graph.op("a").useful_macs() * 2 == graph.op("a").macs()


def test_depthwise_rows_are_one_layer_per_channel(tmp_path):
    graph = load_model(table(tmp_path, CONV_HEADER, "DP1, 8, 8, 3, 3, 5, 1, 1,"))
    assert [op.name for op in graph.ops()] == [f"DP1Channel_{i}" for i in range(5)]
    assert graph.totals()["macs"] == 5 * 6 * 6 * 9


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Layer, M, N, K,", "g, 10, 20, 30,"),
        ("Layer, N, K, M", "g, 20, 30, 10"),
        ("Layer name, rows, cols, depth", "g, 10, 20, 30"),
    ],
)
def test_gemm_columns_go_by_name_else_m_n_k(tmp_path, header, row):
    graph = load_model(table(tmp_path, header, row), batch=2)
    assert graph.op("g").gemm().to_json() == {"groups": 1, "m": 20, "k": 30, "n": 20}


def test_gemm_rows_take_sparsity_and_a_batch(tmp_path):
    graph = load_model(table(tmp_path, "Layer, M, N, K,", "g, 4, 8, 16, 1:4,", "h, 4, 8, 16, 3,"))
    assert graph.op("g").useful_macs() * 4 == graph.op("g").macs()
    assert graph.op("h").kind is OpKind.MATMUL
    assert graph.op("h").macs() == 3 * 4 * 8 * 16


def test_repeated_layer_names_become_unique(tmp_path):
    graph = load_model(table(tmp_path, "Layer, M, N, K,", "g, 1, 2, 3,", "g, 1, 2, 3,"))
    assert [op.name for op in graph.ops()] == ["g", "g.2"]


@pytest.mark.parametrize(
    ("header", "row", "where", "words"),
    [
        (CONV_HEADER, "c, 8, eight, 3, 3, 4, 8, 1,", "2:7", "'eight'"),
        (CONV_HEADER, "c, 8, 8, 3, 3, 4, 0, 1,", "2:19", "at least 1"),
        (CONV_HEADER, "c, 8, 8, 3, 3,", "2:13", "end of the row"),
        (CONV_HEADER, "c, 2, 8, 3, 3, 4, 8, 1,", "2:10", "no larger than the ifmap"),
        (CONV_HEADER, "c, 8, 8, 3, 3, 4, 8, 1, 5:4,", "2:25", "N:M"),
        ("Layer, M, N, K,", "g, 1, x, 3,", "2:7", "N, an integer"),
        ("c, 8, 8, 3, 3, 4, 8, 1,", "c, 8, 8, 3, 3, 4, 8, 1,", "1:4", "header"),
    ],
)
def test_bad_fields_are_located(tmp_path, header, row, where, words):
    path = table(tmp_path, header, row)
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}:{where}: need ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_without_layers_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one layer"):
        load_model(table(tmp_path, CONV_HEADER))


CONFIG = """
[general]
run_name = google

[architecture_presets]
ArrayHeight: 256
ArrayWidth:  128
IfmapSramSzkB: 64
Dataflow : ws
Bandwidth : 10,20

[run_presets]
InterfaceBandwidth: {mode}
"""


def test_a_configuration_gives_spec_values(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_text(CONFIG.format(mode="USER"))
    assert read_scalesim_config(path) == {
        "array": {"rows": 256, "cols": 128},
        "dataflow": "ws",
        "ifmap_sram_bytes": 65536,
        "bandwidth_words_per_cycle": [10, 20],
        "run_name": "google",
    }


def test_bandwidth_counts_only_in_user_mode(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_text(CONFIG.format(mode="CALC"))
    assert "bandwidth_words_per_cycle" not in read_scalesim_config(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ArrayHeight: 256", "ArrayHeight: many"),
        ("ArrayWidth:  128", ""),
        ("Dataflow : ws", "Dataflow : rs"),
        ("10,20", "fast"),
        ("[general]", "general"),
    ],
)
def test_bad_configurations_are_named(tmp_path, old, new):
    path = tmp_path / "a.cfg"
    path.write_text(CONFIG.format(mode="USER").replace(old, new))
    with pytest.raises(InputError) as caught:
        read_scalesim_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
