"""Read SCALE-Sim's topology tables and configuration files.

A topology row is a layer of its own: the table does not say what feeds what, so every layer gets
its own input. The rules are those of SCALE-Sim's topology_utils.py and scale_config.py
(scalesim-project/SCALE-Sim): output extents are ⌈(ifmap - filter + stride) / stride⌉, a name with
``DP`` stands for one layer per channel, an ``N:M`` column is the weight sparsity.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwsim.core.errors import InputError, reason_of
from hwsim.core.graph import Operand, OpGraph, OpKind
from hwsim.core.sparsity import NM, Dense, Pattern
from hwsim.core.units import ceil_div
from models.build import GraphBuilder

__all__ = ["read_scalesim_config", "read_topology"]

CONV_COLUMNS = (
    "ifmap height",
    "ifmap width",
    "filter height",
    "filter width",
    "channels",
    "num filter",
    "stride",
)
KILOBYTE = 1024
"""scale_config.py's SRAM sizes are in kB; assumed: of 1024 bytes."""


@dataclass(frozen=True)
class _Row:
    """The fields of one line, each with the column (from 1) it starts at."""

    source: str
    fields: tuple[tuple[str, int], ...]

    def __len__(self) -> int:
        return len(self.fields)

    def text(self, index: int) -> str:
        return self.fields[index][0]

    def error(self, index: int, need: str) -> InputError:
        if index >= len(self):
            _, column = self.fields[-1]
            return InputError(f"{self.source}:{column}", need, "the end of the row")
        text, column = self.fields[index]
        return InputError(f"{self.source}:{column}", need, repr(text))

    def count(self, index: int, what: str) -> int:
        """Return field ``index`` as a count of at least 1."""
        need = f"{what}, an integer of at least 1"
        if index >= len(self):
            raise self.error(index, need)
        try:
            value = int(self.text(index))
        except ValueError:
            raise self.error(index, need) from None
        if value < 1:
            raise self.error(index, need)
        return value

    def pattern(self, index: int) -> Pattern:
        """Return field ``index``, an ``N:M``, as the pattern it stands for."""
        try:
            nm_n, nm_m = (int(part) for part in self.text(index).split(":"))
            return NM(nm_n=nm_n, nm_m=nm_m) if nm_m > 1 else Dense()
        except (ValueError, InputError):
            raise self.error(index, "a sparsity N:M with 1 <= N <= M") from None


def read_topology(path: Path, batch: int = 1) -> OpGraph:
    """Return one op per layer of a convolution or GEMM topology, ``batch`` items each.

    The header decides the form: columns named M, N and K (in any order) mean GEMM, so does a
    header of fewer than 8 columns (then in the order M, N, K); anything else is convolutions.

    Raises
    ------
    InputError
        Naming file:line:column of the field that cannot be used.
    """
    rows = list(_rows(path))
    if len(rows) < 2:
        raise InputError(str(path), "a header and at least one layer", f"{len(rows)} rows")
    header = rows[0]
    if len(header) > 1 and header.text(1).isdigit():
        raise header.error(1, "a header row")
    names = [text.lower() for text, _ in header.fields]
    g = GraphBuilder(path.stem)
    is_conv = any("filter" in name or "ifmap" in name for name in names)
    columns = _gemm_columns(names)
    if columns is None and len(names) < 8 and not is_conv:
        columns = (1, 2, 3)
    outputs: list[str] = []
    for row in rows[1:]:
        if columns is not None:
            outputs.append(_gemm(g, row, columns, batch))
        else:
            outputs += _convolutions(g, row, batch)
    return g.build(outputs)


def _rows(path: Path) -> Iterator[_Row]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), "a readable text file", reason_of(error)) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        fields: list[tuple[str, int]] = []
        column = 1
        for part in line.split(","):
            fields.append((part.strip(), column + len(part) - len(part.lstrip())))
            column += len(part) + 1
        while len(fields) > 1 and not fields[-1][0]:
            fields.pop()
        yield _Row(f"{path}:{number}", tuple(fields))


def _gemm_columns(names: list[str]) -> tuple[int, int, int] | None:
    if not {"m", "n", "k"} <= set(names):
        return None
    return names.index("m"), names.index("n"), names.index("k")


def _unique(g: GraphBuilder, name: str) -> str:
    taken = {op.name for op in g.ops}
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}.{count}"
    return candidate


def _gemm(g: GraphBuilder, row: _Row, columns: tuple[int, int, int], batch: int) -> str:
    m, n, k = (row.count(i, what) for i, what in zip(columns, ("M", "N", "K"), strict=True))
    name = _unique(g, row.text(0))
    pattern, products = _gemm_extras(row, set(columns))
    if products > 1:
        # A batched product has no weights shared between its matrices.
        a = g.input(f"{name}.a", (batch * products, m, k))
        b = g.input(f"{name}.b", (batch * products, k, n))
        return g.matmul(name, a, b)
    x = g.input(f"{name}.x", (batch, m, k))
    weight = g.weight(f"{name}.weight", (k, n)).model_copy(update={"pattern": pattern})
    dims = {"batch": batch, "m": m, "k": k, "n": n}
    return g.add(OpKind.LINEAR, name, [x, weight], (batch, m, n), dims=dims)


def _gemm_extras(row: _Row, used: set[int]) -> tuple[Pattern, int]:
    """Return sparsity and number of products from the optional columns after the extents."""
    pattern: Pattern = Dense()
    products = 1
    for index in range(max(used) + 1, len(row)):
        if ":" in row.text(index):
            pattern = row.pattern(index)
        elif row.text(index):
            products = row.count(index, "a batch count or N:M")
    return pattern, products


def _convolutions(g: GraphBuilder, row: _Row, batch: int) -> list[str]:
    """Append the layer of ``row``, or one layer per channel if it is depthwise."""
    values = [row.count(index, what) for index, what in enumerate(CONV_COLUMNS, start=1)]
    ih, iw, kh, kw, channels, co, stride_h = values
    stride_w = stride_h
    pattern: Pattern = Dense()
    for index in range(8, len(row)):
        if ":" in row.text(index):
            pattern = row.pattern(index)
        elif row.text(index):
            stride_w = row.count(index, "a column stride or N:M")
    for extent, kernel, index in ((ih, kh, 3), (iw, kw, 4)):
        if kernel > extent:
            raise row.error(index, f"a filter no larger than the ifmap's {extent}")
    name = row.text(0)
    names, ci = [name], channels
    if "DP" in name:
        names, ci = [f"{name}Channel_{index}" for index in range(channels)], 1
    bottom = _overhang(ih, kh, stride_h)
    right = _overhang(iw, kw, stride_w)
    outputs = []
    for layer in names:
        layer = _unique(g, layer)
        x = g.input(f"{layer}.x", (batch, ci, ih, iw))
        g.conv(
            layer,
            x,
            co,
            (kh, kw),
            stride=(stride_h, stride_w),
            pad=(0, 0, bottom, right),
            bias=False,
        )
        outputs.append(layer)
        _sparsify_last(g, pattern)
    return outputs


def _overhang(size: int, kernel: int, stride: int) -> int:
    """Return the padding that makes the ceiling's last, partial window complete."""
    windows = ceil_div(size - kernel + stride, stride)
    return max((windows - 1) * stride + kernel - size, 0)


def _sparsify_last(g: GraphBuilder, pattern: Pattern) -> None:
    op = g.ops[-1]
    x, weight = op.inputs
    sparse: tuple[Operand, Operand] = (x, weight.model_copy(update={"pattern": pattern}))
    g.ops[-1] = op.model_copy(update={"inputs": sparse})


def read_scalesim_config(path: Path) -> dict[str, Any]:
    """Return what a SCALE-Sim ``.cfg`` states, under our names.

    Returns
    -------
    dict
        ``array.rows`` and ``array.cols`` as nested spec values; and, where stated, ``dataflow``,
        ``ifmap_sram_bytes``, ``filter_sram_bytes``, ``ofmap_sram_bytes``,
        ``bandwidth_words_per_cycle`` (only where the file asks for the user's bandwidth),
        ``is_sparse`` and ``run_name``.

    Raises
    ------
    InputError
        Naming the file and the option.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text())
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        need = "a readable SCALE-Sim configuration"
        raise InputError(str(path), need, reason_of(error)) from None
    section = "architecture_presets"
    rows = _integer(parser, path, section, "ArrayHeight")
    cols = _integer(parser, path, section, "ArrayWidth")
    values: dict[str, Any] = {"array": {"rows": rows, "cols": cols}}
    if parser.has_option(section, "Dataflow"):
        values["dataflow"] = _dataflow(parser, path, section)
    for operand in ("ifmap", "filter", "ofmap"):
        option = f"{operand}SramSzkB"
        if parser.has_option(section, option):
            size = _integer(parser, path, section, option)
            values[f"{operand}_sram_bytes"] = size * KILOBYTE
    if parser.get("run_presets", "InterfaceBandwidth", fallback="CALC").strip() == "USER":
        values["bandwidth_words_per_cycle"] = _bandwidths(parser, path, section)
    if parser.has_option("sparsity", "SparsitySupport"):
        values["is_sparse"] = parser.get("sparsity", "SparsitySupport").strip().lower() == "true"
    if parser.has_option("general", "run_name"):
        values["run_name"] = parser.get("general", "run_name").strip()
    return values


def _integer(parser: configparser.ConfigParser, path: Path, section: str, option: str) -> int:
    text = parser.get(section, option, fallback="nothing")
    if not text.strip().isdigit() or int(text) < 1:
        where = f"{path}: [{section}] {option}"
        raise InputError(where, "an integer of at least 1", text)
    return int(text)


def _dataflow(parser: configparser.ConfigParser, path: Path, section: str) -> str:
    dataflow = parser.get(section, "Dataflow").strip().lower()
    if dataflow not in ("os", "ws", "is"):
        raise InputError(f"{path}: [{section}] Dataflow", "one of os, ws, is", dataflow)
    return dataflow


def _bandwidths(parser: configparser.ConfigParser, path: Path, section: str) -> list[int]:
    text = parser.get(section, "Bandwidth", fallback="nothing")
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        where = f"{path}: [{section}] Bandwidth"
        raise InputError(where, "integers, separated by commas", text) from None
