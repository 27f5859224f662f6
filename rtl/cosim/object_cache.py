"""Compile for Verilator's makefile, but keep what every simulation has in common.

Run by the makefile as ``OBJCACHE``: ``python object_cache.py FOLDER COMPILER …``. Verilator's own
library and cocotb's main program are most of what a simulation takes to compile. Plain Python,
because it is started once per file.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

PORT = re.compile(r"VL_(?:IN|OUT)\w*\(&(\w+),[\d,]+\)")
"""A port in the header of the design: a reference, whatever its width."""


def main(folder: Path, command: list[str]) -> int:
    """Compile by ``command``, or copy what it gave before from ``folder``; return the status."""
    source = Path(command[-1])
    is_main = source.name == "verilator.cpp"
    if "-o" not in command or not (is_main or source.name.startswith("verilated")):
        return subprocess.call(command)
    # The main program allocates the design's class: as large as its header says.
    header = PORT.sub(r"port \1", Path("Vtop.h").read_text("utf-8")) if is_main else ""
    key = hashlib.sha256("\0".join([*command, header]).encode()).hexdigest()[:20]
    kept = folder / f"{source.stem}-{key}.o"
    target = Path(command[command.index("-o") + 1])
    if not kept.is_file():
        status = subprocess.call(command)
        if status == 0:
            folder.mkdir(parents=True, exist_ok=True)
            partial = folder / f".{kept.name}-{os.getpid()}"
            shutil.copyfile(target, partial)
            partial.replace(kept)
        return status
    shutil.copyfile(kept, target)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
