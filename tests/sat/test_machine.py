"""Check what SAT offers a mapper, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from hwsim.core.errors import InputError
from hwsim.core.graph import OpKind
from hwsim.core.machine import Spec, make_machine
from hwsim.sat.machine import SatMachine


def test_everything_but_unmodelled_operators_and_products_by_rows_is_executed() -> None:
    kinds = make_machine("sat").capabilities().op_kinds
    others = {OpKind.UNMODELLED, OpKind.SPGEMM, OpKind.SPMM, OpKind.SPMV, OpKind.SDDMM}
    others.add(OpKind.SPARSE_STEP)
    assert kinds == {kind.value for kind in OpKind} - others


def test_scalesim_times_matrix_products_alone() -> None:
    capabilities = make_machine("sat", "scalesim").capabilities()
    products = {"conv", "conv_transpose", "linear", "matmul", "conv_wgrad"}
    assert capabilities.op_kinds == products
    assert capabilities.dataflows == ("ws", "os", "is")


def test_candidates_follow_the_wanted_dataflow(linear: Callable[..., Any]) -> None:
    machine = make_machine("sat")
    (op,) = linear(64, 128, 96).ops()
    for flow in ("ws", "os"):
        assert {mapping.dataflow for mapping in machine.candidates(op, flow)} == {flow}


def test_scalesim_keeps_pruned_weights_stationary(linear: Callable[..., Any]) -> None:
    machine = make_machine("sat", "scalesim")
    (op,) = linear(64, 128, 96, (2, 4)).ops()
    assert {mapping.dataflow for mapping in machine.candidates(op, "ws")} == {"ws"}
    with pytest.raises(InputError, match="ws for N:M weights"):
        list(machine.candidates(op, "os"))


def test_another_machines_description_is_refused() -> None:
    with pytest.raises(InputError, match="a SatSpec, found Spec"):
        SatMachine.from_spec(Spec(), "none")


def test_mapping_and_lowering_compile_nothing() -> None:
    code = (
        "import sys; from hwsim.core.machine import make_machine;"
        "make_machine('sat').capabilities(); print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
