"""``hwsim asm`` and ``hwsim disasm``: programs of FlightLLM cores as binary and as text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwsim.cli.files import read_bytes, read_text, write_bytes

__all__ = ["asm", "disasm"]


def asm(
    source: Annotated[Path, typer.Argument(help="Text, one instruction per line.")],
    output: Annotated[Path, typer.Argument(help="Binary program to write.")],
) -> int:
    """Assemble a text of FlightLLM instructions."""
    from hwsim.flightllm.isa import assemble

    write_bytes(output, assemble(read_text(source)), field="OUTPUT")
    return 0


def disasm(source: Annotated[Path, typer.Argument(help="Binary program.")]) -> int:
    """Print a binary program of FlightLLM instructions as text."""
    from hwsim.flightllm.isa import disassemble

    print("\n".join(disassemble(read_bytes(source))))
    return 0
