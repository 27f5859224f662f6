"""``run --schedule`` and ``--no-pregenerate``: document, summary, page, and what is refused."""

from __future__ import annotations

import json

import jsonschema
import pytest

MODEL = "resnet18-32"
TRAIN = ("run", MODEL, "--phase", "train", "--batch", 4, "--training", "bdwp")
SCHEDULE = ("--schedule", "constant:2:8:steps=30,dense=10")


def test_a_run_s_document_has_the_schedule_and_keeps_the_contract(hwsim):
    outcome = hwsim(*TRAIN, *SCHEDULE, "--json", "-")
    assert (outcome.status, outcome.err) == (0, "")
    document = outcome.document
    jsonschema.validate(document, hwsim("schema", "run").document["schema"])
    step = hwsim(*TRAIN, "--sparsity", "nm:2:8", "--json", "-").document
    assert document["cycles"] == step["cycles"]
    assert document["layers"] == step["layers"]
    schedule = document["schedule"]
    dense = step["baseline"]["dense_cycles"]
    assert schedule["cycles"] == 10 * dense + 30 * step["cycles"]
    assert schedule["speedup"] == 40 * dense / schedule["cycles"] > 1
    assert [frame["from_step"] for frame in schedule["frames"]] == [0, 10]


def test_steps_stand_in_for_the_schedule_s_own(hwsim):
    given = hwsim(*TRAIN, "--schedule", "constant:2:8:steps=30,dense=10", "--json", "-").document
    filled = hwsim(*TRAIN, "--schedule", "constant:2:8:dense=10", "--steps", 40, "--json", "-")
    assert filled.document["schedule"] == given["schedule"]


def test_summary_page_and_figure_show_the_whole_run(hwsim, tmp_path):
    outcome = hwsim(*TRAIN, *SCHEDULE, "--report", tmp_path / "out")
    assert outcome.status == 0
    assert "Training run: 40 steps" in outcome.out
    assert "Stages of an iteration" in outcome.out
    (page,) = (tmp_path / "out").glob("run-*.html")
    assert "Iteration time over the run" in page.read_text()
    files = json.loads((tmp_path / "out" / "results.json").read_text())["files"]
    assert any(name.endswith("-schedule.png") for name in files)
    assert any(name.endswith("-stages.png") for name in files)


def test_selection_in_front_of_the_products_is_said_and_slower_op_after_op(hwsim):
    flags = (*TRAIN, "--sparsity", "nm:2:8", "--mapper", "greedy", "--json", "-")
    before, behind = hwsim(*flags, "--no-pregenerate").document, hwsim(*flags).document
    assert (before["pregenerated"], behind["pregenerated"]) == (False, True)
    assert before["cycles"] > behind["cycles"]
    assert before["useful_macs"] == behind["useful_macs"]
    assert before["baseline"]["dense_cycles"] == behind["baseline"]["dense_cycles"]

    def selecting(document):
        return {x["stage"] for x in document["layers"] if x["kind"] == "nm_prune"}

    assert selecting(before) == {"ff", "bp"}
    assert selecting(behind) == {"wu"}


def test_inference_says_nothing_of_selection(hwsim):
    assert "pregenerated" not in hwsim("run", MODEL, "--json", "-").document


@pytest.mark.parametrize(
    ("flags", "field", "need", "found"),
    [
        (["--schedule", "constan:2:8:steps=3"], "--schedule", "constant", "mean constant?"),
        (["--schedule", "constant:2:8"], "--schedule", "constant:N:M:steps=S", "'constant:2:8'"),
        (["--schedule", "constant:9:8:steps=3"], "--schedule", "1 to 8", "9"),
        (["--schedule", "constant:2:8:steps=0"], "--schedule", "steps: at least 1", "0"),
        (["--schedule", "constant:2:8:steps=3,c=1"], "--schedule", "mask decay", "constant"),
        (["--schedule", "mdgf-exp:2:8:steps=3"], "--schedule", "c: a positive decay", "0.0"),
        (["--schedule", "sdgf-step:1:8:steps=3"], "--schedule", "at least 4", "3"),
        (["--schedule", "sdgf-geo:2:8:steps=9"], "--schedule", "sat can run", "16:64"),
        ([*SCHEDULE, "--steps", "41"], "--steps", "40, the sum", "41"),
        (["--schedule", "constant:2:8:fine=9", "--steps", "9"], "--steps", "more than the 9", "9"),
        ([*SCHEDULE, "--steps", "0"], "--steps", "at least 1", "'0'"),
        (["--steps", "41"], "--steps", "--schedule", "41"),
        ([*SCHEDULE, "--sparsity", "nm:2:8"], "--sparsity", "no pattern beside", "'nm:2:8'"),
        ([*SCHEDULE, "--training", "dense"], "--training", "sr-ste", "'dense'"),
        (
            ["--training", "sdgp", "--sparsity", "nm:2:8", "--no-pregenerate"],
            "--no-pregenerate",
            "which select weights",
            "'sdgp'",
        ),
    ],
    ids=str,
)
def test_schedules_and_flags_that_do_not_work_out_are_refused(hwsim, flags, field, need, found):
    refusal = hwsim(*TRAIN, *flags).refusal()
    assert refusal[0] == field
    assert need in refusal[1]
    assert found in refusal[2]


@pytest.mark.parametrize("flag", [SCHEDULE, ("--no-pregenerate",)])
def test_flags_of_training_are_refused_in_inference(hwsim, flag):
    assert hwsim("run", MODEL, *flag).refusal()[0] == flag[0]
