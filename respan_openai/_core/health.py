"""What is known about one target and credential, shared by every client of the process.

1. ``Health`` decides from what it was told; the time (monotonic seconds) and random numbers come in with each
   event, and so do the policies, because clients with different ones share one ``Health``.
2. A breaker goes from closed to open, from open to half-open when its time is over, and from half-open, where
   one call is let through as the probe, to closed or back to open. It never goes from open to closed.
3. A call that nothing is wrong with costs one read to enter and one short hold of the lock to succeed.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from enum import Enum
from hashlib import blake2b
from math import ceil, inf
from threading import RLock
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from ..policy import Breaker, Hedge
    from .snapshot import TargetHealth


#: Seconds: a pause is cut to this, so that no single answer locks a target out for hours.
LONGEST_PAUSE: Final = 60.0
#: Tokens in a full retry bucket.
CAPACITY: Final = 100.0
#: Tokens that come back each second, so that a script of few calls is not without repeats for ever.
REFILL: Final = 0.1
#: Seconds whose outcomes are remembered; ``Breaker.window`` is no longer.
SECONDS: Final = 300
#: Latencies remembered; ``Hedge.samples`` is no larger.
LATENCIES: Final = 256
#: Hedges granted before calls have earned any.
FIRST_HEDGES: Final = 5
#: Calls after which hedges that were earned but not used lapse.
EARNING_CALLS: Final = 1000
#: Pairs of origin and credential that are remembered.
ENTRIES: Final = 1024


class Entry(Enum):
    """What the breaker says to a call that wants to go to its target."""

    #: Not admitted.
    OPEN = "open"
    #: Admitted.
    CLOSED = "closed"
    #: Admitted as the one probe; ``succeeded``, ``faulted`` or ``released`` must follow, whatever happens.
    PROBE = "probe"


# A member looked up on its class costs more than the rest of `enter` (CPython 3.11).
_OPEN, _CLOSED, _PROBE = Entry


class Health:
    """Breaker, retry bucket, pauses, waiters and latencies of one target and credential. Thread-safe.

    *now* is in monotonic seconds everywhere. One that is older than the one before, as threads may bring it,
    is taken as it is and does no harm.
    """

    __slots__ = (
        "_answered",
        "_bad",
        "_bad_until",
        "_calls",
        "_failures",
        "_filled",
        "_good",
        "_hedges",
        "_latencies",
        "_lock",
        "_mark",
        "_name",
        "_open_for",
        "_origin",
        "_past",
        "_paused_until",
        "_probing",
        "_second_over",
        "_tokens",
        "_until",
        "_waiting",
    )

    def __init__(self, name: str = "", origin: str = "") -> None:
        self._name = name
        self._origin = origin
        self.reset()

    def reset(self) -> None:
        """Know nothing again."""
        self._until: float | None = None  # when an open breaker admits a probe
        self._open_for = 0.0
        self._failures = self._good = self._bad = 0
        self._second_over = self._answered = -inf
        self._past: deque[tuple[float, int, int]] = deque(maxlen=SECONDS)  # end of a second, good, bad
        self._tokens, self._filled = CAPACITY, -inf
        self._paused_until = self._bad_until = -inf
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._calls = self._hedges = 0  # calls of seconds that are over
        self._mark = 0, 0  # calls and hedges when credit last lapsed
        self.forked()

    def __repr__(self) -> str:
        return f"<Health of {self._name!r} at {self._origin!r}>"

    def forked(self) -> None:
        """In a child process: a probe or waiter of the parent never reports here, and a held lock stays held."""
        # Reentrant, because the collector may close an abandoned call, whose probe is then released, while
        # the same thread is in here.
        self._lock = RLock()
        self._probing = False
        self._waiting = 0

    # --- the breaker ---------------------------------------------------------

    def enter(self, now: float) -> Entry:
        """Whether a call may go to the target. The caller may go there all the same, as a last resort."""
        if self._until is None:
            return _CLOSED
        with self._lock:
            return self._enter(now)

    def _enter(self, now: float) -> Entry:
        if self._until is None:
            return _CLOSED
        if self._probing or now < self._until:
            return _OPEN
        self._probing = True
        return _PROBE

    def released(self, now: float) -> None:  # noqa: ARG002 -- as every event
        """The probe ended without a verdict, cancelled for example: the next call may be one."""
        self._probing = False

    def succeeded(self, now: float, *, clean: bool, seconds: float | None = None, probe: bool = True) -> None:
        """An attempt brought a good answer.

        Args:
            now: When.
            clean: Whether it was the first attempt of its call, which earns one token.
            seconds: What hedging compares with, from sending on; ``None`` if it is not to be counted.
            probe: False for a call that was not admitted as the probe, so that one which began before the
                breaker opened is not taken for it while a probe is under way.
        """
        with self._lock:
            if self._probing and probe:
                self._close()
            if now >= self._second_over:
                self._turn(now)
            self._good += 1
            self._failures = 0
            self._answered = now
            if clean:
                self._tokens += 1
            if seconds is not None:
                self._latencies.append(seconds)

    def faulted(
        self, now: float, draw: float, breaker: Breaker, *, probe: bool = True, answered: bool = True
    ) -> None:
        """An attempt failed in a way that counts against the target.

        While the breaker is open, only the probe's fault changes how long. *draw* is uniform between 0 and 1;
        *probe* as for :meth:`succeeded`; *answered* is false if not even the head of an answer came.
        """
        with self._lock:
            if now >= self._second_over:
                self._turn(now)
            self._bad += 1
            self._failures += 1
            self._answered = now if answered else -inf
            if self._until is not None:
                if self._probing and probe:
                    self._open(now, draw, self._open_for * 2, breaker)
            elif self._failures >= breaker.failures or self._too_many(now, breaker):
                self._open(now, draw, breaker.open_for, breaker)

    def _open(self, now: float, draw: float, seconds: float, breaker: Breaker) -> None:
        self._open_for = min(breaker.open_cap, seconds)
        self._until = now + self._open_for * (0.8 + 0.4 * draw)
        self._probing = False

    def _close(self) -> None:
        """Forget what was counted: old faults would open it again at the first new one."""
        self._until = None
        self._probing = False
        self._calls += self._good
        self._failures = self._good = self._bad = 0
        self._past.clear()

    def _turn(self, now: float) -> None:
        """Begin a new second. Outcomes are counted by the second, so a window is a few numbers at any load."""
        if self._good or self._bad:
            self._past.append((self._second_over, self._good, self._bad))
        self._calls += self._good
        self._good = self._bad = 0
        self._second_over = now // 1 + 1

    def _too_many(self, now: float, breaker: Breaker) -> bool:
        good, bad = self._good, self._bad
        for over, was_good, was_bad in self._past:
            if over > now - breaker.window:
                good += was_good
                bad += was_bad
        return good + bad >= breaker.minimum and bad >= breaker.rate * (good + bad)

    def state(self, now: float) -> str:
        """``closed``, ``open`` or ``half-open``."""
        until = self._until
        if until is None:
            return "closed"
        return "open" if now < until else "half-open"

    # --- reasons to go elsewhere ---------------------------------------------

    def pause(self, now: float, seconds: float) -> None:
        """The server asked to be left alone for *seconds*. The longest pause asked for holds, up to a minute."""
        with self._lock:
            # In this order nan, which is larger than nothing, leaves it as it was.
            self._paused_until = max(self._paused_until, now + min(seconds, LONGEST_PAUSE))

    def paused(self, now: float) -> bool:
        """Whether such a pause is not over."""
        return now < self._paused_until

    def mark_bad(self, now: float, seconds: float = 60.0) -> None:
        """The credential was refused (401 or 403)."""
        with self._lock:
            self._bad_until = max(self._bad_until, now + seconds)

    def is_bad(self, now: float) -> bool:
        """Whether the credential was refused a short while ago."""
        return now < self._bad_until

    # --- the retry bucket ----------------------------------------------------

    def spend(self, now: float, cost: float) -> bool:
        """Pay for an attempt that follows another; False, and nothing is taken, if too few tokens are left.

        A bucket of 100 tokens, into which each clean success puts one and each second a tenth: in an outage
        a target sees ten repeats and then one in a hundred seconds, however many clients ask. The mechanism
        is that of the AWS SDKs (botocore/retries/quota.py).
        """
        with self._lock:
            tokens = self._tokens_at(now)
            if tokens < cost:
                return False
            self._tokens, self._filled = tokens - cost, max(self._filled, now)
            return True

    def affords(self, now: float, cost: float) -> bool:
        """Whether ``spend`` would be granted; nothing is taken."""
        with self._lock:
            return self._tokens_at(now) >= cost

    def refund(self, cost: float) -> None:
        """The attempt that was paid for succeeded."""
        with self._lock:
            self._tokens += cost

    def _tokens_at(self, now: float) -> float:
        # What came in since the last payment, by time too, is only added up and cut off here: the sum is the same.
        return min(CAPACITY, self._tokens + REFILL * max(0.0, now - self._filled))

    def wait_in(self, most: int) -> bool:
        """Join those who wait before a repeat; False if *most* do already. True is followed by ``wait_out``."""
        with self._lock:
            if self._waiting >= most:
                return False
            self._waiting += 1
            return True

    def wait_out(self) -> None:
        """Leave them again."""
        with self._lock:
            self._waiting = max(0, self._waiting - 1)

    def answered_within(self, seconds: float, now: float) -> bool:
        """Whether the last that was heard of the target is an answer, good or bad, less than *seconds* ago."""
        return now - self._answered < seconds

    # --- hedging -------------------------------------------------------------

    def hedge_after(self, hedge: Hedge) -> float | None:
        """Seconds after which a call is slow: the quantile (nearest rank) of the newest latencies, or the floor.

        ``None`` while fewer than ``hedge.samples`` are known.
        """
        with self._lock:
            known = list(self._latencies)
        if len(known) < hedge.samples:
            return None
        known.sort()
        return max(hedge.floor, known[ceil(hedge.quantile * len(known)) - 1])

    def hedge(self, hedge: Hedge) -> bool:
        """Take one hedge from the allowance; False if there is none.

        Hedges stay below 5 + ``budget`` * successful calls: a share of the load and a constant to begin with,
        as in Finagle's retry budget. Calls that fail earn nothing, so hedging stops when a target is down. As
        there, credit lapses, here after a thousand calls: what a quiet day saved up must not double the load
        of a bad hour.
        """
        with self._lock:
            calls = self._calls + self._good
            if calls >= self._mark[0] + EARNING_CALLS:
                self._mark = calls, self._hedges
            if self._hedges >= FIRST_HEDGES + hedge.budget * calls:
                return False
            if self._hedges - self._mark[1] >= FIRST_HEDGES + hedge.budget * EARNING_CALLS:
                return False
            self._hedges += 1
            return True

    # --- for display ---------------------------------------------------------

    def snapshot(self, now: float) -> TargetHealth:
        """Everything above in numbers."""
        from .snapshot import TargetHealth  # few programs look

        with self._lock:
            return TargetHealth(
                name=self._name,
                origin=self._origin,
                state=self.state(now),
                failures=self._failures,
                retry_tokens=self._tokens_at(now),
                probe_in=None if self._until is None else max(0.0, self._until - now),
                paused_for=max(0.0, self._paused_until - now),
                credential_bad=self.is_bad(now),
            )


class _Registry:
    """Every ``Health`` of the process. Holds no credential, only keyed digests of them."""

    __slots__ = ("_keyed", "_known", "_lock")

    def __init__(self) -> None:
        # The only randomness here, and no decision depends on it: the digests in a process's memory cannot be
        # compared with those of likely keys made elsewhere.
        self._keyed = blake2b(key=os.urandom(32), digest_size=16)
        self._known: OrderedDict[tuple[str, bytes], Health] = OrderedDict()
        self._lock = RLock()

    def health_of(self, name: str, origin: str, credential: str) -> Health:
        """What is known about *credential* at *origin*: the same object for the same two, whoever asks.

        *name* is for display; the first one stays. Of more than 1024 the one not asked for the longest is
        forgotten, so ask for each call instead of keeping the object.
        """
        digest = self._keyed.copy()  # cheaper than to key a new one
        digest.update(credential.encode("utf-8", "surrogatepass"))
        key = origin, digest.digest()
        with self._lock:
            health = self._known.get(key)
            if health is None:
                health = self._known[key] = Health(name, origin)
                if len(self._known) > ENTRIES:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return health

    def all_health(self, now: float) -> tuple[TargetHealth, ...]:
        """All that is known, by name and origin. Two credentials for one origin are two entries."""
        with self._lock:
            known = list(self._known.values())
        return tuple(sorted((health.snapshot(now) for health in known), key=lambda t: (t.name, t.origin)))

    def forget(self) -> None:
        """Start from nothing, as tests do; so does whoever holds an object that is known here."""
        with self._lock:
            for health in self._known.values():
                health.reset()
            self._known.clear()

    def forked(self) -> None:
        """In a child process; see :meth:`Health.forked`."""
        self._lock = RLock()
        for health in self._known.values():
            health.forked()


_registry = _Registry()

health_of = _registry.health_of
all_health = _registry.all_health
forget = _registry.forget

if hasattr(os, "register_at_fork"):  # pragma: no branch -- not on Windows
    os.register_at_fork(after_in_child=_registry.forked)
