"""Is an object taken from the cache exactly where compiling would give the same?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rtl.cosim.object_cache import main

HEADER = """class Vtop {
    VL_IN8(&clk,0,0);
    VL_INW(&stim_next,129,0,5);
    Vtop___024root* const rootp;
};
"""
COMPILER = """
import pathlib, sys
runs = pathlib.Path("runs")
runs.write_text(runs.read_text() + sys.argv[-1] + " " if runs.exists() else sys.argv[-1] + " ")
if "-fail" in sys.argv:
    sys.exit(3)
pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_text(str(len(runs.read_text().split())))
"""


@pytest.fixture
def compile_in(tmp_path, monkeypatch):
    """Return a function (source, header, flags) -> (status, object, how often anything compiled).

    The object says which compilation it is of; every call happens in a folder of its own.
    """
    runs = tmp_path / "runs"
    calls = 0

    def compile_once(source: str, header: str = HEADER, *flags: str) -> tuple[int, str, int]:
        nonlocal calls
        calls += 1
        folder = tmp_path / f"build{calls}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        Path("Vtop.h").write_text(header)
        Path("runs").symlink_to(runs)
        command = [sys.executable, "-c", COMPILER, *flags, "-o", "x.o", source]
        status = main(tmp_path / "kept", command)
        built = Path("x.o").read_text() if Path("x.o").exists() else ""
        return status, built, len(runs.read_text().split())

    runs.write_text("")
    return compile_once


@pytest.mark.parametrize("source", ["/a/verilated.cpp", "/a/verilated_vpi.cpp", "/a/verilator.cpp"])
def test_what_all_simulations_share_is_compiled_once(compile_in, source):
    assert compile_in(source) == (0, "1", 1)
    assert compile_in(source) == (0, "1", 1)
    assert compile_in(source, HEADER, "-O0") == (0, "2", 2)


def test_the_design_itself_is_always_compiled(compile_in):
    assert compile_in("Vtop__ALL.cpp") == (0, "1", 1)
    assert compile_in("Vtop__ALL.cpp") == (0, "2", 2)


def test_the_main_program_depends_on_the_class_but_not_on_the_width_of_its_ports(compile_in):
    wider = HEADER.replace("VL_INW(&stim_next,129,0,5)", "VL_IN64(&stim_next,40,0)")
    larger = HEADER.replace("};", "    Vtop_bench* bench;\n};")
    another = HEADER.replace("&stim_next", "&other")
    assert wider != HEADER
    assert compile_in("verilator.cpp") == compile_in("verilator.cpp", wider) == (0, "1", 1)
    assert compile_in("verilator.cpp", larger) == (0, "2", 2)
    assert compile_in("verilator.cpp", another) == (0, "3", 3)
    assert compile_in("verilated.cpp", larger) == compile_in("verilated.cpp") == (0, "4", 4)


def test_a_compiler_that_fails_leaves_nothing(compile_in):
    assert compile_in("verilated.cpp", HEADER, "-fail") == (3, "", 1)
    assert compile_in("verilated.cpp", HEADER, "-fail") == (3, "", 2)
