"""Check ``hwsim asm`` and ``hwsim disasm``, and what a bad file gets."""

from __future__ import annotations

import pytest


def test_text_becomes_binary_and_text_again(hwsim, tmp_path):
    text = "LD rel=mv mode=4 channel=3 length=4096\nMV wait=ld rel=st flags=8 k=128\nSYS wait=st"
    (tmp_path / "a.txt").write_text(text)
    assert hwsim("asm", str(tmp_path / "a.txt"), str(tmp_path / "a.bin")).status == 0
    assert (tmp_path / "a.bin").stat().st_size == 28 + 16 + 4
    shown = hwsim("disasm", str(tmp_path / "a.bin")).out
    (tmp_path / "b.txt").write_text(shown)
    assert hwsim("asm", str(tmp_path / "b.txt"), str(tmp_path / "b.bin")).status == 0
    assert (tmp_path / "b.bin").read_bytes() == (tmp_path / "a.bin").read_bytes()


MISSING = "No such file or directory"
FILES = [
    (("disasm", "none.bin"), "none.bin", "a readable file", MISSING),
    (("disasm", "."), ".", "a readable file", "Is a directory"),
    (("disasm", "bad.bin"), "program offset 0", "an opcode", "0110"),
    (("asm", "none.txt", "x.bin"), "none.txt", "a readable file", MISSING),
    (("asm", "bad.bin", "x.bin"), "bad.bin", "a file of text", "4 bytes"),
    (("asm", "bad.txt", "x.bin"), "line 1", "one of LD, ST", "'JUMP'"),
    (("asm", "good.txt", "folder"), "OUTPUT", "a writable file", "folder: Is a directory"),
    (("kernels", "time", "none.s"), "none.s", "a readable file", MISSING),
]
STEP = ("--machine", "flightllm", "--phase", "decode")
RUNS = [
    (("run", "llama2-7b", *STEP, "--kv", "5000"), "--kv", "4096 tokens", "5000"),
    (("run", "llama2-7b", *STEP), "--kv", "a number of tokens", "none"),
    (("run", "llama2-7b", *STEP, "--set", "mpe.mv_columns=100"), "mpe.mv_columns", "512", "100"),
    (("run", "llama2-7b", *STEP, "--set", "mpe.block_cycles=3"), "mpe.block_cycles", "4, 8", "3"),
    (("run", ".", *STEP, "--kv", "8"), "model", "an existing config.json", "config.json"),
    (("run", "llama2-7b", *STEP, "--spec", "no.toml"), "--spec", "TOML", f"no.toml: {MISSING}"),
    (
        ("run", "llama2-7b", *STEP, "--kv", "8", "--sparsity", "no.npz"),
        "no.npz",
        "npz archive",
        MISSING,
    ),
]


@pytest.mark.parametrize(("arguments", "field", "need", "found"), FILES + RUNS)
def test_a_bad_file_is_named_without_errno(
    hwsim, tmp_path, monkeypatch, arguments, field, need, found
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.bin").write_bytes(b"\xff\x00\x00\x60")
    (tmp_path / "bad.txt").write_text("JUMP")
    (tmp_path / "good.txt").write_text("SYS")
    refusal = hwsim(*arguments).refusal()
    assert refusal[0] == field
    assert need in refusal[1]
    assert found in refusal[2]
    assert "Errno" not in refusal[2]
    assert not list(tmp_path.glob("*.partial"))
