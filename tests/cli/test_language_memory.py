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
    refused = hwsim(*asked, "--set", "timing=artifact", *step).refusal()
    assert refused[0] == "--memories: memory.model=dram: timing"
    assert refused[1:] == ("independent for memory.model dram", "artifact")


def test_a_model_beyond_hbm_cannot_be_set_beside_its_commands(hwsim, tmp_path):
    # 24 layers of more than 3 * 2^28 weights at 4.1 bits: over 9 GiB, and a U280 has 8.
    config = TINY | {"num_hidden_layers": 24, "hidden_size": 1 << 12, "intermediate_size": 1 << 16}
    (tmp_path / "config.json").write_text(json.dumps(config))
    asked = ("run", str(tmp_path), "--machine", "flightllm", "--preset", "u280")
    refused = hwsim(*asked, "--phase", "decode", "--kv", "40", "--memories").refusal()
    assert refused[0] == "--memories: memory.model=dram: memory.device"
    assert refused[1].endswith("bytes per channel for the model")
    assert refused[2] == f"{1 << 28} on hbm2-1800"
