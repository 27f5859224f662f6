"""Keep what the study found, with a hash of the sources that decide it.

Training every case takes long, so ``hwsim validate`` reads this record; a change of what decides
the numbers makes it stale. ``python -m hwsim.experiments.nm_training`` trains and writes it anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hwsim.experiments.nm_training.recipe import Recipe, Training

__all__ = ["FILE", "LOSS_BLOCK_STEPS", "Record", "load_record", "save_record", "source_hash"]

FILE = Path(__file__).with_name("results.json")
LOSS_BLOCK_STEPS = 5
"""Steps whose losses are averaged into one recorded number."""

_DECIDING = (
    "hwsim/experiments/nm_training/data.py",
    "hwsim/experiments/nm_training/loop.py",
    "hwsim/experiments/nm_training/masks.py",
    "hwsim/experiments/nm_training/networks.py",
    "hwsim/experiments/nm_training/optimisers.py",
    "hwsim/experiments/nm_training/products.py",
    "hwsim/experiments/nm_training/recipe.py",
    "hwsim/experiments/nm_training/study.py",
    "models/training/masks.py",
    "models/training/schedule.py",
)
_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Record:
    """Outcomes of a study.

    Attributes
    ----------
    sources : str
        :func:`source_hash` when it ran.
    versions : {library: version}
        What trained.
    recipe : Recipe
        What the cases shared.
    networks, cases : {name: title}
        In order; of cases the first is dense training of full length.
    references : {case: case}
        What each case's accuracy is compared with; a reference itself has none.
    results : {(network, case): Training}
        With one loss per LOSS_BLOCK_STEPS steps.
    """

    sources: str
    versions: dict[str, str]
    recipe: Recipe
    networks: dict[str, str]
    cases: dict[str, str]
    references: dict[str, str]
    results: dict[tuple[str, str], Training]

    @property
    def is_current(self) -> bool:
        """Return whether the sources that decide the numbers are still the same."""
        return self.sources == source_hash()


def source_hash(root: Path = _ROOT) -> str:
    """Return a hash of the modules below ``root`` that decide what is trained, and how."""
    digest = hashlib.sha256()
    for name in _DECIDING:
        digest.update(name.encode())
        digest.update((root / name).read_bytes())
    return digest.hexdigest()[:16]


def load_record(file: Path = FILE) -> Record:
    """Return the record in ``file``."""
    data = json.loads(file.read_text())
    results = {
        (entry["network"], entry["case"]): Training(
            np.array(entry["accuracy"]), np.array(entry["loss"], dtype=np.float64)
        )
        for entry in data["results"]
    }
    return Record(
        data["sources"],
        data["versions"],
        Recipe(**data["recipe"]),
        data["networks"],
        data["cases"],
        data["references"],
        results,
    )


def save_record(
    file: Path,
    versions: dict[str, str],
    recipe: Recipe,
    networks: dict[str, str],
    cases: dict[str, str],
    references: dict[str, str],
    results: Mapping[tuple[str, str], Training],
) -> None:
    """Write a study of the present sources, one line per case, accuracies and losses rounded."""
    head = {
        "sources": source_hash(),
        "versions": versions,
        "recipe": asdict(recipe),
        "networks": networks,
        "cases": cases,
        "references": references,
    }
    lines = [
        json.dumps(
            {
                "network": network,
                "case": case,
                "accuracy": [round(float(x), 5) for x in found.accuracy],
                "loss": _in_blocks(found.loss),
            },
            allow_nan=False,
        )
        for (network, case), found in results.items()
    ]
    top = json.dumps(head, indent=1).removesuffix("\n}")
    partial = file.with_suffix(".partial")
    partial.write_text(top + ',\n "results": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n")
    partial.replace(file)


def _in_blocks(loss: np.ndarray) -> list[float | None]:
    """Return means of LOSS_BLOCK_STEPS steps; an incomplete last block is left out.

    Where a seed has diverged the mean is no number: None, ``null`` in JSON.
    """
    blocks = len(loss) // LOSS_BLOCK_STEPS
    means = loss[: blocks * LOSS_BLOCK_STEPS].reshape(blocks, LOSS_BLOCK_STEPS).mean(axis=1)
    return [round(float(x), 4) if np.isfinite(x) else None for x in means]
