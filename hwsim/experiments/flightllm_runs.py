"""Compile and time LLaMA2-7B on FlightLLM, each program once per process."""

from __future__ import annotations

from functools import cache

from hwsim.core.result import Result
from hwsim.experiments.pipeline import RunRequest, Session, execute, prepare
from hwsim.flightllm.lower import FlightProgram
from hwsim.flightllm.sim import busy_ms
from hwsim.flightllm.spec import FlightSpec

__all__ = ["MODEL", "busy", "milliseconds", "request", "run", "session"]

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
