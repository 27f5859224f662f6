"""Check ``--memories`` of a language model's step, and what it refuses."""

from __future__ import annotations

import json

from tests.flightllm.tiny_model import TINY


def test_memories_sets_the_models_of_hbm_side_by_side(hwsim, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    asked = ("run", str(tmp_path), "--machine", "flightllm", "--preset", "u280")
    step = ("--phase", "decode", "--kv", "40", "--memories", "--json", "-")
    rows = json.loads(hwsim(*asked, *step).out)["memory_models"]
    assert [row["model"] for row in rows] == ["ideal", "simple", "dram"]
    cycles = [row["cycles"] for row in rows]
    assert cycles[0] == min(cycles) and cycles[1] != cycles[2]
    refused = hwsim(*asked, "--set", "timing=artifact", *step)
    assert refused.status == 2
    assert refused.err == "error: timing: need independent for memory.model dram, found artifact\n"
