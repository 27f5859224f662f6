"""Do the documents name commands, flags and files that exist?"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from hwsim.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)#:]+)\)")
FILE = re.compile(r"`((?:hwsim|rtl|models|mappers|tests|docs|benchmarks)/[\w./]+\.\w+)`")


def commands(text: str) -> list[list[str]]:
    """Return the arguments of every ``hwsim`` command in the code blocks of ``text``."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [part.strip() for block in blocks for part in re.split(r"\n|&&", block)]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("hwsim ")]


def parse(arguments: list[str]) -> None:
    """Parse a command line as ``hwsim`` does, without running it; raise what it would."""
    command = typer.main.get_command(app)
    context = command.make_context("hwsim", list(arguments))
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_code_block_parses(path):
    for arguments in commands(path.read_text("utf-8")):
        parse(arguments)


def test_the_readme_s_commands_are_found_and_a_wrong_flag_is_not_parsed():
    found = commands((ROOT / "README.md").read_text("utf-8"))
    assert len(found) > 20
    assert ["rtl", "cosim"] in found
    with pytest.raises(Exception, match="--sparsty"):
        parse(["run", "resnet18", "--sparsty", "dense"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_exists(path):
    text = path.read_text("utf-8")
    names = [(path.parent, name) for name in LINK.findall(text)]
    names += [(ROOT, name) for name in FILE.findall(text)]
    assert [name for folder, name in names if not (folder / name).exists()] == []
