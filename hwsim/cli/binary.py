"""``hwsim asm`` and ``hwsim disasm``: programs of FlightLLM cores as binary and as text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwsim.cli.files import read_text
from hwsim.core.errors import InputError

__all__ = ["asm", "disasm"]


def asm(
    source: Annotated[Path, typer.Argument(help="Text, one instruction per line.")],
    output: Annotated[Path, typer.Argument(help="Binary program to write.")],
) -> int:
    """Assemble a text of FlightLLM instructions."""
    from hwsim.flightllm.isa import assemble

    data = assemble(read_text(source, field="source"))
    partial = output.with_name(f"{output.name}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(output)
    except OSError as error:
        raise InputError("output", "a file that can be written", f"{output}: {error}") from None
    return 0


def disasm(source: Annotated[Path, typer.Argument(help="Binary program.")]) -> int:
    """Print a binary program of FlightLLM instructions as text."""
    from hwsim.flightllm.isa import disassemble

    try:
        data = source.read_bytes()
    except OSError as error:
        raise InputError("source", "a readable file", f"{source}: {error}") from None
    print("\n".join(disassemble(data)))
    return 0
