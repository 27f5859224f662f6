"""Requests are read as written, and what is none is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwsim.components.dram.request_file import read_requests
from hwsim.core.errors import InputError


def test_lines_become_requests(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text("# clock address bytes kind\n\n0 0x40 64 R\n7 128 32 w # back\n")
    assert read_requests(path).tolist() == [(0, 64, 64, 0, 0), (7, 128, 32, 1, 0)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "need at least one request"),
        ("0 0 64 R\n0 0 64", ":2: need clock address bytes R|W, found '0 0 64'"),
        ("0 0 64 X", ":1: need clock address bytes R|W"),
        ("0 here 64 R", ":1: need clock address bytes R|W"),
        ("0 -64 64 R", ":1.address: need 0 to 2^62 - 1, found -64"),
        ("0 0 99999999999999999999 R", ":1.bytes: need 0 to 2^62 - 1"),
    ],
)
def test_what_is_no_request_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_requests(path)
    assert named in str(error.value)


def test_a_file_of_other_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="need a file of text"):
        read_requests(path)
