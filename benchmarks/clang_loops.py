"""Write kernels of XNNPACK's structure in C, compile them, and cut out their inner loops.

``python -m benchmarks.clang_loops [clang-14 [llvm-mca-19]]`` prints every loop's cycles per nonzero
block, simulated and by llvm-mca. With ``--record`` it also writes the loops that the claims of
``hwsim validate cpu`` run (``hwsim/experiments/clang_loops.toml``). The C is this project's, of the
structure of XNNPACK's kernels: which loads, prefetches and multiply-adds a step makes.
Loops are not unrolled by the compiler, as if each were marked for llvm-mca.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.llvm_mca import CORES, text_cycles, version
from hwsim.experiments.clang_loops import FILE, ClangLoop, loop_cycles

__all__ = ["RECORDED", "c_source", "inner_loop", "main"]

RECORDED = (
    "16x1",
    "16x1-u2",
    "16x1-pipelined",
    "32x1-pipelined",
    "16x2",
    "16x4",
    "32x2",
    "gemm-6x8",
)
_FLAGS = ("--target=aarch64-linux-gnu", "-mcpu=cortex-a73", "-O2", "-fno-unroll-loops")
_HEAD = """#include <arm_neon.h>
#include <stdint.h>
#include <stddef.h>
"""


def names() -> Iterator[str]:
    """Yield the loops: widths 4 to 32, 1, 2 and 4 channels, all forms, and the dense product."""
    for mr in (4, 8, 12, 16, 32):
        yield from (f"{mr}x1{form}" for form in ("", "-u2", "-pipelined"))
        yield from (f"{mr}x{nr}" for nr in (2, 4))
    yield "gemm-6x8"


def c_source(name: str) -> str:
    """Return the C of kernel ``name``."""
    sizes = re.fullmatch(r"(gemm-)?(\d+)x(\d+)-?(\w*)", name)
    assert sizes is not None
    if sizes[1]:
        return _HEAD + _gemm(int(sizes[2]))
    return _HEAD + _spmm(int(sizes[2]), int(sizes[3]), sizes[4])


def _spmm(mr: int, nr: int, form: str) -> str:
    """Return a sparse kernel without its clamp and its tails of pixels."""
    quads = range(mr // 4)
    sums = [[f"sum{n}_{q}" for q in quads] for n in range(nr)]
    lines = [
        "void kernel(size_t mc, size_t nc, const float* x, const float* weights,",
        "            const int32_t* dmaps, const uint32_t* counts, float* y, size_t stride) {",
        f"  while (mc >= {4 * mr}) {{",
        "    const float* w = weights; size_t n = nc;",
        "    const int32_t* dmap = dmaps; const uint32_t* count = counts;",
    ]
    if form == "pipelined":
        lines += ["    float32x4_t vw = vld1q_dup_f32(w++); intptr_t diff = *dmap++;"]
        lines += [f"    float32x4_t v{q} = vld1q_f32(x + {4 * q});" for q in quads]
    lines += [f"    while (n >= {nr}) {{ uint32_t nnz = *count++;"]
    for row in sums:
        lines += [
            f"      float32x4_t {row[0]} = {'vw' if form == 'pipelined' else 'vld1q_dup_f32(w++)'};"
        ]
        lines += [f"      float32x4_t {total} = {row[0]};" for total in row[1:]]
    if form == "pipelined":
        lines += ["      vw = vld1q_dup_f32(w++);"]
    lines += _pairs(mr, sums[0]) if form == "u2" else []
    body = _pipelined(mr, sums[0]) if form == "pipelined" else _plain(mr, nr, sums)
    lines += ["      if (nnz != 0) do {", *body, "      } while (--nnz != 0);"]
    for n, row in enumerate(sums):
        place = f"(float*) ((uintptr_t) y + {n} * stride)"
        lines += [f"      vst1q_f32({place} + {4 * q}, {row[q]});" for q in quads]
    lines += [f"      y = (float*) ((uintptr_t) y + {nr} * stride); n -= {nr};", "    }"]
    lines += [f"    x += {mr}; mc -= {4 * mr};", "  }", "}"]
    return "\n".join(lines) + "\n"


def _prefetches(first: int, count: int) -> list[str]:
    return [f"__builtin_prefetch(x + {first + 16 * i});" for i in range(count)]


def _step(by: str) -> str:
    return f"x = (const float*) ((uintptr_t) x + (uintptr_t) {by});"


def _plain(mr: int, nr: int, sums: list[list[str]]) -> list[str]:
    quads = range(mr // 4)
    load = {1: "float32x4_t vw = vld1q_dup_f32(w)", 2: "float32x2_t vw = vld1_f32(w)"}
    lines = ["const intptr_t diff = *dmap++;"]
    lines += [f"const float32x4_t v{q} = vld1q_f32(x + {4 * q});" for q in quads]
    lines += [_step("diff"), *_prefetches(16, max(1, mr // 16))]
    lines += [f"const {load.get(nr, 'float32x4_t vw = vld1q_f32(w)')}; w += {nr};"]
    lines += ["__builtin_prefetch(w + 32);"]
    add = {1: "vfmaq_f32({0}, {1}, vw)", 2: "vfmaq_lane_f32({0}, {1}, vw, {2})"}
    form = add.get(nr, "vfmaq_laneq_f32({0}, {1}, vw, {2})")
    for n, row in enumerate(sums):
        lines += [f"{row[q]} = {form.format(row[q], f'v{q}', n)};" for q in quads]
    return lines


def _pipelined(mr: int, sums: list[str]) -> list[str]:
    lines = [f"{total} = vfmaq_f32({total}, v{q}, vw);" for q, total in enumerate(sums)]
    lines += [_step("diff"), "diff = *dmap++; vw = vld1q_dup_f32(w++);"]
    lines += [f"v{q} = vld1q_f32(x + {4 * q});" for q in range(mr // 4)]
    return [*lines, *_prefetches(mr, max(1, mr // 16)), "__builtin_prefetch(w + 32);"]


def _pairs(mr: int, sums: list[str]) -> list[str]:
    """Return the loop over pairs of nonzeros, each with sums of its own, and their addition."""
    second = [f"more{q}" for q in range(mr // 4)]
    lines = [f"float32x4_t {total} = vmovq_n_f32(0);" for total in second]
    lines += ["for (; nnz >= 2; nnz -= 2) {"]
    lines += ["const intptr_t d0 = dmap[0], d1 = dmap[1]; dmap += 2;"]
    for turn, totals in enumerate((sums, second)):
        lines += [
            f"const float32x4_t v{q}_{turn} = vld1q_f32(x + {4 * q});" for q in range(mr // 4)
        ]
        lines += [_step(f"d{turn}"), *_prefetches(16, 1)]
        lines += [f"const float32x4_t w{turn} = vld1q_dup_f32(w++);", "__builtin_prefetch(w + 32);"]
        lines += [
            f"{total} = vfmaq_f32({total}, v{q}_{turn}, w{turn});" for q, total in enumerate(totals)
        ]
    lines += ["}"]
    return [*lines, *(f"{a} = vaddq_f32({a}, {b});" for a, b in zip(sums, second, strict=True))]


def _gemm(rows: int) -> str:
    """Return a dense product of ``rows`` by 8, two input channels per turn by lane."""
    places = [(r, half) for r in range(rows) for half in range(2)]
    pointers = ", ".join(f"const float* a{r}" for r in range(rows))
    lines = [f"void kernel(size_t k, const float* w, float* c, {pointers}) {{"]
    lines += [f"  float32x4_t s{r}{h} = vld1q_f32(w + {4 * h});" for r, h in places]
    lines += ["  w += 8;", "  for (; k >= 8; k -= 8) {"]
    lines += [f"    const float32x2_t v{r} = vld1_f32(a{r}); a{r} += 2;" for r in range(rows)]
    for lane in range(2):
        lines += [f"    const float32x4_t b{lane}{h} = vld1q_f32(w); w += 4;" for h in range(2)]
        lines += [
            f"    s{r}{h} = vfmaq_lane_f32(s{r}{h}, b{lane}{h}, v{r}, {lane});" for r, h in places
        ]
    lines += ["  }"]
    lines += [f"  vst1q_f32(c + {8 * r + 4 * h}, s{r}{h});" for r, h in places]
    return "\n".join([*lines, "}"]) + "\n"


def inner_loop(source: str, clang: str) -> str:
    """Return the text of the innermost loop with the most multiply-adds, as ``clang`` compiles."""
    done = subprocess.run(
        [clang, *_FLAGS, "-ffreestanding", "-S", "-o", "-", "-x", "c", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [re.sub(r"//.*", "", line).strip() for line in done.stdout.splitlines()]
    lines = [line for line in lines if line]
    labels = {line[:-1]: at for at, line in enumerate(lines) if line.endswith(":")}
    loops = []
    for at, line in enumerate(lines):
        target = re.match(r"(?:b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+,.*,)\s+(\.L\w+)$", line)
        if target and labels.get(target[1], at) < at:
            body = lines[labels[target[1]] + 1 : at + 1]
            if not any(inside.endswith(":") for inside in body):
                loops.append("\n".join(re.sub(r"\s+", " ", inside) for inside in body) + "\n")
    return max(loops, key=lambda text: text.count("fmla"))


def _loop(name: str, clang: str, mca: str) -> ClangLoop:
    text = inner_loop(c_source(name), clang)
    mr, nr = (int(n) for n in re.findall(r"(\d+)x(\d+)", name)[0])
    per_block = 2 * 12 if name.startswith("gemm") else mr // 4 * nr
    blocks = text.count("fmla") // per_block
    cycles = {rules: text_cycles(mca, core, text) / blocks for rules, core in CORES.items()}
    return ClangLoop(text, blocks, cycles)


def main(arguments: list[str]) -> int:
    """Print the comparison, and record the loops if asked to; 1 if a tool is missing."""
    tools = [argument for argument in arguments if argument != "--record"]
    clang, mca = (*tools, *("clang-14", "llvm-mca-19")[len(tools) :])
    for tool in (clang, mca):
        if shutil.which(tool) is None:
            print(f"{tool}: not installed", file=sys.stderr)
            return 1
    print(version(clang), version(mca), sep="\n")
    found = {name: _loop(name, clang, mca) for name in names()}
    for name, loop in found.items():
        for rules, core in CORES.items():
            ours, theirs = loop_cycles(loop, rules), loop.mca[rules]
            error = f"{ours / theirs - 1:+.1%}"
            print(f"{core:12} {name:14} simulated {ours:6.2f}  llvm-mca {theirs:6.2f}  {error}")
    if "--record" in arguments:
        _record(found, version(clang), version(mca))
    return 0


def _record(found: dict[str, ClangLoop], compiler: str, scheduler: str) -> None:
    head = (
        "# Inner loops of kernels of XNNPACK's structure (C of benchmarks/clang_loops.py), as\n"
        f"# {compiler} compiles them with {' '.join(_FLAGS)}.\n"
        f"# blocks: nonzero blocks per turn; mca: cycles per block, {scheduler}.\n"
    )
    parts = [
        f'\n["{name}"]\nblocks = {found[name].blocks}\n'
        f"mca = {{ {', '.join(f'{rules} = {n:.2f}' for rules, n in found[name].mca.items())} }}\n"
        f'text = """\n{found[name].text}"""\n'
        for name in RECORDED
    ]
    Path(FILE).write_text(head + "".join(parts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
