"""A flow driven by hand: targets and answers are plain values, time moves when told, every step is on record."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from respan_openai._core.attempt import Outcome
from respan_openai._core.call import Call, Mode, Outgoing
from respan_openai._core.flow import flow
from respan_openai._core.health import Health
from respan_openai._core.judge import Fault
from respan_openai._core.plan import Controls, Plan
from respan_openai._core.snapshot import TargetHealth
from respan_openai._core.steps import (
    DRAW,
    NOW,
    REPLAY,
    Ask,
    Came,
    Close,
    EventTooLarge,
    Next,
    Overdue,
    Read,
    Send,
    Sleep,
    Tell,
    TooLarge,
)
from respan_openai._core.trace import Trace
from respan_openai.policy import Breaker, Limits, Retry, Streams, Timeouts


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


#: When calls begin, in monotonic seconds.
BEGAN = 10.0

CHAT, RESPONSES, SPEECH = "/chat/completions", "/responses", "/audio/speech"


# --- what may be raised ------------------------------------------------------

#: An exception for each fault, as an HTTP library has them.
RAISED: dict[Fault, type[Exception]] = {fault: type(fault.name, (Exception,), {}) for fault in Fault}

EXPLAINED: dict[type[BaseException], Fault] = {
    **{raised: fault for fault, raised in RAISED.items()},
    Overdue: Fault.READ_TIMEOUT,
    TooLarge: Fault.LIMIT,
    EventTooLarge: Fault.LIMIT,
}


def explain(error: BaseException) -> Fault | None:
    """What *error* means; ``None`` for a cancellation, or for a mistake of ours."""
    return EXPLAINED.get(type(error))


# --- who is asked, and what for ----------------------------------------------


@dataclass(eq=False)
class Target:
    """Someone to ask; known by name, also in the credential that it puts on its requests."""

    name: str
    guards: bool = True
    direct: bool = False
    paths: frozenset[str] = frozenset({CHAT, RESPONSES, SPEECH})
    reason: str | None = None
    known: Health = field(default_factory=Health)

    def __repr__(self) -> str:
        return self.name

    def build(self, call: Call) -> Outgoing:
        credential = [(b"Authorization", b"Bearer " + self.name.encode())]
        return Outgoing(f"https://{self.name}.example/api{call.path}", credential, call.body, "m")

    def health(self, _call: Call) -> Health:
        return self.known

    def unfit(self, _call: Call) -> str | None:
        return self.reason

    def seen(self, now: float = BEGAN) -> TargetHealth:
        """What is known about it."""
        return self.known.snapshot(now)


def gateway(name: str = "g", **options: Any) -> Target:
    """It guards budgets and limits."""
    return Target(name, **options)


def provider(name: str = "p", **options: Any) -> Target:
    """It guards nothing."""
    return Target(name, guards=False, **options)


def direct(**options: Any) -> Target:
    """The provider that the client was built for."""
    return Target("direct", guards=False, direct=True, **options)


def call(mode: Mode = Mode.WHOLE, path: str = CHAT, **fields: Any) -> Call:
    """A call for *path* whose answer is read as *mode* says."""
    body = b'{"model":"m","stream":true}' if mode is Mode.EVENTS else b'{"model":"m"}'
    return Call(
        method="POST",
        url=f"https://p.example/v1{path}",
        raw_path=f"/v1{path}".encode(),
        path=path,
        headers=[],
        body=body,
        mode=mode,
    ).replace(**fields)


def no_controls(_call: Call) -> Controls:
    return Controls()


def plan(*targets: Target, **fields: Any) -> Plan:
    """Rules for *targets*, the default ones where *fields* has no other."""
    rules: dict[str, Any] = {
        "named": {},
        "retry": Retry(),
        "breaker": Breaker(),
        "timeouts": Timeouts(),
        "streams": Streams(),
        "limits": Limits(),
        "hedge": None,
        "explain": explain,
        "controls": no_controls,
    }
    return Plan(targets=targets, **rules | fields)


# --- what comes back ---------------------------------------------------------


class Headers(Mapping[str, str]):
    """Case-insensitive, as those of an answer are."""

    def __init__(self, items: Mapping[str, str]) -> None:
        self._items = {name.lower(): value for name, value in items.items()}

    def __getitem__(self, name: str) -> str:
        return self._items[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class Answer:
    """The head of an answer, and the body that its driver reads.

    *body* holds chunks, what is raised in the place of one, or seconds until the next.
    """

    def __init__(
        self, status: int, *body: bytes | BaseException | float, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status_code = status
        self.headers = Headers(headers or {})
        self.body = list(body)

    def __repr__(self) -> str:
        return f"<{self.status_code}>"


def events(*body: bytes | BaseException | float, status: int = 200, **headers: str) -> Answer:
    """An answer that is a stream of events, in these chunks."""
    return Answer(status, *body, headers={"content-type": "text/event-stream", **headers})


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
CONTENT = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
COMPLETION = (
    b'{"model":"n","choices":[{"message":{"content":"Hi"},"finish_reason":"length"}],"usage":{"tokens":3}}'
)
#: An error as the gateway itself writes it, and as it relays one of a provider.
OWN, RELAYED = b'{"detail":"No."}', b'{"error":{"message":"No."}}'


def ok() -> Answer:
    """A good answer, whole."""
    return Answer(200, COMPLETION)


def named(code: str, status: int = 400) -> Answer:
    """A provider's refusal for *code*."""
    return Answer(status, b'{"error":{"message":"No.","code":"%s"}}' % code.encode())


# --- driving -----------------------------------------------------------------


class Drive:
    """Runs one flow. It plays answers to what is sent, in order, and the rest of what a driver does.

    A step whose ``until`` has passed is thrown ``Overdue``, as the real drivers do. What is to be raised is an
    exception in the place of an answer or chunk.

    Attributes:
        open: Answers whose body neither ended nor was given back.
        draw: The random number.
        now: The time; sleeping moves it, and *took* seconds for each answer do.
        steps: All that the flow asked for.
        told: The ``Tell`` steps, with the health of the target that failed as it was at that moment.
        outcome: What the flow returned, if it did.
    """

    def __init__(
        self,
        plan: Plan,
        call: Call,
        *answers: Answer | BaseException,
        draw: float = 0.5,
        took: float = 0.0,
        replay: bytes | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.plan = plan
        self.trace = Trace(call.path, BEGAN) if trace is None else trace
        self.flow = flow(call, plan, self.trace)
        self.now = self.trace.began
        self.steps: list[Any] = []
        self.told: list[tuple[Tell, TargetHealth]] = []
        self.outcome: Outcome | None = None
        self.open: list[Answer] = []
        self.draw = draw
        self._answers = deque(answers)
        self._took = took
        self._replay = replay
        self._handlers: dict[Any, Callable[[Any], Any]] = {
            Ask: self._ask,
            Send: self._send,
            Read: self._read,
            Next: self._next,
            Close: self._close,
            Sleep: self._sleep,
            Tell: self._tell,
            type(NOW): lambda _step: self.now,
            type(DRAW): lambda _step: self.draw,
            type(REPLAY): lambda _step: self._replay,
        }

    def run(self) -> Drive:
        """To its end; raises what the flow raises. What is delivered may be open then, and nothing else."""
        if not self.steps:
            self.begin()
        while self.outcome is None:
            self.advance()
        assert self.open == ([] if self.outcome.over else [self.outcome.answer])
        return self

    def run_to(self, count: int) -> Drive:
        """Up to and including step *count*, which is not carried out."""
        self.begin()
        while len(self.steps) < count:
            self.advance()
        return self

    def fail(self, error: BaseException) -> Drive:
        """To its end, after the newest step has failed."""
        self.throw(error)
        return self.run()

    def play(self, answer: Answer | BaseException) -> None:
        """Add what comes of a further request."""
        self._answers.append(answer)

    def begin(self) -> Drive:
        """Up to its first step."""
        self._resume(self.flow.send, None)
        return self

    def advance(self) -> None:
        """Carry out the newest step."""
        step = self.steps[-1]
        try:
            result = self._handlers[type(step)](step)
        except BaseException as exc:
            self.throw(exc)
        else:
            self._resume(self.flow.send, result)

    def throw(self, error: BaseException) -> None:
        """Let the newest step fail. A connection counts as given back even if that went wrong."""
        step = self.steps[-1]
        if isinstance(step, Close):
            self._close(step)
        self._resume(self.flow.throw, error)

    def _resume(self, how: Callable[[Any], Any], value: Any) -> None:
        try:
            step = how(value)
        except StopIteration as stop:
            self.outcome = stop.value
        else:
            # Not where it is carried out: what goes wrong there is a connection's, and stops nobody.
            assert not isinstance(step, Close) or step.answer in self.open
            self.steps.append(step)

    def _ask(self, step: Ask) -> Came:
        answer = self._send(step)
        if not 200 <= answer.status_code < 300:
            return Came(answer)
        try:
            body = self._read(Read(answer, step.limit, step.until))
        except BaseException as exc:
            return Came(answer, error=exc)
        return Came(answer, body, self.now)

    def _send(self, step: Send | Ask) -> Answer:
        self.now += self._took
        self._check(step.until)
        if not self._answers:
            raise AssertionError("one request more than there are answers")
        answer = self._answers.popleft()
        if isinstance(answer, BaseException):
            raise answer
        self.open.append(answer)
        return answer

    def _next(self, step: Next) -> bytes | None:
        assert step.answer in self.open
        body = step.answer.body
        chunk = body.pop(0) if body else None
        while isinstance(chunk, float):
            self.now += chunk
            chunk = body.pop(0) if body else None
        self._check(step.until)
        if isinstance(chunk, BaseException):
            raise chunk
        if chunk is None:
            self.open.remove(step.answer)
        return chunk

    def _read(self, step: Read) -> bytes:
        body = b""
        while (chunk := self._next(Next(step.answer, step.until))) is not None:
            body += chunk
            if len(body) > step.limit:
                raise TooLarge
        return body

    def _close(self, step: Close) -> None:
        self.open.remove(step.answer)  # type: ignore[arg-type]

    def _sleep(self, step: Sleep) -> None:
        self.now += step.seconds

    def _tell(self, step: Tell) -> None:
        failed = next(target for target in self.plan.all_targets if target.name == step.target)
        self.told.append((step, failed.seen(self.now)))  # type: ignore[attr-defined]

    def _check(self, until: float | None) -> None:
        if until is not None and self.now >= until:
            self.now = until
            raise Overdue

    # --- what was seen -------------------------------------------------------

    def of(self, *kinds: type) -> list[Any]:
        """The steps of these kinds."""
        return [step for step in self.steps if isinstance(step, kinds)]

    @property
    def asked(self) -> list[str]:
        """Who was sent a request, in order."""
        return [step.place.name for step in self.of(Send, Ask)]

    @property
    def waits(self) -> list[float]:
        """How long was waited, each time."""
        return [step.seconds for step in self.of(Sleep)]

    @property
    def closed(self) -> list[Answer]:
        """Answers whose connection was given back."""
        return [step.answer for step in self.of(Close)]

    @property
    def attempts(self) -> list[Any]:
        """The record's attempts."""
        return list(self.trace.record(self.now).attempts)


def run(plan: Plan, call: Call, *answers: Answer | BaseException, **options: Any) -> Drive:
    """A flow that was driven to its end."""
    return Drive(plan, call, *answers, **options).run()


def spend_all(targets: Iterable[Target], now: float = BEGAN) -> None:
    """Empty the retry buckets."""
    for target in targets:
        assert target.known.spend(now, 100.0)


def open_breaker(target: Target, now: float = BEGAN) -> None:
    """By five faults in a row; it admits a probe five seconds after *now*."""
    for _ in range(Breaker().failures):
        target.known.faulted(now, 0.5, Breaker())
