"""Read the rule tables of the pipelines and bind kernels to them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import SpecError
from hwsim.cpu import pipeline_state as k
from hwsim.cpu.isa import END, LOOP, NO_REGISTER, OPCODES, UopKernel

__all__ = ["Pipeline", "Rule", "bind", "load_pipeline"]

_FILE = "pipelines.toml"
_POST = "_post"
"""Behind a class: the rule of its post-indexed form."""


@dataclass(frozen=True)
class Rule:
    """How one instruction class uses a pipeline; see ``pipelines.toml``.

    ``uses`` are (mask of ports, cycles), at most two, or three with write-back: one port of each
    mask is taken.
    """

    uops: int
    latency_cycles: int
    accumulate_cycles: int
    uses: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Pipeline:
    """A core's pipeline: widths, ports, and one rule per instruction class.

    Attributes
    ----------
    name, source, kind : str
        ``kind`` is ``in-order`` or ``out-of-order``.
    dispatch_width, window_uops, mispredict_cycles : int
        Slots per cycle, slots in flight, cycles from a wrong branch's issue to new dispatch.
    ports : tuple of str
        Bit i of a mask is port i; those that few classes can use come last.
    rules : mapping from class to Rule
        Every class of :data:`hwsim.cpu.isa.OPCODES`.
    write_back : Rule
        What a post-indexed access takes beside its own.
    posts : mapping from class to Rule
        Whole rules of post-indexed accesses that are no such sum.
    """

    name: str
    source: str
    kind: str
    dispatch_width: int
    window_uops: int
    mispredict_cycles: int
    ports: tuple[str, ...]
    rules: Mapping[str, Rule]
    write_back: Rule
    posts: Mapping[str, Rule]

    def rule(self, opcode: str, *, has_write_back: bool = False) -> Rule:
        """Return the rule of a class, of its post-indexed form with ``has_write_back``."""
        own = self.rules[opcode]
        if not has_write_back:
            return own
        if opcode in self.posts:
            return self.posts[opcode]
        extra = self.write_back
        uses = (*own.uses, *extra.uses)
        return Rule(own.uops + extra.uops, own.latency_cycles, own.accumulate_cycles, uses)


@lru_cache
def load_pipeline(name: str) -> Pipeline:
    """Return the pipeline ``name`` of the table, with what it inherits."""
    tables = tomllib.loads(Path(__file__).with_name(_FILE).read_text())
    if name not in tables:
        raise SpecError("core.rules", f"one of {', '.join(tables)}", repr(name))
    table = _inherited(tables, name)
    ports = _ports(table["groups"])
    rules = {key: _rule(value, table["groups"], ports) for key, value in table["rules"].items()}
    write_back = rules.pop("write_back")
    posts = {key: rules.pop(key + _POST) for key in OPCODES if key + _POST in rules}
    missing = [opcode for opcode in OPCODES if opcode not in rules]
    if missing:
        raise SpecError(f"{name}.rules", "a rule per instruction class", f"none for {missing[0]}")
    return Pipeline(
        name=name,
        source=table["source"],
        kind=table["kind"],
        dispatch_width=table["dispatch_width"],
        window_uops=table["window_uops"],
        mispredict_cycles=table["mispredict_cycles"],
        ports=ports,
        rules=rules,
        write_back=write_back,
        posts=posts,
    )


def _inherited(tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    own = tables[name]
    if "inherits" not in own:
        return dict(own)
    base = _inherited(tables, own["inherits"])
    merged = {**base, **own}
    for key in ("groups", "rules"):
        merged[key] = {**base[key], **own.get(key, {})}
    return merged


def _ports(groups: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Return all ports; the lowest free one is taken, so those wanted by few groups come first."""
    members = [port for group in groups.values() for port in group]
    return tuple(sorted(dict.fromkeys(members), key=lambda port: members.count(port)))


def _rule(value: list[Any], groups: Mapping[str, list[str]], ports: tuple[str, ...]) -> Rule:
    uops, latency, accumulate, uses = value
    masks = tuple(
        (sum(1 << ports.index(port) for port in groups[group]), cycles) for group, cycles in uses
    )
    return Rule(uops, latency, accumulate, masks)


def bind(kernel: UopKernel, pipeline: Pipeline) -> NDArray[np.int64]:
    """Return the code matrix of ``kernel`` for the compiled pipeline (see ``K_`` columns there)."""
    rows = kernel.rows
    code = np.zeros((len(rows), k.CODE_COLUMNS), dtype=np.int64)
    code[:, k.K_KIND] = rows["opcode"]
    for column, name in (
        (k.K_POINTER, "pointer"),
        (k.K_OFFSET, "offset"),
        (k.K_SIZE, "size"),
        (k.K_UPDATE, "update"),
        (k.K_UPDATED, "updated"),
        (k.K_STEP, "step"),
        (k.K_COUNT, "count"),
        (k.K_MACS, "macs"),
    ):
        code[:, column] = rows[name]
    _bind_registers(code, rows, pipeline)
    _bind_rules(code, rows, pipeline)
    code[:, k.K_MATCH] = _matches(rows["opcode"].tolist())
    return code


def _bind_registers(code: NDArray[np.int64], rows: NDArray[np.void], pipeline: Pipeline) -> None:
    source = np.where(rows["src"] == NO_REGISTER, k.ALWAYS_READY, rows["src"])
    code[:, k.K_SRC0 : k.K_SRC3 + 1] = source
    code[:, k.K_DST0 : k.K_DST1 + 1] = np.where(rows["dst"] == NO_REGISTER, k.SINK, rows["dst"])
    has_base = (rows["has_write_back"] != 0) & (rows["src"][:, 0] >= 0)
    code[:, k.K_BASE] = np.where(has_base, source[:, 0], k.ALWAYS_READY)
    code[:, k.K_BASE_LATENCY] = pipeline.write_back.latency_cycles


def _bind_rules(code: NDArray[np.int64], rows: NDArray[np.void], pipeline: Pipeline) -> None:
    hints: dict[tuple[int, int], int] = {}
    for index, row in enumerate(rows):
        opcode, has_write_back = int(row["opcode"]), int(row["has_write_back"])
        if opcode < 0:
            continue
        name = OPCODES[opcode]
        rule = pipeline.rule(name, has_write_back=bool(has_write_back))
        code[index, k.K_UOPS] = rule.uops
        code[index, k.K_LATENCY] = rule.latency_cycles
        code[index, k.K_ACCUMULATE] = rule.accumulate_cycles
        columns = (
            (k.K_MASK_A, k.K_CYCLES_A),
            (k.K_MASK_B, k.K_CYCLES_B),
            (k.K_MASK_C, k.K_CYCLES_C),
        )
        for (mask, cycles), use in zip(columns, rule.uses, strict=False):
            code[index, mask], code[index, cycles] = use
        code[index, k.K_HINT] = hints.setdefault((opcode, has_write_back), len(hints))
        code[index, k.K_IS_FMA] = name.startswith("fma")
        code[index, k.K_IS_BRANCH] = name == "branch"
        kinds = {"load": k.LOAD, "store": k.STORE, "prefetch": k.PREFETCH}
        code[index, k.K_MEMORY] = kinds.get(name.split("_")[0], 0)


def _matches(opcodes: list[int]) -> list[int]:
    """Return, per LOOP, the row of its END (0 for other rows)."""
    matches = [0] * len(opcodes)
    stack: list[int] = []
    for index, opcode in enumerate(opcodes):
        if opcode == LOOP:
            stack.append(index)
        elif opcode == END:
            matches[stack.pop()] = index
    return matches
