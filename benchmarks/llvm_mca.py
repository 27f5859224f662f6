"""Set the simulated cycles of inner loops beside llvm-mca's, where it is installed.

``python -m benchmarks.llvm_mca [llvm-mca-19]`` prints one line per loop and core, and the version.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

from hwsim.experiments.cpu_loops import LOOPS, loop_text, steady_state_cycles

__all__ = ["CORES", "main", "mca_cycles", "text_cycles", "version"]

CORES = {"a57": "cortex-a57", "n1": "neoverse-n1"}
"""Rule table -> the core whose scheduling table of LLVM it is."""


def text_cycles(tool: str, core: str, text: str) -> float:
    """Return llvm-mca's cycles per turn of a loop's text, the difference of 1000 and 2000 turns."""
    cycles = []
    for turns in (1000, 2000):
        done = subprocess.run(
            [tool, "-mtriple=aarch64", f"-mcpu={core}", f"-iterations={turns}"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
        if found is None:
            raise ValueError(f"{tool}: no cycle count in its output")
        cycles.append(int(found[1]))
    return (cycles[1] - cycles[0]) / 1000


def mca_cycles(tool: str, core: str, loop: str) -> float:
    """Return llvm-mca's cycles per trip of a generated kernel, per nonzero if it is unrolled."""
    turns = 2 if loop.endswith("u2") else 1  # two nonzeros per trip
    return text_cycles(tool, core, loop_text(loop)) / turns


def version(tool: str) -> str:
    """Return the line in which ``tool`` names its version."""
    shown = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
    return next(line.strip() for line in shown.splitlines() if "version" in line)


def main(arguments: list[str]) -> int:
    """Print the comparison; 1 if llvm-mca is missing."""
    tool = arguments[0] if arguments else "llvm-mca"
    if shutil.which(tool) is None:
        print(f"{tool}: not installed", file=sys.stderr)
        return 1
    print(version(tool))
    for rules, core in CORES.items():
        for loop in LOOPS:
            ours, theirs = steady_state_cycles(loop, rules), mca_cycles(tool, core, loop)
            error = f"{ours / theirs - 1:+.1%}"
            print(f"{core:12} {loop:14} simulated {ours:6.2f}  llvm-mca {theirs:6.2f}  {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
