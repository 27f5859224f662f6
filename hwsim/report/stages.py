"""Sum a training run's layers by stage: forward, backward, weight gradients, update, selection."""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.report.accounts import LayerRow, Run, layer_rows

__all__ = ["STAGE_NAMES", "StageRow", "stage_of", "stage_rows"]

STAGE_NAMES = {
    "ff": "FF",
    "bp": "BP",
    "wu": "WU",
    "update": "update",
    "prune": "N:M selection",
}
"""Stage -> what tables and figures call it, in the order of an iteration."""

_OF_KIND = {"weight_update": "update", "nm_prune": "prune"}


@dataclass(frozen=True)
class StageRow:
    """What one stage of an iteration takes.

    Attributes
    ----------
    stage, name : str
        Key of :data:`STAGE_NAMES` (or another stage) and what it is called.
    cycles, share : int, float
        What its layers add to the makespan; the stages' cycles sum to the run's.
    array_busy_cycles : int
        Cycles in which the array issues products.
    macs, useful_macs : int
        Dense and kept multiply-accumulates.
    dram_bytes : int
        Read and written off chip.
    dense_cycles : float or None
        The same stage of the dense run; None without a baseline.
    """

    stage: str
    name: str
    cycles: int
    share: float
    array_busy_cycles: int
    macs: int
    useful_macs: int
    dram_bytes: int
    dense_cycles: float | None

    @property
    def speedup(self) -> float | None:
        """Return dense cycles over cycles."""
        return self.dense_cycles / self.cycles if self.dense_cycles and self.cycles else None


def stage_of(kind: str, stage: str) -> str:
    """Return the stage a layer is counted in: updates and selections apart from WU, FF and BP."""
    return _OF_KIND.get(kind, stage)


def stage_rows(run: Run) -> list[StageRow]:
    """Return one row per stage of a training run in the order of an iteration, else nothing."""
    if not any(layer.get("stage") in ("bp", "wu") for layer in run["layers"]):
        return []
    rows = layer_rows(run)
    found: dict[str, list[LayerRow]] = {stage: [] for stage in STAGE_NAMES}
    for row in rows:
        found.setdefault(stage_of(row.kind, row.stage), []).append(row)
    return [_row(stage, own) for stage, own in found.items() if own]


def _row(stage: str, rows: list[LayerRow]) -> StageRow:
    dense = [row.dense_cycles for row in rows if row.dense_cycles is not None]
    return StageRow(
        stage=stage,
        name=STAGE_NAMES.get(stage, stage),
        cycles=sum(row.cycles for row in rows),
        share=sum(row.share for row in rows),
        array_busy_cycles=sum(row.account.busy for row in rows if row.macs),
        macs=sum(row.macs for row in rows),
        useful_macs=sum(row.useful_macs for row in rows),
        dram_bytes=sum(row.dram_bytes for row in rows),
        dense_cycles=sum(dense) if dense else None,
    )
