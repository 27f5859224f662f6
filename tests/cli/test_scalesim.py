"""Preset ``scalesim`` prints what SCALE-Sim 3.0.0 prints, from the same GEMM table."""

from __future__ import annotations

from math import ceil

import pytest

# Printed by SCALE-Sim 3.0.0 on a 32x32 array: (m, n, k) -> total cycles per dataflow.
PRINTED = {
    (512, 512, 512): {"ws": 155135, "os": 146943, "is": 155135},
    (128, 64, 256): {"ws": 3551, "os": 2543, "is": 5055},
    (37, 91, 53): {"ws": 785, "os": 689, "is": 739},
    (1, 1000, 2048): {"ws": 194559, "os": 67519, "is": 70015},
}
SIDE = 32


def by_convention(m: int, n: int, k: int, dataflow: str) -> int:
    """Return the index of the last cycle: folds x (stream + load + skew + drain), minus 1."""
    if dataflow == "os":
        return ceil(m / SIDE) * ceil(n / SIDE) * (k + SIDE + SIDE - 2) - 1
    folded, streamed = (n, m) if dataflow == "ws" else (m, n)
    return ceil(k / SIDE) * ceil(folded / SIDE) * (streamed + 2 * SIDE + SIDE - 2) - 1


@pytest.fixture
def table(tmp_path):
    """Return a function that writes products (m, n, k) as a GEMM table in any column order."""

    def write(shapes, columns="MNK"):
        lines = ["Layer," + ",".join(columns)]
        for index, (m, n, k) in enumerate(shapes):
            extents = {"M": m, "N": n, "K": k}
            lines.append(f"gemm{index}," + ",".join(str(extents[c]) for c in columns))
        path = tmp_path / "gemms.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize("shape", PRINTED, ids=lambda s: "x".join(map(str, s)))
def test_the_printed_count_is_reproduced_from_a_gemm_table(hwsim, table, shape, dataflow):
    flags = ("--preset", "scalesim", "--dataflow", dataflow, "--json", "-")
    run = hwsim("run", table([shape]), *flags).document
    assert run["cycles"] == PRINTED[shape][dataflow]
    assert run["cycles"] == by_convention(*shape, dataflow)


def test_a_network_s_count_is_the_sum_of_its_layers_printed_counts(hwsim, table):
    shapes = list(PRINTED)
    flags = ("--preset", "scalesim", "--dataflow", "ws", "--json", "-")
    run = hwsim("run", table(shapes), *flags).document
    printed = [PRINTED[shape]["ws"] for shape in shapes]
    assert [layer["cycles"] for layer in run["layers"]] == printed
    assert run["cycles"] == sum(printed)


@pytest.mark.parametrize("columns", ["MNK", "KNM", "NKM"])
def test_columns_are_read_by_their_names(hwsim, table, columns):
    flags = ("--preset", "scalesim", "--dataflow", "is", "--json", "-")
    run = hwsim("run", table([(37, 91, 53)], columns), *flags).document
    assert run["cycles"] == 739


def test_another_array_gives_another_count(hwsim, table):
    flags = ("--preset", "scalesim", "--dataflow", "ws", "--set", "array.rows=16", "--json", "-")
    run = hwsim("run", table([(512, 512, 512)]), *flags).document
    # Half the rows: twice the folds, each 16 rows shorter to load and to skew.
    assert run["cycles"] == (512 // 16) * (512 // 32) * (512 + 2 * 16 + 32 - 2) - 1


def test_nm_weights_shorten_only_the_weight_stationary_dataflow(hwsim, table):
    flags = ("--preset", "scalesim", "--sparsity", "nm:2:8", "--json", "-")
    path = table([(512, 512, 512)])
    assert hwsim("run", path, "--dataflow", "ws", *flags).document["cycles"] == 38783
    assert hwsim("run", path, "--dataflow", "os", *flags).refusal()[0] == "--dataflow"


def test_a_configuration_sets_array_and_dataflow_and_flags_win(hwsim, table, tmp_path):
    config = tmp_path / "small.cfg"
    config.write_text(
        "[architecture_presets]\nArrayHeight: 16\nArrayWidth: 8\nDataflow: ws\n", encoding="utf-8"
    )
    flags = ("--preset", "scalesim", "--spec", str(config), "--json", "-")
    m, n, k = 128, 64, 256
    folds = ceil(k / 16) * ceil(n / 8)
    run = hwsim("run", table([(m, n, k)]), *flags)
    assert run.document["cycles"] == folds * (m + 2 * 16 + 8 - 2) - 1
    wider = hwsim("run", table([(m, n, k)]), *flags, "--set", "array.cols=64")
    assert wider.document["cycles"] == ceil(k / 16) * (m + 2 * 16 + 64 - 2) - 1
