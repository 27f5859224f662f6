"""Wrong flags and values: exit 2, nothing on stdout, one line that names field, need and found."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwsim.cli.options import parse_inputs
from hwsim.core.errors import InputError

MODEL = "resnet18-32"

FLAGS = [
    (["resnet19"], "model", "resnet18", "did you mean"),
    ([""], "model", "resnet18", "''"),
    ([MODEL, "--machine", "sta"], "--machine", "sat", "'sta' (did you mean sat?)"),
    ([MODEL, "--preset", "scale"], "--preset", "scalesim", "did you mean scalesim?"),
    ([MODEL, "--sparsty", "dense"], "--sparsty", "a known option", "--sparsity?)"),
    ([MODEL, "--detail", "cycle"], "--detail", "fast, tile, pe", "'cycle'"),
    ([MODEL, "--dataflow", "is"], "--dataflow", "ws, os on sat", "'is'"),
    ([MODEL, "--dataflow", "systolic"], "--dataflow", "ws, os on sat", "'systolic'"),
    ([MODEL, "--sparsity", "nm:9:8"], "--sparsity", "N from 1 to 8", "'nm:9:8'"),
    ([MODEL, "--sparsity", "nm:0:8"], "--sparsity", "N from 1 to 8", "'nm:0:8'"),
    ([MODEL, "--sparsity", "nm:two:8"], "--sparsity", "nm:N:M", "'nm:two:8'"),
    ([MODEL, "--sparsity", "2:8"], "--sparsity", "nm:N:M", "'2:8'"),
    ([MODEL, "--sparsity", "unstructured:1.5"], "--sparsity", "fraction", "'unstructured:1.5'"),
    ([MODEL, "--sparsity", "unstructured:0.5"], "--sparsity", "dense, nm on sat", "0.5"),
    ([MODEL, "--sparsity", "block:0x1:0.5"], "--sparsity", "at least 1x1", "block:0x1"),
    ([MODEL, "--sparsity", "published"], "--sparsity", "publishes", f"none published for {MODEL}"),
    ([MODEL, "--sparsity", "nm:2:8", "--pruner", "taylor"], "--pruner", "magnitude", "'taylor'"),
    ([MODEL, "--phase", "decode"], "--phase", "infer or train", "'decode'"),
    (["llama2-7b"], "--phase", "prefill or decode for llama2-7b on sat", "'infer'"),
    ([MODEL, "--machine", "flightllm"], "--machine", "infer or train", "flightllm (prefill,"),
    (["stencil9:9", "--machine", "flightllm"], "--machine", "--phase infer for", "flightllm"),
    (["llama2-7b", "--machine", "cpu"], "--machine", "prefill, decode or", "cpu (infer)"),
    (["resnet", "--phase", "prefill"], "model", MODEL, "'resnet'"),
    ([MODEL, "--phase", "request"], "--phase", "infer, train, prefill, decode on sat", "'request'"),
    ([MODEL, "--training", "bdwp"], "--training", "--phase train", "'bdwp'"),
    ([MODEL, "--training", "bdpw"], "--training", "bdwp", "'bdpw'"),
    ([MODEL, "--batch", "0"], "--batch", "at least 1", "0"),
    ([MODEL, "--batch", "-4"], "--batch", "at least 1", "-4"),
    ([MODEL, "--batch", "two"], "--batch", "integer", "'two'"),
    ([MODEL, "--jobs", "0"], "--jobs", "at least 1", "'0'"),
    ([MODEL, "--seed", "-1"], "--seed", "at least 0", "'-1'"),
    ([MODEL, "--input", "image"], "--input", "name=1,3,640,640", "'image'"),
    ([MODEL, "--input", "image=1,3"], "--input image", "4 extents", "(1, 3)"),
    ([MODEL, "--input", "image=1,3,0,32"], "--input image", "at least 1", "0"),
    ([MODEL, "--input", "picture=1,3,32,32"], "--input", "image", "'picture'"),
    ([MODEL, "--set", "array.rowz=4"], "--set", "a known key", "did you mean array.rows"),
    ([MODEL, "--set", "array.rows"], "--set", "key=value", "'array.rows'"),
    ([MODEL, "--set", "array.rows=0"], "array.rows", "at least 1", "0"),
    ([MODEL, "--set", "memory.channels=0"], "memory.channels", "at least 1", "0"),
    ([MODEL, "--set", "array.rows=-3"], "array.rows", "at least 1", "-3"),
    ([MODEL, "--set", f"array.rows={10**24}"], "sizes", "below 2^63", "more"),
    ([MODEL, "--set", "array.rows=2.5"], "array.rows", "an integer", "2.5"),
    ([MODEL, "--set", "array.rows=many"], "array.rows", "an integer", "'many'"),
    ([MODEL, "--set", "array=3"], "array", "a table of keys", "3"),
    ([MODEL, "--set", "array.timing=real"], "array.timing", "'sat', 'scalesim'", "'real'"),
    ([MODEL, "--set", "array.overlap_skew=7"], "array.overlap_skew", "true or false", "7"),
    (
        [MODEL, "--set", "memory.efficiency_percent=101"],
        "memory.efficiency_percent",
        "at most 100",
        "101",
    ),
    ([MODEL, "--estimate", "--detail", "pe"], "--detail", "--estimate", "'pe'"),
    ([MODEL, "--estimate", "--trace", "t.json"], "--trace", "simulated run", "--estimate"),
    ([MODEL, "--json"], "--json", "a value", "nothing"),
    ([MODEL, "extra"], "arguments", "no more", "'extra'"),
    ([], "MODEL", "a value", "nothing"),
]


@pytest.mark.parametrize(("flags", "field", "need", "found"), FLAGS, ids=lambda v: str(v)[:60])
def test_a_wrong_flag_is_named(hwsim, flags, field, need, found):
    refusal = hwsim("run", *flags).refusal()
    assert refusal[0] == field
    assert need in refusal[1]
    assert found in refusal[2]


@pytest.mark.parametrize(
    ("arguments", "field", "found"),
    [
        (["rnu"], "command", "'rnu' (did you mean run?)"),
        ([], "command", "nothing"),
        (["--loud"], "--loud", "--loud"),
        (["schema", "rum"], "WHICH", "'rum' (did you mean run?)"),
        (["validate", "scalsim"], "NAME", "did you mean scalesim?"),
        (["compare", MODEL], "--machines", "nothing"),
        (["compare", MODEL, "--machines", "sat,gpu"], "--machine", "'gpu'"),
        (["compare", MODEL, "--machines", "sat:vcu"], "--preset", "'vcu'"),
        (["sim", "resnet19"], "model", "'resnet19'"),
        (["diff", "a.json"], "SECOND", "nothing"),
        (["diff", "missing.json", "missing.json"], "missing.json", "No such file"),
    ],
    ids=str,
)
def test_every_command_refuses_in_the_same_form(hwsim, arguments, field, found):
    refusal = hwsim(*arguments).refusal()
    assert refusal[0] == field
    assert found in refusal[2]


def test_a_tiny_buffer_names_operator_buffer_need_and_have(hwsim, matrices):
    field, need, found = hwsim("run", matrices, "--set", "buffers.weight_bytes=64").refusal()
    assert field.endswith("weight")
    assert int(need.removesuffix(" bytes")) > 64
    assert found == "64 bytes"


@pytest.mark.parametrize(
    ("name", "text", "field", "need"),
    [
        ("s.toml", "[array]\nrowz = 4\n", "array.rowz", "a known key"),
        ("s.toml", "[array]\nrows = 0\n", "array.rows", "at least 1"),
        ("s.toml", "[memory]\nlatency_cycles = -1\n", "memory.latency_cycles", "at least 0"),
        ("s.toml", "[array\nrows = 4\n", "--spec", "a readable TOML or JSON file"),
        ("s.json", "{rows: 4}", "--spec", "a readable TOML or JSON file"),
        ("s.json", "[1, 2]", "--spec", "a table of keys"),
        ("s.json", '{"clock_hz": null}', "clock_hz", "an integer"),
    ],
)
def test_a_bad_spec_file_is_named_by_its_key(hwsim, matrices, tmp_path, name, text, field, need):
    path = tmp_path / name
    path.write_text(text)
    refusal = hwsim("run", matrices, "--spec", path).refusal()
    assert refusal[0] == field
    assert need in refusal[1]


def test_a_missing_spec_file_is_named(hwsim, matrices):
    assert hwsim("run", matrices, "--spec", "no.toml").refusal()[0] == "--spec"


@pytest.mark.parametrize("flag", ["--json", "--trace", "--report"])
def test_an_output_that_cannot_be_written_is_refused(hwsim, matrices, tmp_path, flag):
    blocked = tmp_path / "file"
    blocked.write_text("kept")
    outcome = hwsim("run", matrices, flag, blocked / "below")
    assert outcome.refusal()[1].startswith("a ")
    assert blocked.read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_json_path_that_is_a_folder_leaves_no_temporary_file(hwsim, matrices, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    assert hwsim("run", matrices, "--json", folder).refusal()[0] == "--json"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("text", ["x=1,3,8", "x=1x3x8"])
def test_shapes_are_written_with_commas_or_crosses(text):
    assert parse_inputs([text, "y=4"]) == {"x": (1, 3, 8), "y": (4,)}


@pytest.mark.parametrize("text", ["x", "x=", "x=1,,2", "x=a"])
def test_a_malformed_shape_is_refused(text):
    with pytest.raises(InputError, match="--input"):
        parse_inputs([text])


def test_a_good_run_is_not_refused(hwsim, matrices):
    outcome = hwsim("run", matrices)
    assert outcome.status == 0
    assert "cycles" in outcome.out
    assert Path(matrices).stem in outcome.out
