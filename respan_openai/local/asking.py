"""Asks the candidates of a request, by the flow that a client's calls follow.

Where a client must not go around a refusal, the gateway may: a provider that has no quota left, does not know the key
or does not have the model is one of several that this gateway was given to answer with. So such a refusal goes on to
the next candidate with another key, or for what the model lacks, to the next with another model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .._core.call import Call, Mode
from .._core.course import MOST_ATTEMPTS
from .._core.flow import flow
from .._core.judge import Meaning
from .._core.plan import Controls, Plan
from .._core.steps import Close
from .._families import fault_of
from ..policy import Breaker, Limits, Retry, Streams, Timeouts


if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from .._core.attempt import Outcome
    from .._core.judge import Verdict
    from .._core.trace import Trace
    from .providers import Choice
    from .reading import Asked
    from .settings import Settings

    Steps = Generator[Any, Any, Any]


__all__ = ["LIMITS", "ask", "call_of", "seconds_for"]


LIMITS = Limits()

_NOT_FOUND = 404


def seconds_for(request: Any) -> float | None:
    """Seconds that the caller of *request* waits for its answer; ``None`` for no limit."""
    timeout: Mapping[str, float | None] = request.extensions.get("timeout", {})
    read, connect = timeout.get("read"), timeout.get("connect")
    return None if read is None else max(read, connect or 0.0)


def call_of(request: Any, asked: Asked, body: bytes) -> Call:
    """*asked* in the plain values that a flow takes."""
    if asked.path == "/audio/speech":
        mode = Mode.PASS
    else:
        mode = Mode.EVENTS if asked.streams else Mode.WHOLE
    return Call(
        "POST",
        str(request.url),
        request.url.raw_path,
        asked.path,
        request.headers.raw,
        body,
        follow_redirects=False,
        mode=mode,
        timeout=seconds_for(request),
        first_content=asked.params.get("first_token_timeout"),
    )


class _Repeats(NamedTuple):
    """How often a model is repeated that failed, and the seconds before it."""

    retries: int
    wait: float


def _repeats(params: Mapping[str, Any], settings: Settings) -> _Repeats:
    said = params.get("retry_params")
    if said is None:
        return _Repeats(settings.retries, settings.retry_after)
    wait = said.get("retry_after", settings.retry_after)
    # Three is what Respan's own SDK makes of a retry that is enabled without a number (params.yaml, retry_params).
    return _Repeats(said.get("num_retries", 3) if said.get("retry_enabled", True) else 0, wait)


def ask(call: Call, choices: list[Choice], asked: Asked, settings: Settings, trace: Trace) -> Steps:
    """Bring *call* to the outcome of the first of *choices* that answers, or of the most telling failure."""
    repeats, left = _repeats(asked.params, settings), list(choices)
    while True:
        attempts = min(MOST_ATTEMPTS, len(trace.tried) + len(left) + repeats.retries)
        outcome: Outcome = yield from flow(call, _plan(left, repeats.wait, attempts, asked), trace)
        left = _others(outcome, left)
        if outcome.verdict is None or not left or len(trace.tried) >= MOST_ATTEMPTS:
            return outcome
        spent = trace.tried[-1].ended - trace.began
        if call.timeout is not None and spent >= call.timeout:
            return outcome
        if not outcome.over and outcome.answer is not None:
            yield Close(outcome.answer)
        if call.timeout is not None:
            call = call._replace(timeout=call.timeout - spent)


def _plan(choices: list[Choice], wait: float, attempts: int, asked: Asked) -> Plan:
    def controls(_call: Call) -> Controls:
        return Controls(
            attempts=attempts,
            backoff=wait,
            once=asked.fields.get("store") is True or bool(asked.fields.get("background")),
            several=asked.fields.get("n") not in {None, 1},
        )

    return Plan(
        targets=tuple(choices),
        named={},
        retry=Retry(attempts=attempts, backoff=wait),
        breaker=Breaker(),
        timeouts=Timeouts(),
        streams=Streams(),
        limits=LIMITS,
        hedge=None,
        explain=fault_of,
        controls=controls,
    )


def _others(outcome: Outcome, choices: list[Choice]) -> list[Choice]:
    """Those of *choices* that were not asked, and would not refuse for the same reason."""
    verdict, refused = outcome.verdict, outcome.target
    others = [choice for choice in choices if choice.outgoing is None]
    if verdict is None or verdict.meaning is Meaning.REQUEST:
        return others if verdict is not None and _lacks_model(verdict) else []
    if verdict.meaning is not Meaning.POLICY:
        return []
    return [choice for choice in others if not choice.shares_key_with(refused)]


def _lacks_model(verdict: Verdict) -> bool:
    """Whether another model may well answer what this one did not: it is missing, too small, or has a filter."""
    return verdict.named is not None or verdict.status == _NOT_FOUND
