"""Asking: which failures go on to which candidates, how often, and for how long."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai import OpenRouter, Provider
from respan_openai._core.call import Mode
from respan_openai._core.health import Health
from respan_openai._core.steps import DRAW, NOW, Ask, Came, Close, Next, Read, Send, Sleep, Tell
from respan_openai._core.trace import Trace, Tried
from respan_openai._families import seconds_for
from respan_openai.local.asking import ask, call_of, may_be_billed
from respan_openai.local.credentials import Credential
from respan_openai.local.reading import Asked
from respan_openai.local.router import Candidate
from respan_openai.local.settings import Settings
from respan_openai.local.targets import Target
from tests.local.support import chat
from tests.local_support import FAMILIES


if TYPE_CHECKING:
    from collections.abc import Callable


CHAT = "/chat/completions"
FAMILY = importlib.import_module(FAMILIES[0])
P1, P2 = (Provider(name, "https://a.example/v1", f"key-{name}") for name in ("p1", "p2"))
THEIRS = Credential("their-key")


@dataclass
class Said:
    """An answer of a provider, in plain values."""

    status_code: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    is_read: bool = False


@dataclass
class Answers:
    """A provider's side of all attempts, and a clock; each attempt takes a second.

    *says* tells by ``provider/model`` what each attempt gets: a status, a body, or an exception.
    """

    says: dict[str, Any]
    now: float = 100.0
    asked: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    closed: list[Any] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, step: Any) -> Any:
        """Perform *step*."""
        if step is NOW:
            return self.now
        if step is DRAW:
            return 1.0
        own: dict[type, Callable[[Any], Any]] = {
            Ask: self._ask,
            Send: self._send,
            Read: self._read,
            Next: self._next,
            Close: self._close,
            Sleep: self._sleep,
        }
        perform: Callable[[Any], Any] = own.get(type(step), _ignored)
        return perform(step)

    def _ask(self, step: Ask) -> Came:
        said = self._send(step)
        return Came(said, bytes(said.body), self.now) if 200 <= said.status_code < 300 else Came(said)

    def _send(self, step: Ask | Send) -> Said:
        target: Any = step.place
        name = f"{target.candidate.provider}/{target.candidate.sent}"
        self.asked.append(name)
        self.now += 1.0
        said = self.says.get(name, 200)
        said = said.pop(0) if isinstance(said, list) else said
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Said):
            return said
        error = {"error": {"message": "no", "type": "t", "param": None, "code": None}}
        body = json.dumps(chat() if said == 200 else error).encode()
        return Said(said, body, {"content-type": "application/json", **self.headers})

    def _read(self, step: Read) -> bytes:
        answer: Any = step.answer
        return bytes(answer.body)

    def _next(self, step: Next) -> bytes | None:
        said: Any = step.answer
        if said.is_read:
            return None
        said.is_read = True
        return bytes(said.body)

    def _close(self, step: Close) -> None:
        self.closed.append(step.answer)

    def _sleep(self, step: Sleep) -> None:
        self.slept.append(step.seconds)
        self.now += step.seconds


def _ignored(step: Any) -> None:
    assert isinstance(step, Tell)


def targets(*names: str, credential: Credential | None = None) -> list[Target]:
    """Candidates by ``provider/model``; a star behind the name brings a key of its own."""
    made = []
    for name in names:
        provider, _, model = name.rstrip("*").partition("/")
        own = THEIRS if name.endswith("*") else credential
        candidate = Candidate(provider, name, model, own, "")
        upstream: Any = {"p1": P1, "p2": P2}[provider]
        made.append(Target(upstream, candidate, lambda: b"{}", Health(provider, f"{model}{own}")))
    return made


def asked(path: str = CHAT, fields: Any = None, **params: Any) -> Asked:
    """A request with these parameters."""
    given_fields = {"model": "m", "messages": [], **(fields or {})}
    return Asked(
        path, None, frozenset(), params, given_fields, json.dumps(given_fields).encode(), untouched=True
    )


def request(timeout: float | None = None) -> Any:
    """As it came in."""
    extensions = {} if timeout is None else {"timeout": {"read": timeout, "connect": 1.0}}
    return FAMILY.Request("POST", "http://respan.invalid/api/chat/completions", extensions=extensions)


def outcome_of(
    answers: Answers,
    names: list[str],
    *,
    settings: Settings | None = None,
    timeout: float | None = None,
    **more: Any,
) -> tuple[Any, Trace]:
    """What comes of asking *names*."""
    made, trace = asked(**more), Trace(CHAT, answers.now)
    flow = ask(call_of(request(timeout), made), targets(*names), made, settings or Settings(), trace)
    try:
        step = next(flow)
        while True:
            try:
                answer = answers(step)
            except Exception as exc:
                step = flow.throw(exc)
            else:
                step = flow.send(answer)
    except StopIteration as stop:
        return stop.value, trace


# -- which failures go on


def broken() -> Any:
    """A connection that ended before its answer."""
    return FAMILY.ReadError("gone")


def refused() -> Any:
    """A connection that was not made."""
    return FAMILY.ConnectError("no")


ERROR = '{"error": {"message": "no", "code": "%s"}}'


def said(status: int, code: str) -> Said:
    """An error with a machine word."""
    return Said(status, (ERROR % code).encode())


@pytest.mark.parametrize(
    ("failure", "names", "expected"),
    [
        # What a provider cannot do, the next one may.
        *((status, ["p1/m", "p1/n"], ["p1/m", "p1/n"]) for status in (424, 429, 500, 502, 503, 504, 529)),
        (refused(), ["p1/m", "p1/n"], ["p1/m", "p1/n"]),
        (broken(), ["p1/m", "p1/n"], ["p1/m", "p1/n"]),
        # What a key may not, another key may, at any provider.
        *((status, ["p1/m", "p1/n", "p2/m"], ["p1/m", "p2/m"]) for status in (401, 402, 403)),
        (401, ["p1/m", "p1/n*"], ["p1/m", "p1/n*"]),
        (401, ["p1/m", "p1/n"], ["p1/m"]),
        (said(429, "insufficient_quota"), ["p1/m", "p1/n", "p2/m"], ["p1/m", "p2/m"]),
        # What one model does not have or take, another may; what is wrong with the request, nobody takes.
        (404, ["p1/m", "p1/n"], ["p1/m", "p1/n"]),
        (said(404, "model_not_found"), ["p1/m", "p1/n"], ["p1/m", "p1/n"]),
        (said(400, "context_length_exceeded"), ["p1/m", "p1/n"], ["p1/m", "p1/n"]),
        (said(400, "content_filter"), ["p1/m", "p1/n"], ["p1/m", "p1/n"]),
        *((status, ["p1/m", "p2/n"], ["p1/m"]) for status in (400, 413, 422, 431)),
        (said(400, "invalid_prompt"), ["p1/m", "p2/n"], ["p1/m"]),
        (FAMILY.UnsupportedProtocol("no"), ["p1/m", "p2/n"], ["p1/m"]),
    ],
)  # fmt: skip
def test_what_follows_a_failure(failure: Any, names: list[str], expected: list[str]) -> None:
    """Fallbacks run in order, but none that would fail for the same reason (contract.md, section 4)."""
    answers = Answers({"p1/m": failure})
    outcome, trace = outcome_of(answers, names)
    by_name = [name.rstrip("*") for name in expected]

    assert answers.asked == by_name
    assert (outcome.verdict is None) == (len(expected) > 1)
    assert len(trace.tried) == len(expected)


@pytest.mark.parametrize("second", [refused(), broken()])
def test_an_answer_says_more_than_a_broken_connection(second: Exception) -> None:
    """The provider's own error is passed on, if the next one cannot even be reached."""
    outcome, _ = outcome_of(Answers({"p1/m": 401, "p2/m": second}), ["p1/m", "p2/m"])

    assert outcome.answer.status_code == 401
    assert outcome.target.name == "p1"


def test_newest_answer_is_passed_on() -> None:
    """Of two errors it is the last one."""
    outcome, _ = outcome_of(Answers({"p1/m": 401, "p2/m": 503}), ["p1/m", "p2/m"])

    assert outcome.answer.status_code == 503


def test_refusal_whose_body_goes_on_is_closed() -> None:
    """Its connection is given back before the next one is asked."""
    large = Said(401, b"x" * 70_000)
    answers = Answers({"p1/m": large})
    outcome, _ = outcome_of(answers, ["p1/m", "p2/m"])

    assert answers.closed == [large]
    assert outcome.verdict is None


# -- how often


@pytest.mark.parametrize(
    ("params", "settings", "attempts"),
    [
        ({}, Settings(), 1),
        ({}, Settings(retries=2), 3),
        ({"retry_params": {"retry_enabled": True, "num_retries": 1}}, Settings(retries=3), 2),
        ({"retry_params": {"retry_enabled": True}}, Settings(), 4),
        ({"retry_params": {"retry_enabled": True, "num_retries": 1000}}, Settings(), 5),
        ({"retry_params": {"retry_enabled": False, "num_retries": 3}}, Settings(retries=3), 1),
    ],
)  # fmt: skip
def test_retries(params: Any, settings: Settings, attempts: int) -> None:
    """``num_retries`` repeats, 3 if it does not say, at most 5 attempts in all (reference 003:3, "retry_params")."""
    answers = Answers({"p1/m": 429})
    outcome, _ = outcome_of(answers, ["p1/m"], settings=settings, **params)

    assert len(answers.asked) == attempts
    assert outcome.answer.status_code == 429


@pytest.mark.parametrize(
    ("params", "settings", "waits"),
    [
        ({}, Settings(retries=2), [0.2, 0.4]),
        ({}, Settings(retries=2, retry_after=3), [3.0, 6.0]),
        ({"retry_params": {"retry_enabled": True, "num_retries": 2, "retry_after": 1.5}}, Settings(), [1.5, 3.0]),
        ({"retry_params": {"retry_enabled": True, "num_retries": 1, "retry_after": 20}}, Settings(), [20.0]),
        ({"retry_params": {"retry_enabled": True, "num_retries": 1, "retry_after": 1e9}}, Settings(), [60.0]),
    ],
)  # fmt: skip
def test_waits(params: Any, settings: Settings, waits: list[float]) -> None:
    """``retry_after`` is the wait before the first repeat, each further one doubles it; no longer than a minute."""
    answers = Answers({"p1/m": 429})
    outcome_of(answers, ["p1/m"], settings=settings, **params)

    assert answers.slept == pytest.approx(waits)


def test_fallback_comes_before_a_repeat() -> None:
    """Another candidate is asked at once; those that failed are repeated only then."""
    answers = Answers({"p1/m": [500, 200], "p2/m": [500, 500]})
    outcome_of(answers, ["p1/m", "p2/m"], settings=Settings(retries=1))

    assert answers.asked == ["p1/m", "p2/m", "p2/m"]
    assert answers.slept == pytest.approx([0.2])


@given(st.lists(st.sampled_from([401, 404, 429, 500, 503]), min_size=6, max_size=6), st.integers(0, 4))
def test_never_more_than_five_attempts(statuses: list[int], retries: int) -> None:
    """However many candidates and repeats there are, and whatever they fail with."""
    names = [f"p{1 + number % 2}/m{number}*" for number in range(6)]
    says = {name.rstrip("*"): status for name, status in zip(names, statuses, strict=True)}
    answers = Answers(says)
    outcome, trace = outcome_of(answers, names, settings=Settings(retries=retries))

    assert len(answers.asked) == len(trace.tried) <= 5
    assert outcome.verdict is not None


@pytest.mark.parametrize("fields", [{"store": True}, {"background": True}])
def test_what_is_stored_is_not_asked_twice(fields: Any) -> None:
    """A provider may have stored it, though its answer was lost."""
    answers = Answers({"p1/m": broken()})
    outcome_of(answers, ["p1/m", "p2/m"], fields=fields)

    assert answers.asked == ["p1/m"]


# -- for how long


@pytest.mark.parametrize(("timeout", "attempts"), [(None, 3), (10.0, 3), (2.0, 2), (1.0, 1), (0.5, 1)])
def test_deadline_holds_for_all_of_them(timeout: float | None, attempts: int) -> None:
    """Each attempt takes a second; when the caller's time is over, nobody else is asked, whatever the failures."""
    answers = Answers({"p1/m": 401, "p2/m": 404})
    outcome_of(answers, ["p1/m", "p2/m", "p2/n"], timeout=timeout)

    assert len(answers.asked) == attempts


def test_later_attempts_have_what_is_left() -> None:
    """The time of a call is not started anew for those who come after a refusal."""
    until: list[float | None] = []

    class Noting(Answers):
        """Notes when each answer must have come."""

        def _send(self, step: Ask | Send) -> Said:
            until.append(step.until)
            return super()._send(step)

    outcome_of(Noting({"p1/m": 401}), ["p1/m", "p2/m"], timeout=10.0)

    assert until == [110.0, 110.0]


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [
        ({}, None),
        ({"read": None, "connect": 5.0}, None),
        ({"read": 600, "connect": 5.0}, 600),
        ({"read": 1.0, "connect": 5.0}, 5.0),
        ({"read": 1.0, "connect": None}, 1.0),
    ],
)
def test_seconds_of_the_caller(timeout: dict[str, Any], expected: float | None) -> None:
    """A call may take as long as the longest of its caller's own timeouts; none is no limit."""
    made = FAMILY.Request("POST", "http://respan.invalid/api/responses", extensions={"timeout": timeout})

    assert seconds_for(made) == expected


# -- the call


@pytest.mark.parametrize(
    ("path", "fields", "mode"),
    [
        (CHAT, {}, Mode.WHOLE),
        (CHAT, {"stream": True}, Mode.EVENTS),
        ("/responses", {"stream": True}, Mode.EVENTS),
        ("/audio/transcriptions", {"stream": "true"}, Mode.EVENTS),
        ("/audio/speech", {"stream": True}, Mode.PASS),
        ("/embeddings", {}, Mode.WHOLE),
    ],
)
def test_how_an_answer_is_read(path: str, fields: Any, mode: Mode) -> None:
    """Sound passes as it comes, a stream is watched, all else is read whole."""
    call = call_of(request(30.0), asked(path, fields, first_token_timeout=2.5))

    assert (call.mode, call.timeout, call.first_content) == (mode, 30.0, 2.5)


def test_stream_that_was_answered_with_something_else() -> None:
    """A JSON error under 200 is one, though a stream was asked for."""
    error = Said(200, b'{"error": {"message": "no", "code": 503}}', {"content-type": "application/json"})
    answers = Answers({"p1/m": error, "p2/m": Said(200, b"", {"content-type": "text/event-stream"})})
    outcome, _ = outcome_of(answers, ["p1/m", "p2/m"], fields={"stream": True})

    assert answers.asked == ["p1/m", "p2/m"]
    assert outcome.verdict is not None


# -- what may be billed


@pytest.mark.parametrize(
    ("status", "meaning", "expected"),
    [
        (None, None, False),
        (200, None, False),
        (None, "not_sent", False),
        (None, "ambiguous", True),
        (408, "ambiguous", True),
        (504, "ambiguous", True),
        (None, "fault", True),
        (200, "fault", True),
        (500, "fault", False),
        (503, "overload", False),
        (401, "policy", False),
        (400, "request", False),
        (None, "local", False),
        (None, "trust", False),
    ],
)
def test_what_may_be_billed(status: int | None, meaning: str | None, expected: bool) -> None:
    """A lost answer may have been paid for, and so may one that was no answer; a refusal was not."""
    assert may_be_billed(Tried("p", "m", status, meaning, 0.0, 1.0)) is expected


def test_openrouter_is_a_candidate_too() -> None:
    """It is asked like any other provider."""
    candidate = Candidate("openrouter", "m", "m", None, "")
    target = Target(OpenRouter("key"), candidate, lambda: b'{"model":"m","messages":[]}', Health("o", "m"))
    made, trace, answers = asked(), Trace(CHAT, 0.0), Answers({})
    flow = ask(call_of(request(), made), [target], made, Settings(), trace)
    step: Any = next(flow)
    while not isinstance(step, Ask | Send):
        step = flow.send(answers(step))

    assert step.outgoing.url == "https://openrouter.ai/api/v1/chat/completions"
    flow.close()
