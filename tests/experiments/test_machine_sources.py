"""Sources of a machine: all that its code imports, nothing that it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hwsim.core.registry import REGISTRY
from hwsim.experiments.machine_sources import machine_sources

ROOT = Path(__file__).resolve().parents[2]

TREE = {
    "hwsim/__init__.py": "",
    "hwsim/toy/machine.py": "import hwsim.core.noun\nimport numpy\n",
    "hwsim/toy/late.py": "def late():\n    from hwsim.components.unit import Unit\n",
    "hwsim/core/__init__.py": "import hwsim.core.base\n",
    "hwsim/core/base.py": "",
    "hwsim/core/noun.py": "from hwsim.core import registry\n",
    "hwsim/core/registry.py": "REGISTRY = {'toy': 'hwsim.toy.machine:Toy'}\n",
    "hwsim/components/unit.py": "TABLE = 'table.toml'\nABSENT = 'absent.json'\n",
    "hwsim/components/table.toml": "",
    "hwsim/components/unrelated.py": "import hwsim.core.noun\n",
    "hwsim/other/machine.py": "",
    "rtl/toy/unit.py": "from rtl.common.fifo import Fifo\n",
    "rtl/common/fifo.py": "import rtl.common.fifo\n",
    "rtl/other/unit.py": "",
}
NOT_OF_TOY = {
    "hwsim/core/registry.py",
    "hwsim/components/unrelated.py",
    "hwsim/other/machine.py",
    "rtl/other/unit.py",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_imports_packages_late_imports_and_data_are_followed_and_nothing_else(tree):
    assert set(machine_sources("toy", tree)) == set(TREE) - NOT_OF_TOY


def test_paths_are_sorted(tree):
    assert list(machine_sources("toy", tree)) == sorted(machine_sources("toy", tree))


def test_a_machine_without_folders_has_no_sources(tree):
    assert machine_sources("unknown", tree) == ()


@pytest.mark.parametrize("machine", sorted(REGISTRY))
def test_each_machine_lives_in_a_folder_of_its_name(machine):
    assert REGISTRY[machine].startswith(f"hwsim.{machine}.")
    assert f"hwsim/{machine}/machine.py" in machine_sources(machine)


@pytest.mark.parametrize("machine", sorted(REGISTRY))
def test_every_module_that_importing_the_machine_loads_is_among_its_sources(machine):
    """Compare with what Python itself loads, which shares nothing with reading syntax trees."""
    module = REGISTRY[machine].partition(":")[0]
    code = (
        f"import sys, {module}\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'hwsim'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = {Path(name).relative_to(ROOT).as_posix() for name in done.stdout.split()}
    assert loaded - set(machine_sources(machine)) <= {"hwsim/core/registry.py"}


def test_sat_depends_on_its_rtl_and_not_on_components_of_others():
    sources = machine_sources("sat")
    assert "rtl/sat/uspe.py" in sources
    assert "hwsim/components/engine_kernels.py" in sources
    assert "hwsim/components/noc.py" not in sources
