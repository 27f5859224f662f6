"""Compile and time LLaMA2-7B on FlightLLM, each program once per process."""

from __future__ import annotations

from functools import cache

from hwsim.core.result import Result
from hwsim.experiments.pipeline import RunRequest, Session, execute, prepare
from hwsim.flightllm.isa import MV
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.sim import busy_ms, layer_times
from hwsim.flightllm.spec import FlightSpec

__all__ = ["MODEL", "busy", "linear_mv_cycles", "milliseconds", "request", "run", "session"]

MODEL = "llama2-7b"


def request(preset: str, phase: str, first: int, second: int = 0, *settings: str) -> RunRequest:
    """Return a run of ``phase``: tokens of a prompt, a step's context, or prompt and answer."""
    lengths = {
        "prefill": {"seq_tokens": first},
        "decode": {"kv_tokens": first},
        "request": {"prompt_tokens": first, "generate_tokens": second},
    }[phase]
    return RunRequest(MODEL, "flightllm", preset, phase=phase, settings=settings, **lengths)  # type: ignore[arg-type]


@cache
def session(preset: str, phase: str, first: int, *settings: str) -> Session:
    """Return the compiled program of a prompt or a step."""
    return prepare(request(preset, phase, first, 0, *settings))


@cache
def run(preset: str, phase: str, first: int, second: int = 0, *settings: str) -> Result:
    """Return the timed run."""
    compiled = None if second else session(preset, phase, first, *settings)
    return execute(request(preset, phase, first, second, *settings), session=compiled)


def milliseconds(preset: str, phase: str, first: int, *settings: str) -> float:
    """Return the simulated time of a run in milliseconds."""
    result = run(preset, phase, first, 0, *settings)
    return 1e3 * result.cycles / result.clock_hz


@cache
def busy(preset: str, phase: str, first: int) -> dict[str, float]:
    """Return the milliseconds that each unit works."""
    made = session(preset, phase, first)
    assert isinstance(made.program, FlightProgram)
    assert isinstance(made.machine.spec, FlightSpec)
    return busy_ms(made.program, made.machine.spec)


def linear_mv_cycles(preset: str) -> float:
    """Return the cycles of MV in the projections of a step; they do not depend on its context."""
    program = session(preset, "decode", 128).program
    assert isinstance(program, FlightProgram)
    times = layer_times(program)
    return float(
        sum(
            time.busy[MV] * run.steps
            for run, time in zip(program.runs, times, strict=True)
            if run.layer.kind == "linear"
        )
    )
