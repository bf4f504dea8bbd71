"""Where one call stands, and where it may go from here. Decides, and asks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .attempt import Asking
from .backoff import backoff
from .call import EVENTS
from .health import Entry
from .judge import Meaning
from .plan import Controls
from .values import Value


if TYPE_CHECKING:
    from collections.abc import Iterator

    from .call import Call
    from .health import Health
    from .judge import Verdict
    from .plan import Plan, Target


#: Seconds to the first content of a stream, where another target could be asked and nobody said otherwise.
FIRST_CONTENT_SECONDS = 300.0

#: Longer ago than this, no connection is still open (httpx closes idle ones after 5 s unless told otherwise).
REUSED_SECONDS = 300.0

#: Most attempts that a call can have, whatever it asks for.
MOST_ATTEMPTS = 5

#: Added to what a server asked us to wait, as a share of it, so that not all who were told the same come back at once.
JITTER = 0.1

# By names of their own, as the members of ``Mode`` in ``call``.
_OPEN, _PROBE = Entry.OPEN, Entry.PROBE

_TOO_MANY_REQUESTS = 429
_THROTTLED = frozenset({_TOO_MANY_REQUESTS, 503})


class Leg(Value):
    """Whom to ask, and after how many seconds."""

    def __init__(self, target: Target, wait: float = 0.0) -> None:
        self.target = target
        self.wait = wait


class Course:
    """One call on its way over its targets.

    Attributes:
        call: As it is put to the next target.
        until: When it must be over, in monotonic seconds; ``None`` for no limit.
        targets: The list in force: that of the plan, or the one named for what the call was refused for.
        asked: Targets that were asked, and how often.
        health: Of the target that is being asked.
        probe: Whose breaker let the call in as its probe, and has not been told what came of it.
        waiting: Among whose waiters the call is.
        duplicate: Whether a provider may have worked on an attempt that failed.
        limited: Whether a gateway refused it for a limit of its own.
        relayed: Whether a gateway passed on the failure of a provider behind it.
        renewed: Whether a connection that was found closed has been replaced.
        paid: Whose retry budget paid for the running attempt, and what: given back if it succeeds.
        owed: Whose retry budget pays for it if it fails, and what.
    """

    __slots__ = (
        "_controls",
        "asked",
        "call",
        "duplicate",
        "health",
        "limited",
        "owed",
        "paid",
        "plan",
        "probe",
        "relayed",
        "renewed",
        "targets",
        "until",
        "waiting",
    )

    def __init__(self, call: Call, plan: Plan, began: float) -> None:
        self.call = call
        self.plan = plan
        self.until = None if call.timeout is None else began + call.timeout
        self.targets = plan.targets
        self.asked: dict[Target, int] = {}
        self.health: Health
        self.probe: Health | None = None
        self.waiting: Health | None = None
        self.duplicate = self.limited = self.relayed = self.renewed = False
        self.paid: tuple[Health, float] | None = None
        self.owed: tuple[Health, float] | None = None
        self._controls: Controls | None = None

    @property
    def controls(self) -> Controls:
        """What the call says about itself, looked up when first needed."""
        if self._controls is None:
            self._controls = self.plan.controls(self.call)
        return self._controls

    def first(self, now: float) -> Asking:
        """Ask the preferred target if it is well, else the first other that is, else the preferred one, once."""
        preferred = self.plan.targets[0]
        health = preferred.health(self.call)
        if self.enter(health, now):
            return self.asking(preferred, now, health=health)
        if not self.controls.stays:
            for target in self._others(self.plan.targets[1:]):
                if self.enter_other(target, now):
                    return self.asking(target, now)
        # A breaker may be wrong, and an attempt that fails is no worse than none.
        self._controls = self.controls.replace(attempts=1)
        return self.asking(preferred, now)

    def enter_other(self, target: Target, now: float) -> bool:
        """Same as :meth:`enter`, for a target that nobody insists on: it must not have asked to be left alone."""
        health = target.health(self.call)
        return not (health.paused(now) or health.is_bad(now)) and self.enter(health, now)

    def enter(self, health: Health, now: float) -> bool:
        """Go in where *health* lets it, as the probe if need be."""
        entry = health.enter(now)
        if entry is _PROBE:
            self.probe = health
        return entry is not _OPEN

    def leave(self) -> None:
        """Give up the place of a probe or among the waiters, if the call has one: nothing is to come of it."""
        if self.probe is not None:
            self.probe.released(0.0)
            self.probe = None
        self.end_wait()

    def end_probe(self) -> bool:
        """Whether what came of the target that was asked last is what its breaker waits for. It is said once."""
        probe = self.probe is not None and self.probe is self.health
        if probe:
            self.probe = None
        self.leave()
        return probe

    def end_wait(self) -> None:
        """Leave the waiters, if the call is among them."""
        if self.waiting is not None:
            self.waiting.wait_out()
            self.waiting = None

    def asking(
        self, target: Target, now: float, wait: float = 0.0, *, health: Health | None = None
    ) -> Asking:
        """What the attempt at *target* that begins at *now*, after *wait* seconds, needs to know. It is counted."""
        self.health = health = health or target.health(self.call)
        asked = self.asked.get(target, 0)
        self.asked[target] = asked + 1
        return Asking(
            self.plan,
            self.call,
            target,
            now,
            self.until if self.call.mode is not EVENTS else self._content_until(now),
            wait,
            not (asked or self.renewed) and health.answered_within(REUSED_SECONDS, now),
            self.duplicate,
        )

    def _content_until(self, began: float) -> float | None:
        """When the stream of an attempt that begins at *began* must show its first content."""
        limit = self.call.first_content or self.plan.timeouts.first_content
        if limit is None and len(self.plan.targets) > 1:
            limit = FIRST_CONTENT_SECONDS
        if limit is None:
            return self.until
        return began + limit if self.until is None else min(self.until, began + limit)

    def note(self, target: Target, verdict: Verdict) -> None:
        """Remember what a failure of *target* rules out for the rest of the call."""
        rule = verdict.rule
        self.duplicate |= rule.billed
        self.renewed |= not rule.cost  # nothing else that goes on is free
        if target.guards:
            self.limited |= verdict.own and verdict.status == _TOO_MANY_REQUESTS
            self.relayed |= not verdict.own

    def may_go_on(self, verdict: Verdict, done: int, now: float) -> bool:
        """Whether a failure after *done* attempts need not be the end."""
        rule = verdict.rule
        if not (rule.same or rule.next or verdict.named):
            return False
        cap = self.controls.attempts or self.plan.retry.attempts
        if done >= min(cap, MOST_ATTEMPTS) or not self.fits(now, 0.0):
            return False
        careful = self.controls.once or self.plan.retry.on_ambiguous == "raise"
        return not (careful and verdict.meaning is Meaning.AMBIGUOUS)

    def fits(self, now: float, wait: float) -> bool:
        """Whether a wait would be over in time."""
        return self.until is None or now + wait < self.until

    def onward(self, verdict: Verdict) -> Iterator[Target]:
        """Other targets that may be asked after a failure, in order."""
        if self.controls.stays:
            return
        named = self.plan.named.get(verdict.named or "")
        if named:
            self.targets = named  # and it stays in force: who opted for it did not opt for the others
        if named or verdict.rule.next:
            for target in self._others(self.targets):
                if self._may_ask(target):
                    yield target

    def neighbours(self) -> Iterator[Target]:
        """Other targets that are not asked yet, in order, whatever their health."""
        return self._others(self.plan.targets)

    def wait_to_repeat(self, target: Target, verdict: Verdict, draw: float) -> float | None:
        """Seconds until *target*, which failed, may be asked again; ``None`` if it may not."""
        repeats = self.asked[target] - 1
        if not verdict.rule.same or (repeats and verdict.once):
            return None
        if verdict.wait is not None:
            return verdict.wait * (1 + JITTER * draw)
        retry = self.plan.retry
        throttled = verdict.status in _THROTTLED
        base = self.controls.backoff or (retry.backoff_throttled if throttled else retry.backoff)
        return backoff(draw, repeats + 1, base=base, cap=retry.backoff_cap)

    def _others(self, targets: tuple[Target, ...]) -> Iterator[Target]:
        return (target for target in targets if target not in self.asked and self._is_possible(target))

    def _is_possible(self, target: Target) -> bool:
        return self.call.path in target.paths and target.unfit(self.call) is None

    def _may_ask(self, target: Target) -> bool:
        """Whether *target* would not be a way around what a gateway guards, nor of no use.

        A limit of a gateway's own may be a customer's budget, and must hold at every target. Straight to the
        provider helps only if the gateway itself is broken.
        """
        if target.direct and self.relayed:
            return False
        return target.guards or not self.limited
