"""Asks the candidates of a request, by the flow that a client's calls follow.

Where a client must not go around a refusal, the gateway may: a provider that has no quota left, does not know
the key or does not have the model is one of several that this gateway was given to answer with. So such a
refusal goes on to the next candidate with another key, or for what the model lacks, to the next with another
model.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import dropwhile
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core.call import EVENTS, PASS, WHOLE, Call
from .._core.course import MOST_ATTEMPTS
from .._core.flow import flow
from .._core.judge import RULES, Meaning
from .._core.plan import Controls, Plan
from .._core.steps import Close
from .._families import fault_of, seconds_for
from ..policy import Breaker, Limits, Retry, Streams, Timeouts
from .settings import MOST_SECONDS


if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from .._core.attempt import Outcome
    from .._core.call import Mode
    from .._core.judge import Verdict
    from .._core.trace import Trace, Tried
    from .reading import Asked
    from .settings import Settings
    from .targets import Target

    Steps = Generator[Any, Any, Any]


__all__ = ["LIMITS", "ask", "call_of", "may_be_billed"]


#: What is read of a provider's answer.
LIMITS = Limits()

# Each of them checks its values when it is made, so they are made once.
_BREAKER, _TIMEOUTS, _STREAMS = Breaker(), Timeouts(), Streams()

#: What Respan's own SDK makes of a retry that is enabled without a number (params.yaml, ``retry_params``).
_RETRIES = 3

_REFUSAL = 300
_NOT_FOUND = 404


def call_of(request: Any, asked: Asked) -> Call:
    """*asked* in the plain values that a flow takes; *request* is as it came in."""
    return Call(
        "POST",
        request.url,
        request.url.raw_path,
        asked.path,
        request.headers.raw,
        asked.raw,
        follow_redirects=False,
        mode=_mode(asked),
        timeout=seconds_for(request),
        first_content=asked.params.get("first_token_timeout"),
    )


def _mode(asked: Asked) -> Mode:
    if asked.path == "/audio/speech":
        return PASS
    return EVENTS if asked.streams else WHOLE


class _Repeats(NamedTuple):
    """How often a model is repeated that failed, and the seconds before it."""

    retries: int
    wait: float


def _repeats(params: Mapping[str, Any], settings: Settings) -> _Repeats:
    said = params.get("retry_params")
    if said is None:
        return _Repeats(settings.retries, settings.retry_after)
    wait = min(said.get("retry_after", settings.retry_after), MOST_SECONDS)
    return _Repeats(said.get("num_retries", _RETRIES) if said.get("retry_enabled", True) else 0, wait)


def ask(call: Call, targets: list[Target], asked: Asked, settings: Settings, trace: Trace) -> Steps:
    """Bring *call* to the outcome of the first of *targets* that answers, or of the most telling failure.

    At most ``MOST_ATTEMPTS`` attempts, recorded in *trace*, and all of them within the call's own time.
    """
    repeats, left = _repeats(asked.params, settings), list(targets)
    most_telling: Outcome | None = None
    until = None if call.timeout is None else trace.began + call.timeout
    while True:
        attempts = min(MOST_ATTEMPTS, len(trace.tried) + len(left) + repeats.retries)
        outcome: Outcome = yield from flow(call, _plan(left, repeats.wait, attempts, asked), trace)
        if outcome.verdict is None:
            return outcome
        if most_telling is None or outcome.answer is not None:  # an answer says more than a broken connection
            most_telling = outcome
        left, ended = _from_first_fit(call, _others(outcome, left)), trace.tried[-1].ended
        if not left or len(trace.tried) >= MOST_ATTEMPTS or (until is not None and ended >= until):
            return most_telling
        yield from _closed(outcome)
        call = call if until is None else call.replace(timeout=until - ended)


def _closed(outcome: Outcome) -> Steps:
    if not outcome.over and outcome.answer is not None:
        outcome.over = True  # what was read of it is what there is
        yield Close(outcome.answer)


def _plan(targets: list[Target], wait: float, attempts: int, asked: Asked) -> Plan:
    def controls(_call: Call) -> Controls:
        return Controls(
            attempts=attempts,
            backoff=wait,
            once=asked.fields.get("store") is True or bool(asked.fields.get("background")),
        )

    return Plan(
        targets=tuple(targets),
        named={},
        retry=_retry(attempts, wait),
        breaker=_BREAKER,
        timeouts=_TIMEOUTS,
        streams=_STREAMS,
        limits=LIMITS,
        hedge=None,
        explain=fault_of,
        controls=controls,
    )


@lru_cache(maxsize=64)
def _retry(attempts: int, wait: float) -> Retry:
    return Retry(attempts=attempts, backoff=wait, backoff_cap=max(wait, Retry().backoff_cap))


def _others(outcome: Outcome, targets: list[Target]) -> list[Target]:
    """Those of *targets* that were not asked, and would not refuse for the same reason."""
    verdict, refused = outcome.verdict, outcome.target
    others = [target for target in targets if target.outgoing is None]
    if verdict is None or verdict.meaning is Meaning.REQUEST:
        return others if verdict is not None and _lacks_model(verdict) else []
    if verdict.meaning is not Meaning.POLICY:
        return []
    return [target for target in others if not target.shares_key_with(refused)]


def _from_first_fit(call: Call, targets: list[Target]) -> list[Target]:
    """*targets* without those at the front that cannot be asked: a flow insists on its first target."""
    return list(dropwhile(lambda target: target.unfit(call) is not None, targets))


def _lacks_model(verdict: Verdict) -> bool:
    """Whether another model may answer what this one did not: it is missing, too small, or has a filter."""
    return verdict.named is not None or verdict.status == _NOT_FOUND


def may_be_billed(tried: Tried) -> bool:
    """Whether a provider may have worked on a failed attempt and bill it: sent, and not refused."""
    if tried.meaning is None:
        return False
    meaning = Meaning(tried.meaning)
    return meaning is Meaning.AMBIGUOUS or (RULES[meaning].billed and (tried.status or 0) < _REFUSAL)
