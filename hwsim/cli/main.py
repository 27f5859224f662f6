"""The ``hwsim`` command: parse flags, call the library, turn errors into one line.

Imports of the heavy parts happen inside the commands, so that ``hwsim --help`` stays quick.
"""

from __future__ import annotations

import logging
import re
import signal
import sys
from typing import Annotated, Any

import typer

from hwsim import __version__
from hwsim.cli import binary as binary_commands
from hwsim.cli import inspect as inspect_commands
from hwsim.cli import kernels as kernel_commands
from hwsim.cli import memory as memory_commands
from hwsim.cli import on_chip as on_chip_commands
from hwsim.cli import rtl as rtl_commands
from hwsim.cli import run as run_commands
from hwsim.core.errors import HwsimError, InputError, unknown_name

__all__ = ["app", "main"]

# Typer may carry its own copy of click; this is the base of its usage errors either way.
_CLICK_ERROR = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

_INTERRUPTED = 130

app = typer.Typer(
    name="hwsim",
    help="Simulate accelerators for sparse and mixture-of-experts models, cycle by cycle.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("run")(run_commands.run)
app.command("compare")(run_commands.compare)
app.command("sim")(run_commands.sim)
app.command("machines")(inspect_commands.machines)
app.command("models")(inspect_commands.models)
app.command("diff")(inspect_commands.diff)
app.command("validate")(inspect_commands.validate)
app.command("schema")(inspect_commands.schema)
app.command("memory")(memory_commands.memory)
app.command("network")(on_chip_commands.network)
app.command("scratchpad")(on_chip_commands.scratchpad)
app.command("asm")(binary_commands.asm)
app.command("disasm")(binary_commands.disasm)
app.add_typer(kernel_commands.app, name="kernels", help="Generate, run, time CPU micro-kernels.")
app.add_typer(rtl_commands.app, name="rtl", help="List, emit, co-simulate, prove, synthesise RTL.")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"hwsim {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log steps to stderr.")] = False,
) -> None:
    """Take the options that every command shares."""
    del version
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        stream=sys.stderr,
        format="%(message)s",
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the contract's status."""
    if arguments is None:  # the command itself: what ends it otherwise would leave temporary files
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    status = _status(arguments)
    if status == _INTERRUPTED:
        print("interrupted", file=sys.stderr)
    sys.exit(status)


def _status(arguments: list[str] | None) -> int:
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except InputError as error:
        return _fail(str(error), 2)
    except HwsimError as error:
        return _fail(str(error), 1)
    except _CLICK_ERROR as error:
        return _fail(_usage_line(error, arguments or sys.argv[1:]), 2)
    except OSError as error:
        name = error.filename if error.filename is not None else "file"
        return _fail(f"{name}: need a usable path, found {error.strerror or error}", 2)
    except OverflowError:
        return _fail("sizes: need cycles and bytes below 2^63, found more", 2)
    except MemoryError as error:
        found = str(error) or "more than there is"
        return _fail(f"memory: need sizes that fit into it, found {found}", 2)
    except (KeyboardInterrupt, typer.Abort):  # Typer itself returns 130 for most
        return _INTERRUPTED


def _fail(message: str, status: int) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return status


def _usage_line(error: Exception, arguments: list[str]) -> str:
    """Return a usage error of the argument parser in the form FIELD: need X, found Y."""
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]  # click's own
    option = getattr(error, "option_name", None)
    if option and type(error).__name__ == "NoSuchOption":
        close = getattr(error, "possibilities", None)
        hint = f" (did you mean {', '.join(sorted(close))}?)" if close else ""
        return f"{option}: need a known option, found {option}{hint}"
    if option and "requires an argument" in message:
        return f"{option}: need a value, found nothing"
    parameter = getattr(error, "param", None)
    if parameter is not None:
        return _parameter_line(error, parameter, message, arguments)
    extra = re.search(r"unexpected extra argument\(?s?\)? \((.*)\)", message)
    if extra:
        return f"arguments: need no more than the command takes, found {extra[1]!r}"
    return _command_line(error, message)


def _parameter_line(error: Exception, parameter: Any, message: str, arguments: list[str]) -> str:
    """Return the line about a parameter that lacks its value or whose value does not parse."""
    names = [*getattr(parameter, "opts", []), parameter.name]
    field = names[0] if names[0].startswith("-") else str(parameter.name).upper()
    if type(error).__name__ == "MissingParameter":
        return f"{field}: need a value, found nothing"
    need = message.partition("should be ")[2].partition(",")[0] or "a valid value"
    need = need.replace("greater than or equal to", "at least")
    return f"{field}: need {need}, found {_value_of(field, arguments) or message!r}"


def _command_line(error: Exception, message: str) -> str:
    """Return the line about a command that is missing or unknown in its group."""
    context: Any = getattr(error, "ctx", None)
    names = sorted(getattr(getattr(context, "command", None), "commands", {}))
    where = "command" if context is None or context.parent is None else context.command_path
    unknown = re.search(r"No such command '(.*?)'", message)
    if unknown:
        return str(unknown_name(where, unknown[1], names))
    if message.startswith("Missing command"):
        return f"{where}: need one of {', '.join(names)}, found nothing (try --help)"
    return f"{where}: need a valid command line, found {message!r}"


def _value_of(option: str, arguments: list[str]) -> str:
    """Return what the user wrote behind ``option``."""
    for position, text in enumerate(arguments):
        if text == option and position + 1 < len(arguments):
            return arguments[position + 1]
        if text.startswith(f"{option}="):
            return text.partition("=")[2]
    return ""
