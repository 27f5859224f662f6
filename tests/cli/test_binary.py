"""Check ``hwsim asm`` and ``hwsim disasm``, and what a bad file gets."""

from __future__ import annotations


def test_text_becomes_binary_and_text_again(hwsim, tmp_path):
    text = "LD rel=mv mode=4 channel=3 length=4096\nMV wait=ld rel=st flags=8 k=128\nSYS wait=st"
    (tmp_path / "a.txt").write_text(text)
    assert hwsim("asm", str(tmp_path / "a.txt"), str(tmp_path / "a.bin")).status == 0
    assert (tmp_path / "a.bin").stat().st_size == 28 + 16 + 4
    shown = hwsim("disasm", str(tmp_path / "a.bin")).out
    (tmp_path / "b.txt").write_text(shown)
    assert hwsim("asm", str(tmp_path / "b.txt"), str(tmp_path / "b.bin")).status == 0
    assert (tmp_path / "b.bin").read_bytes() == (tmp_path / "a.bin").read_bytes()


def test_bad_files_are_one_line(hwsim, tmp_path):
    (tmp_path / "bad.bin").write_bytes(b"\x00\x00\x00\x60")
    (tmp_path / "bad.txt").write_text("JUMP")
    for args in (
        ("disasm", str(tmp_path / "bad.bin")),
        ("disasm", str(tmp_path / "none.bin")),
        ("asm", str(tmp_path / "bad.txt"), str(tmp_path / "x.bin")),
        ("asm", str(tmp_path / "none.txt"), str(tmp_path / "x.bin")),
        ("run", "llama2-7b", "--machine", "flightllm", "--phase", "decode", "--kv", "5000"),
        ("run", "llama2-7b", "--machine", "flightllm", "--phase", "decode"),
        ("run", str(tmp_path), "--machine", "flightllm", "--phase", "prefill", "--seq", "8"),
    ):
        result = hwsim(*args)
        assert result.status == 2, args
        assert result.err.startswith("error: "), args
        assert result.err.count("\n") == 1, args
