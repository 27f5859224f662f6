"""Check that headers are believed only as far as the bytes reach, and values come back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwsim.core.errors import InputError
from models.llm.safetensors_file import SafetensorsFile


def write(path: Path, header: Any, data: bytes, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_values_come_back_from_every_float_format(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.0], [0.25, 3.0]], np.float32)
    parts = {
        "F32": values.tobytes(),
        "F16": values.astype("<f2").tobytes(),
        "BF16": (values.view("<u4") >> 16).astype("<u2").tobytes(),
        "F64": values.astype("<f8").tobytes(),
    }
    header, data = {}, b""
    for name, part in parts.items():
        header[name] = entry(name, [2, 2], len(data), len(data) + len(part))
        data += part
    file = SafetensorsFile(write(tmp_path / "a.safetensors", header, data))
    for name in parts:
        np.testing.assert_array_equal(file.read(name), values)
        assert file.read(name).dtype == np.float32


GOOD = {"a": entry("I8", [4], 0, 4), "b": entry("I8", [2], 4, 6)}


@pytest.mark.parametrize(
    ("make", "need"),
    [
        (lambda p: write(p, GOOD, b"123456", length=1 << 62), "a header within"),
        (lambda p: write(p, GOOD, b"12345"), "6 bytes of data"),
        (lambda p: write(p, GOOD, b"1234567"), "6 bytes of data"),
        (lambda p: write(p, {**GOOD, "b": entry("I8", [2], 3, 5)}, b"12345"), "byte 4"),
        (lambda p: write(p, {**GOOD, "b": entry("I8", [2], 5, 7)}, b"1234567"), "byte 4"),
        (lambda p: write(p, {"a": entry("I8", [4], 0, 5)}, b"12345"), "4 bytes"),
        (lambda p: write(p, {"a": entry("I8", [-4], 0, 4)}, b"1234"), "a shape"),
        (lambda p: write(p, {"a": entry("I8", [1 << 61, 16], 0, 0)}, b""), "bytes for"),
        (lambda p: write(p, {"a": entry("Q9", [4], 0, 4)}, b"1234"), "a dtype"),
        (lambda p: write(p, {"a": 3}, b""), "a dtype"),
        (lambda p: write(p, [1], b""), "a JSON object"),
        (lambda p: write(p, b"{", b""), "a safetensors header"),
        (lambda p: write(p, b"[" * 100_000, b""), "a safetensors header"),
        (lambda p: p.write_bytes(b"12") and p, "a header within"),
    ],
)
def test_a_hostile_file_is_one_line(
    tmp_path: Path, make: Callable[[Path], Path], need: str
) -> None:
    path = make(tmp_path / "x.safetensors")
    with pytest.raises(InputError) as caught:
        SafetensorsFile(path)
    assert need in caught.value.need
    assert "\n" not in str(caught.value)
