"""What holds for any calls on shared targets, in any order of events: random flows, driven by hand at the same time.

Of the promises of a call these are not made by the client-side flow, and so not proved here:

* that the money reserved for calls stays within a budget: no money is counted in the client-side flow;
* that only complete answers are cached: there is no cache in the client-side flow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from by_hand import (
    BEGAN,
    CONTENT,
    OWN,
    RAISED,
    RELAYED,
    ROLE,
    Answer,
    Drive,
    Target,
    call,
    direct,
    events,
    gateway,
    named,
    ok,
    plan,
    provider,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from respan_openai._core.call import Mode
from respan_openai._core.course import MOST_ATTEMPTS
from respan_openai._core.health import CAPACITY, REFILL, Entry, Health
from respan_openai._core.judge import Fault
from respan_openai._core.plan import Controls
from respan_openai._core.steps import NOW, Ask, Close, Next, Read, Send, Sleep, Tell
from respan_openai._core.trace import Trace
from respan_openai.policy import Breaker, Retry, Timeouts


class Cancelled(BaseException):
    """As ``asyncio.CancelledError`` is."""


# --- what may come of a request ----------------------------------------------


def reply(status: int, body: bytes = RELAYED, **headers: str) -> Answer:
    return Answer(status, body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def good(mode: Mode) -> Answer:
    """An answer that is one."""
    return events(ROLE, CONTENT, CONTENT) if mode is Mode.EVENTS else ok()


FINAL, LIMITED, PASSED_ON, LOST, GOOD = "final", "limited", "passed on", "lost", "good"

#: What comes of a request, and what that means if a gateway was asked. Written by hand, not found by ``judge``.
REPLIES: dict[str, tuple[Any, set[str]]] = {
    "good": (good, {GOOD}),
    "500": (lambda _mode: reply(500, OWN), set()),
    "500 relayed": (lambda _mode: reply(500), {PASSED_ON}),
    "a long 500": (lambda _mode: Answer(500, *[bytes(40_000)] * 3), set()),
    "503 with a wait": (lambda _mode: reply(503, OWN, retry_after="2"), set()),
    "503 with a long wait": (lambda _mode: reply(503, OWN, retry_after="600"), set()),
    "424": (lambda _mode: reply(424, OWN), {PASSED_ON}),
    "429": (lambda _mode: reply(429), {PASSED_ON}),
    "429 own": (lambda _mode: reply(429, OWN), {FINAL}),
    "429 own with a wait": (lambda _mode: reply(429, OWN, retry_after="1"), {LIMITED}),
    "quota": (lambda _mode: named("insufficient_quota", 429), {FINAL}),
    "401": (lambda _mode: reply(401), {FINAL}),
    "403": (lambda _mode: reply(403, OWN), {FINAL}),
    "400": (lambda _mode: reply(400), {PASSED_ON}),
    "400 to be repeated": (lambda _mode: reply(400, x_should_retry="true"), {PASSED_ON}),
    "409": (lambda _mode: reply(409), {PASSED_ON}),
    "context": (lambda _mode: named("context_length_exceeded"), {PASSED_ON}),
    "moved": (lambda _mode: Answer(307, b"moved", headers={"location": "/moved"}), set()),
    "moved away": (lambda _mode: Answer(307, headers={"location": "https://evil.example"}), {FINAL}),
    "garbage": (lambda _mode: events(b"data: {\n\n", CONTENT), set()),
    "no content": (lambda _mode: events(ROLE), set()),
    "a page": (lambda _mode: Answer(200, b"<html>", headers={"content-type": "text/html"}), set()),
    "connect": (lambda _mode: RAISED[Fault.CONNECT](), set()),
    "read": (lambda _mode: RAISED[Fault.READ](), {LOST}),
    "write": (lambda _mode: RAISED[Fault.WRITE](), {LOST}),
    "read timeout": (lambda _mode: RAISED[Fault.READ_TIMEOUT](), {LOST}),
    "protocol": (lambda _mode: RAISED[Fault.PROTOCOL](), set()),
    "certificate": (lambda _mode: RAISED[Fault.CERTIFICATE](), {FINAL}),
    "pool": (lambda _mode: RAISED[Fault.POOL](), {FINAL}),
}

#: Replies that end the call whoever sends them. The limit of a gateway's own is none if no gateway sends it.
ANYBODYS = {"401", "403", "quota", "moved away", "certificate", "pool"}

#: What may go wrong while a body is read.
BREAKS = (Fault.READ, Fault.READ_TIMEOUT, Fault.DECODING, Fault.LIMIT)


# --- health that notices who does what ---------------------------------------


class Watched(Health):
    """Health that checks how it is used: who holds a probe or waits, what is paid and earned."""

    __slots__ = ("clean", "probing", "waiting", "world")

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name)
        self.world = world
        self.probing: Running | None = None
        self.waiting: list[Running] = []
        self.clean = 0

    def enter(self, now: float) -> Entry:
        state = self.state(now)
        entry = super().enter(now)
        if entry is Entry.PROBE:
            assert state == "half-open"
            assert self.probing is None, "two probes at once"
            self.probing = self.world.at_work
        return entry

    def _report(self, *, probe: bool) -> None:
        if probe:
            assert self.probing is self.world.at_work, "somebody else's probe"
            self.probing = None

    def succeeded(self, now: float, *, clean: bool, seconds: float | None = None, probe: bool = True) -> None:
        was = self._until
        self._report(probe=probe)
        super().succeeded(now, clean=clean, seconds=seconds, probe=probe)
        assert was is None or probe or self._until is not None, "closed without a probe"
        self.clean += clean

    def faulted(
        self, now: float, draw: float, breaker: Breaker, *, probe: bool = True, answered: bool = True
    ) -> None:
        self._report(probe=probe)
        super().faulted(now, draw, breaker, probe=probe, answered=answered)

    def released(self, now: float) -> None:
        self._report(probe=True)
        super().released(now)

    def wait_in(self, most: int) -> bool:
        may = super().wait_in(most)
        if may:
            self.waiting.append(self.world.at_work)
        assert len(self.waiting) <= max(most, len(self.waiting) - may)
        return may

    def wait_out(self) -> None:
        self.waiting.remove(self.world.at_work)
        super().wait_out()

    def spend(self, now: float, cost: float) -> bool:
        granted = super().spend(now, cost)
        if self.world.at_work is not None:
            self.world.at_work.bills.append((self, cost, granted))
        return granted


# --- many calls at once ------------------------------------------------------


@dataclass(eq=False)
class Running:
    """One call under way, and what must hold for it from now on."""

    drive: Drive
    mode: Mode
    controls: Controls
    until: float | None
    told: float = BEGAN  # the time, as the flow knows it
    sleeps_since: float = BEGAN
    marks: set[str] = field(default_factory=set)
    awaited: Answer | None = None  # a good answer that was not read far enough yet
    good: Answer | None = None
    over: bool = False
    free: int = 0
    bills: list[tuple[Health, float, bool]] = field(default_factory=list)  # since the newest Tell
    account: Target | None = None  # who was asked although nobody had paid, and is charged if he fails


class World:
    """Targets, a clock, and calls at any stage. What it does depends on what it is told, and on nothing else."""

    def __init__(self, retry: Retry, breaker: Breaker, timeouts: Timeouts, spent: float) -> None:
        self.now = BEGAN
        self.left = CAPACITY - spent
        self.calls: list[Running] = []
        self.at_work: Any = None
        self.extra: list[tuple[str, Running, int, float]] = []
        self.steps: list[str] = []
        self.rules = {"retry": retry, "breaker": breaker, "timeouts": timeouts}
        makers = {"g": gateway, "h": gateway, "p": provider, "q": provider, "direct": direct}
        self.targets: dict[str, Target] = {}
        for name, maker in makers.items():
            known = Watched(name, self)
            known.spend(BEGAN, spent)
            self.targets[name] = maker(known=known) if name == "direct" else maker(name, known=known)

    @property
    def running(self) -> list[Running]:
        """Calls that are not over."""
        return [running for running in self.calls if not running.over]

    def _driven(self, running: Running, act: Any) -> None:
        """Let the flow go on by *act*, and look at what it asks for then."""
        self.at_work = running
        drive, before = running.drive, len(running.drive.steps)
        drive.now = self.now
        act()
        for step in drive.steps[before:]:
            self.steps.append(f"{self.calls.index(running)} {step!r}")
            self._check(running, step)
        self.at_work = None
        if drive.outcome is not None:
            self._ended(running)

    # --- what may happen -----------------------------------------------------

    def begin(
        self, order: list[str], mode: Mode, timeout: float | None, says: Controls, *, one_shot: bool
    ) -> None:
        """A call that prefers the first of *order*."""
        targets = [self.targets[name] for name in order]
        rules = plan(
            *targets, named={"context": (self.targets["q"],)}, controls=lambda _call: says, **self.rules
        )
        asked = call(mode, timeout=timeout)
        drive = Drive(
            rules,
            asked.replace(body=None) if one_shot and mode is not Mode.EVENTS else asked,
            replay=asked.body if len(order) > 1 else None,
            trace=Trace("/chat/completions", self.now),
        )
        until = None if timeout is None else self.now + timeout
        running = Running(drive, mode, says, until, told=self.now)
        self.calls.append(running)
        self._driven(running, drive.begin)

    def advance(self, which: int, kind: str, broken: Fault | None, draw: float, took: float) -> None:
        """The newest step of a call is carried out, for better or worse."""
        running = self.running[which % len(self.running)]
        drive, step = running.drive, running.drive.steps[-1]
        if isinstance(step, Ask | Send | Next | Read):
            self.now += took
        if isinstance(step, Sleep):
            self.now = max(self.now, running.sleeps_since + step.seconds)
        drive.draw = draw
        if isinstance(step, Ask | Send):
            self._answer(running, step, kind, None if type(step) is Send else broken)
        if broken is not None and isinstance(step, Next | Read):
            self._breaks(running, broken)
            if drive.steps[-1].answer.status_code >= 300:
                running.marks -= {LOST, FINAL}  # its status says more
            self._driven(running, lambda: drive.throw(RAISED[broken]()))
        else:
            self._driven(running, lambda: self._carried_out(running, step))

    def _carried_out(self, running: Running, step: Any) -> None:
        drive = running.drive
        if isinstance(step, Sleep):
            drive.now -= step.seconds  # which the drive adds
        if step is NOW or isinstance(step, Ask):
            running.told = self.now
        overdue = (
            isinstance(step, Ask | Send | Next | Read) and step.until is not None and self.now >= step.until
        )
        if overdue:
            running.awaited = None
            running.marks |= {LOST} if not isinstance(step, Next) or step.answer.status_code < 300 else set()
        elif shows_it(step, running.mode):
            running.good = running.awaited
        drive.advance()

    def _breaks(self, running: Running, broken: Fault) -> None:
        running.awaited = None
        running.marks |= {LOST} if broken in {Fault.READ, Fault.READ_TIMEOUT} else set()
        running.marks |= {FINAL} if broken is Fault.LIMIT else set()
        running.marks -= {PASSED_ON}  # whose failure it was stood in what did not come: the status counts

    def _answer(self, running: Running, step: Ask | Send, kind: str, broken: Fault | None) -> None:
        make, marks = REPLIES[kind]
        answer = make(running.mode)
        overdue = step.until is not None and self.now >= step.until
        if overdue:
            return
        running.drive.play(answer)
        if GOOD in marks:
            running.awaited = answer
        if step.place.guards:  # type: ignore[attr-defined]
            running.marks |= marks - {GOOD}
        elif kind in ANYBODYS:
            running.marks |= {FINAL}
        else:
            running.marks |= marks & {LOST}
        if broken is not None and isinstance(answer, Answer) and answer.status_code < 300:
            answer.body = [RAISED[broken]()]
            self._breaks(running, broken)

    def cancel(self, which: int, *, close: bool) -> None:
        """A call is given up, in one way or the other."""
        running = self.running[which % len(self.running)]
        running.over = True
        self.at_work, drive = running, running.drive
        drive.now = self.now
        before = len(drive.steps)
        if close:
            drive.flow.close()
        else:
            error = Cancelled()
            try:
                drive.fail(error)
            except Cancelled as exc:
                assert exc is error
            else:
                raise AssertionError("cancelled, and delivered all the same")
            assert {type(step) for step in drive.steps[before:]} <= {Close, type(NOW)}
            assert drive.open == [], "a connection was kept"
        self.at_work = None

    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    # --- what must hold ------------------------------------------------------

    def _check(self, running: Running, step: Any) -> None:
        if isinstance(step, Ask | Send):
            self._check_send(running, step)
        elif isinstance(step, Sleep):
            running.sleeps_since = self.now
            assert running.until is None or running.told + step.seconds < running.until
            assert running.good is None
        elif isinstance(step, Tell):
            self._check_tell(running, step)
        if isinstance(step, Ask | Send | Read | Next) and running.until is not None:
            assert step.until is not None
            assert step.until <= running.until

    def _check_send(self, running: Running, step: Ask | Send) -> None:
        drive, target, tried = running.drive, step.place, running.drive.trace.tried
        retry = drive.plan.retry
        assert len(tried) < min(running.controls.attempts or retry.attempts, MOST_ATTEMPTS)
        assert running.good is None, "sent after an answer"
        assert not any(running in each.known.waiting for each in self.targets.values())  # type: ignore[attr-defined]
        assert FINAL not in running.marks
        assert step.outgoing.headers == [(b"Authorization", b"Bearer " + target.name.encode())]
        assert step.outgoing.url.startswith(f"https://{target.name}.example/")
        assert target.guards or LIMITED not in running.marks, "around a limit"
        assert not target.direct or PASSED_ON not in running.marks, "straight to the provider"
        if running.controls.stays:
            assert target is drive.plan.targets[0]
        if running.controls.once or retry.on_ambiguous == "raise":
            assert LOST not in running.marks, "may be carried out twice"
        if tried:
            assert running.until is None or running.told < running.until

    def _check_tell(self, running: Running, step: Tell) -> None:
        assert step.attempt == len(running.drive.trace.tried)
        if step.reason == "stale" and step.action == "retry":
            running.free += 1
            assert (running.free, step.onward, step.wait) == (1, step.target, 0.0)
            self._check_charged(running)
        else:
            self._check_charged(running)
            self._check_paid(running, step, 5.0 if step.reason.startswith("429") else 10.0)
        running.bills.clear()

    def _check_charged(self, running: Running) -> None:
        """What failed although nobody had paid for it was charged to who was asked, before anything else was."""
        if running.account is not None:
            assert running.bills.pop(0)[0] is running.account.known, "failed, and not charged"
            running.account = None

    def _check_paid(self, running: Running, step: Tell, cost: float) -> None:
        failed = self.targets[step.target]
        if (failed.known, cost, True) in running.bills:
            self.extra.append((step.target, running, step.attempt, cost))
            return
        onward = self.targets[step.onward]
        seen = onward.seen(running.drive.trace.tried[-1].ended)
        assert onward.known is not failed.known, "a repeat that is not paid for"
        assert (seen.state, seen.paused_for, seen.credential_bad) == ("closed", 0.0, False)
        assert seen.retry_tokens >= cost
        running.account = onward

    def _ended(self, running: Running) -> None:
        running.over = True
        drive, outcome = running.drive, running.drive.outcome
        assert outcome is not None
        assert outcome.tried in drive.trace.tried
        if outcome.verdict is not None:
            self._check_charged(running)
        if running.good is not None:
            assert outcome.answer is running.good
        assert (outcome.verdict is None) == (running.good is not None or is_passed(drive, running.mode))
        assert drive.open == ([] if outcome.over else [outcome.answer])

    def spent_in_vain(self, name: str) -> float:
        """Tokens for attempts that were made, or are to be made, and did not bring the answer."""
        return sum(
            cost
            for failed, running, attempt, cost in self.extra
            if failed == name and not is_answer(running.drive, attempt + 1)
        )


def shows_it(step: Any, mode: Mode) -> bool:
    """Whether an answer that is good is known to be one when *step* is carried out."""
    if isinstance(step, Next):
        return step.answer.body[:1] == [CONTENT]  # type: ignore[attr-defined]
    return isinstance(step, Send) if mode is Mode.PASS else isinstance(step, Ask | Read)


def is_answer(drive: Drive, number: int) -> bool:
    """Whether the attempt of this number was the one that brought the answer."""
    tried, outcome = drive.trace.tried, drive.outcome
    return outcome is not None and outcome.verdict is None and len(tried) == number


def is_passed(drive: Drive, mode: Mode) -> bool:
    """Whether the caller reads by himself what came, so that anything with a good status is an answer."""
    answer = None if drive.outcome is None else drive.outcome.answer
    if answer is None or answer.status_code != 200:
        return False
    return mode is Mode.PASS or (
        mode is Mode.WHOLE and "event-stream" in answer.headers.get("content-type", "")
    )


SECONDS = st.sampled_from([0.0, 0.25, 1.0, 6.0, 40.0])
KINDS = st.one_of(
    st.sampled_from(
        ["good", "500", "a long 500", "503 with a wait", "connect", "read", "429", "garbage", "no content"]
    ),
    st.sampled_from(list(REPLIES)),
)
BROKEN = st.sampled_from([None, None, None, *BREAKS])
DRAWS = st.sampled_from([0.0, 0.5, 1.0])
ORDERS = st.sampled_from([
    ["g"],
    ["p"],
    ["g", "p"],
    ["g", "direct"],
    ["p", "q"],
    ["g", "h", "p", "direct"],
    ["g", "p", "direct"],
])  # fmt: skip
CONTROLS = st.builds(
    Controls,
    attempts=st.sampled_from([None, None, 1, 2, 5, 9]),
    stays=st.sampled_from([False, False, True]),
    once=st.sampled_from([False, False, True]),
)
BEGINNINGS = {
    "order": ORDERS,
    "mode": st.sampled_from(Mode),
    "timeout": st.sampled_from([None, 3.0, 60.0]),
    "says": CONTROLS,
    "one_shot": st.sampled_from([False, False, True]),
}


class Flows(RuleBasedStateMachine):
    """Calls begin, go on, fail, wait and are cancelled in any order, on the same targets."""

    @initialize(
        retry=st.sampled_from([
            Retry(),
            Retry(attempts=5, backoff=0.0, backoff_throttled=0.0),
            Retry(max_waiters=1),
            Retry(on_ambiguous="raise"),
        ]),
        breaker=st.sampled_from([Breaker(), Breaker(failures=1), Breaker(failures=1_000_000, minimum=1_000_000)]),
        timeouts=st.sampled_from([Timeouts(), Timeouts(first_content=2.0, idle=None)]),
        spent=st.sampled_from([0.0, 70.0, 100.0]),
    )  # fmt: skip
    def make(self, retry: Retry, breaker: Breaker, timeouts: Timeouts, spent: float) -> None:
        self.made = (retry, breaker, timeouts, spent)
        self.world = World(*self.made)
        self.log: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def do(self, what: str, *args: Any, **kwargs: Any) -> None:
        self.log.append((what, args, kwargs))
        getattr(self.world, what)(*args, **kwargs)

    @rule(beginning=st.fixed_dictionaries(BEGINNINGS))
    def begin(self, beginning: dict[str, Any]) -> None:
        self.do("begin", **beginning)

    @precondition(lambda self: self.world.running)
    @rule(
        which=st.integers(0, 9), kind=KINDS, broken=BROKEN, draw=DRAWS, took=SECONDS, steps=st.integers(1, 9)
    )
    def advance(self, which: int, kind: str, broken: Any, draw: float, took: float, steps: int) -> None:
        """Some steps, up to the next request."""
        running = self.world.running[which % len(self.world.running)]
        for number in range(steps):
            if running.over or (number and isinstance(running.drive.steps[-1], Ask | Send)):
                break
            self.do("advance", self.world.running.index(running), kind, broken, draw, took)

    @rule(
        kinds=st.lists(st.tuples(KINDS, BROKEN), min_size=1, max_size=5),
        draw=DRAWS,
        times=st.sampled_from([1, 1, 1, 15]),
        stop=st.one_of(st.none(), st.integers(1, 30)),
        close=st.booleans(),
        beginning=st.fixed_dictionaries(BEGINNINGS),
    )
    def whole(
        self,
        kinds: list[tuple[str, Fault | None]],
        draw: float,
        times: int,
        stop: int | None,
        close: bool,
        beginning: dict[str, Any],
    ) -> None:
        """Calls from beginning to end, or to the step at which they are given up, in no time but what they wait."""
        for _ in range(times):
            self.do("begin", **beginning)
            running = self.world.calls[-1]
            while not running.over:
                if len(running.drive.steps) == stop:
                    self.do("cancel", len(self.world.running) - 1, close=close)
                else:
                    kind, broken = kinds[len(running.drive.trace.tried) % len(kinds)]
                    self.do("advance", len(self.world.running) - 1, kind, broken, draw, 0.0)

    @precondition(lambda self: self.world.running)
    @rule(which=st.integers(0, 9), close=st.booleans())
    def cancel(self, which: int, close: bool) -> None:
        self.do("cancel", which, close=close)

    @rule(seconds=SECONDS)
    def tick(self, seconds: float) -> None:
        self.do("tick", seconds)

    @invariant()
    def extra_attempts_are_few(self) -> None:
        """Each takes a tenth of a bucket, half of that after a 429; successes and time alone fill it.

        Those that nobody has paid for go to another target that is well, and are charged to it if they fail.
        """
        world = getattr(self, "world", None)
        for name, target in world.targets.items() if world else ():
            earned = target.known.clean + REFILL * (world.now - BEGAN)
            assert world.spent_in_vain(name) <= world.left + earned + 1e-6

    def teardown(self) -> None:
        """Every call ends; then nothing is held by anybody. Told the same again, all flows ask for the same."""
        if not hasattr(self, "world"):
            return
        while self.world.running:
            self.do("cancel", 0, close=False)
        for target in self.world.targets.values():
            assert target.known.probing is None
            assert target.known.waiting == []
            assert not target.known._probing
            assert target.known._waiting == 0
        again = World(*self.made)
        for what, args, kwargs in self.log:
            getattr(again, what)(*args, **kwargs)
        assert again.steps == self.world.steps


TestFlows = Flows.TestCase
TestFlows.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
