"""Check compiled programs and their times against the profiler of FlightLLM's authors."""

from __future__ import annotations

from collections.abc import Iterator

from hwsim.core.result import Claim
from hwsim.experiments.claims import ClaimMaker
from hwsim.experiments.flightllm_runs import busy, linear_mv_cycles, milliseconds, run
from hwsim.flightllm.isa import UNITS, WORDS

__all__ = ["claims"]

_SOURCE = "FlightLLM/flightllm_test_demo, profile of the VHK158"
_PRESET = "vhk158"

_WORDS = {"ld": 28, "st": 12, "mm": 16, "mv": 16, "misc": 12, "sys": 4}
_STEP_COUNTS = {
    16: (82_386, 8_830),
    128: (89_554, 8_830),
    144: (89_554, 8_830),
    1024: (97_746, 9_854),
    2048: (114_130, 11_902),
}
"""Context -> LD and MV; ST and SYS 418, MISC 4545 in all."""
_STEP_MS = {16: 9.113573, 128: 9.260895, 144: 9.281941, 1024: 10.615256, 2048: 12.226162}
_STEP_BYTES = {16: 2_509_316, 128: 2_710_020, 1024: 2_955_780, 2048: 3_447_300}
_MV_MS = {128: 8.7990, 144: 8.810382, 1024: 9.527182, 2048: 10.437404}
_LD_MS = {144: 6.704711, 1024: 7.670626, 2048: 8.794599}
_PROMPT_COUNTS = {"LD": 728_024, "ST": 720_640, "MM": 127_952, "MISC": 248_960, "SYS": 354}
_PROMPT_MS = {"ld": 104.406553, "st": 0.932377, "mm": 274.240853, "misc": 9.318400}
_REQUESTS = {(128, 512): 103.5, (512, 1024): 93.5}


def claims() -> list[Claim]:
    """Return the claims about programs, busy times and totals."""
    return [*_encodings(), *_steps(), *_prompt(), *_throughputs()]


_claim = ClaimMaker("flightllm.artifact.", _SOURCE, "artifact")


def _encodings() -> Iterator[Claim]:
    for unit, size in _WORDS.items():
        words = WORDS[UNITS.index(unit)]
        yield _claim(f"bytes.{unit}", f"bytes of {unit.upper()}", 4 * words, size, "byte", 0.0)


def _steps() -> Iterator[Claim]:
    for context, (loads, products) in _STEP_COUNTS.items():
        found = run(_PRESET, "decode", context).extra
        expected = {"LD": loads, "MV": products, "ST": 418, "SYS": 418, "MISC": 4_545}
        for unit, count in expected.items():
            yield _claim(
                f"decode{context}.{unit.lower()}",
                f"{unit} instructions of a step at context {context}",
                found["instructions"][unit], count, "1", 0.0,
            )  # fmt: skip
        if context in _STEP_BYTES:
            size = found["storage"]["program_bytes"]
            what = f"program of a step at context {context}"
            yield _claim(f"decode{context}.bytes", what, size, _STEP_BYTES[context], "byte", 0.0)
        time = milliseconds(_PRESET, "decode", context)
        what = f"time of a step at context {context}"
        yield _claim(f"decode{context}.time", what, time, _STEP_MS[context], "ms", 0.001)
    for context, reference in _MV_MS.items():
        units = busy(_PRESET, "decode", context)
        what = f"MV busy in a step at context {context}"
        yield _claim(f"decode{context}.mv_busy", what, units["mv"], reference, "ms", 1e-4)
        if context in _LD_MS:
            what = f"LD busy in a step at context {context}"
            yield _claim(f"decode{context}.ld_busy", what, units["ld"], _LD_MS[context], "ms", 1e-4)
    what = "MV cycles of a step's projections, before the division by 3.2"
    yield _claim("decode.linear_mv", what, linear_mv_cycles(_PRESET), 6_204_211.2, "cycle", 1e-6)


def _prompt() -> Iterator[Claim]:
    result = run(_PRESET, "prefill", 128)
    for unit, count in _PROMPT_COUNTS.items():
        what = f"{unit} instructions of a prompt of 128"
        found = result.extra["instructions"][unit]
        yield _claim(f"prefill128.{unit.lower()}", what, found, count, "1", 0.0)
    size = result.extra["storage"]["program_bytes"]
    yield _claim("prefill128.bytes", "program of a prompt of 128", size, 34_068_520, "byte", 0.0)
    time = 1e3 * result.cycles / result.clock_hz
    yield _claim("prefill128.time", "time of a prompt of 128", time, 289.882369, "ms", 0.01)
    units = busy(_PRESET, "prefill", 128)
    for unit, reference in _PROMPT_MS.items():
        what = f"{unit.upper()} busy in a prompt of 128"
        tolerance = 0.05 if unit == "st" else 0.001
        yield _claim(
            f"prefill128.{unit}_busy", what, units[unit], reference, "ms", tolerance,
            gated=unit != "st",
        )  # fmt: skip


def _throughputs() -> Iterator[Claim]:
    for (prompt, answer), reference in _REQUESTS.items():
        rate = run(_PRESET, "request", prompt, answer).extra["tokens_per_s"]
        what = f"tokens per second writing {answer} after {prompt}"
        yield _claim(f"request{prompt}x{answer}", what, rate, reference, "1/s", 0.01)
