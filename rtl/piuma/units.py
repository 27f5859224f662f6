"""Name the units of PIUMA."""

from __future__ import annotations

from hwsim.piuma.unit_spec import (
    AtomicSpadSpec,
    BarrelSpec,
    GatherDmaSpec,
    HashSpec,
    IntersectSpec,
    MergeSpec,
    SpadCrossbarSpec,
    TokenQueueSpec,
    WindowSpec,
)
from rtl.formal.piuma_barrel_issue import barrel_issue_properties
from rtl.formal.piuma_gather_dma import gather_dma_properties
from rtl.formal.piuma_hash_accumulate import hash_accumulate_properties
from rtl.formal.piuma_intersect import intersect_properties
from rtl.formal.piuma_merge_unit import merge_unit_properties
from rtl.formal.piuma_spad import atomic_spad_properties, spad_crossbar_properties
from rtl.formal.piuma_token_queue import token_queue_properties
from rtl.formal.piuma_window_packer import window_packer_properties
from rtl.piuma import (
    atomic_spad,
    barrel_issue,
    gather_dma,
    hash_accumulate,
    intersect,
    merge_unit,
    spad_crossbar,
    token_queue,
    window_packer,
)
from rtl.unit import Unit

__all__ = [
    "DMA_PROOF_SPEC",
    "HASH_PROOF_SPEC",
    "INTERSECT_PROOF_SPEC",
    "MERGE_PROOF_SPEC",
    "PIUMA_UNITS",
    "QUEUE_PROOF_SPEC",
    "SPAD_PROOF_SPEC",
    "WINDOW_PROOF_SPEC",
]

HASH_PROOF_SPEC = HashSpec(
    slots=4, key_bits=3, column_bits=1, data_bits=2, comparators=2, epoch_bits=2
)
"""Two lines of two slots: every case of wrapping, forwarding and probing on."""

INTERSECT_PROOF_SPEC = IntersectSpec(coordinate_bits=3, position_bits=3, block=2)

MERGE_PROOF_SPEC = MergeSpec(ways=2, coordinate_bits=3, value_bits=2)
"""One cell: a tree is made of these alone."""

QUEUE_PROOF_SPEC = TokenQueueSpec(entries=4, waiters=2, token_bits=2, tag_bits=1, ports=3)

SPAD_PROOF_SPEC = SpadCrossbarSpec(
    bank=AtomicSpadSpec(words=2, data_bits=1, tag_bits=1), banks=2, ports=3
)
"""More ports than banks, so that turns end at a place that is no power of two."""

DMA_PROOF_SPEC = GatherDmaSpec(address_bits=3, data_bits=2, count_bits=3, outstanding=2)
"""Counts beyond the places, so that every slot is used anew."""

WINDOW_PROOF_SPEC = WindowSpec(
    column_bits=2,
    pointer_bits=3,
    row_bits=3,
    bound_bits=4,
    budget_elems=5,
    columns=7,
    window_rows=3,
    outstanding=2,
)
"""A row can be beyond the budget, a window full of rows, and row numbers wrap."""

PIUMA_UNITS = (
    Unit(
        "piuma/hash_accumulate",
        "sums by key in a hash table: probe, insert or add, drain, clear in one cycle",
        HashSpec(),
        hash_accumulate.HashAccumulate,
        hash_accumulate.timing,
        hash_accumulate_properties,
        HASH_PROOF_SPEC,
    ),
    Unit(
        "piuma/atomic_spad",
        "one scratchpad bank: loads, stores and atomics, one per cycle",
        AtomicSpadSpec(),
        atomic_spad.AtomicSpad,
        atomic_spad.timing,
        atomic_spad_properties,
        AtomicSpadSpec(words=4, data_bits=3, tag_bits=2),
    ),
    Unit(
        "piuma/spad_crossbar",
        "scratchpad banks behind ports that take turns",
        SpadCrossbarSpec(),
        spad_crossbar.SpadCrossbar,
        spad_crossbar.timing,
        spad_crossbar_properties,
        SPAD_PROOF_SPEC,
    ),
    Unit(
        "piuma/barrel_issue",
        "issue stage of a barrel: threads by turns, one instruction in flight each",
        BarrelSpec(),
        barrel_issue.BarrelIssue,
        barrel_issue.timing,
        barrel_issue_properties,
        BarrelSpec(counter_bits=4),
    ),
    Unit(
        "piuma/gather_dma",
        "DMA engine: copy, gather, scatter, scatter-add and broadcast of elements",
        GatherDmaSpec(),
        gather_dma.GatherDma,
        gather_dma.timing,
        gather_dma_properties,
        DMA_PROOF_SPEC,
    ),
    Unit(
        "piuma/merge_unit",
        "merger: sorted lists into one, values of equal coordinates added",
        MergeSpec(ways=8),
        merge_unit.MergeUnit,
        merge_unit.timing,
        merge_unit_properties,
        MERGE_PROOF_SPEC,
    ),
    Unit(
        "piuma/token_queue",
        "queue engine: tokens in order, pops that wait inside",
        TokenQueueSpec(),
        token_queue.TokenQueue,
        token_queue.timing,
        token_queue_properties,
        QUEUE_PROOF_SPEC,
    ),
    Unit(
        "piuma/window_packer",
        "window distribution: bounds of rows, windows closed at a budget",
        WindowSpec(),
        window_packer.WindowPacker,
        window_packer.timing,
        window_packer_properties,
        WINDOW_PROOF_SPEC,
    ),
    Unit(
        "piuma/intersect",
        "intersection of two sorted lists that skip ahead",
        IntersectSpec(),
        intersect.Intersect,
        intersect.timing,
        intersect_properties,
        INTERSECT_PROOF_SPEC,
    ),
)
"""Every unit of PIUMA."""
