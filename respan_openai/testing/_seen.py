"""What a test asked and what it got, kept until its cassette is saved."""

from __future__ import annotations

import math
import threading
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from .views import request_dict, view


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._shot import Listening
    from .recording import Answer, Question
    from .views import CallView


__all__ = ["Counts", "Log", "Seen", "unanswered", "without_retries"]


class Counts(NamedTuple):
    """What became of the calls of a test.

    Attributes:
        replayed: Answered from the file.
        live: Sent.
        unused: Recordings that nobody asked for.
        saved: Recordings written at the end.
        faults: Answered, or broken, by a fault.
    """

    replayed: int = 0
    live: int = 0
    unused: int = 0
    saved: int = 0
    faults: int = 0


class Seen:
    """One request of the test, and what came back.

    Attributes:
        number: Among the requests of the test, counted from 1.
        question: What it asks, and *masked*, as it is written.
        call: The same object for all attempts of one call, and for those of no other.
        repeats: How many attempts the SDK has made before, itself.
        listening: Who hears the answer of one that is sent; ``None`` for one that is not.
        is_fault: Whether a fault answers it, and neither the file nor the network.
        answer: ``None`` as long as there is none.
        gone: What ended it in the place of an answer, where that cannot be recorded.
        sent: When, in the order of all that happened; and *landed*, when it was over.
    """

    def __init__(self, number: int, question: Question, call: object, *, repeats: int, sent: int) -> None:
        self.number = number
        self.question = self.masked = question
        self.call = call
        self.repeats = repeats
        self.listening: Listening | None = None
        self.is_fault = False
        self.answer: Answer | None = None
        self.gone: BaseException | None = None
        self.sent = sent
        self.landed = math.inf

    @property
    def is_live(self) -> bool:
        """Whether it was sent."""
        return self.listening is not None

    @property
    def is_failure(self) -> bool:
        """Whether it was answered with something after which the same is asked again."""
        status = None if self.answer is None else self.answer.status
        return status is None or status == 429 or status >= 500

    def __str__(self) -> str:
        return f"call #{self.number} ({self.question.method} {self.question.path})"


class Log:
    """The requests of a test, in the order in which they were sent. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._ticks = count()
        self._all: list[Seen] = []

    def __len__(self) -> int:
        return len(self._all)

    def add(self, question: Question, call: Any, repeats: int) -> Seen:
        """A further one, of the SDK's *call* if that is known; *repeats* as in :class:`Seen`."""
        with self._lock:
            token = self._repeated(question, repeats) if call is None else call.headers
            # That list is the same in a call whose body was read, to be sent once more.
            seen = Seen(len(self._all) + 1, question, token, repeats=repeats, sent=next(self._ticks))
            self._all.append(seen)
            return seen

    def _repeated(self, question: Question, repeats: int) -> object:
        """The call that the SDK goes on with: of several that ask the same, any that waits for it."""
        if not repeats:
            return object()
        continued = {id(seen.call) for seen in self._all if seen.repeats >= repeats}
        waiting = [
            seen for seen in self._all if seen.repeats == repeats - 1 and id(seen.call) not in continued
        ]
        return next((seen.call for seen in waiting if seen.question == question), object())

    def land(self, seen: Seen, came: Answer | BaseException) -> None:
        """*seen* is over: with an answer, or with what ended it in the place of one."""
        with self._lock:
            seen.landed = next(self._ticks)
            if isinstance(came, BaseException):
                seen.gone = came
            else:
                seen.answer = came

    def leave(self) -> None:
        """Read on in no answer that is still open."""
        for seen in self.live:
            if seen.listening is not None:
                seen.listening.left()

    @property
    def live(self) -> list[Seen]:
        """Those that were sent."""
        with self._lock:
            return [seen for seen in self._all if seen.is_live]

    @property
    def played(self) -> list[Answer]:
        """The answers that came from a file."""
        with self._lock:
            still = [seen for seen in self._all if not (seen.is_live or seen.is_fault)]
            return [seen.answer for seen in still if seen.answer is not None]

    @property
    def faults(self) -> int:
        """How many a fault has answered."""
        with self._lock:
            return sum(seen.is_fault for seen in self._all)

    @property
    def calls(self) -> list[CallView]:
        """All of them, for users."""
        with self._lock:
            return [view(seen.question, seen.answer) for seen in self._all]

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What was asked, as plain dicts."""
        with self._lock:
            return [request_dict(seen.question) for seen in self._all]


# -- which of them a recording needs


def unanswered(live: Sequence[Seen]) -> list[Seen]:
    """Those of *live* that have no answer to record, although their calls needed one."""
    attempts = _by_call(live)
    return [seen for seen in live if seen.answer is None and not _is_made_up_for(seen, attempts)]


def without_retries(live: Sequence[Seen]) -> list[Seen]:
    """Those of *live* with an answer that is to be played: a rate limit must not become a fixture.

    A failure is left out if another attempt of the same call was answered later or meanwhile, and of two attempts
    that were made at once, the one that nobody listened to. A call that failed to the end keeps every attempt, for
    so many are made when it is played.
    """
    attempts = _by_call(live)
    return [seen for seen in live if seen.answer is not None and not _is_made_up_for(seen, attempts)]


def _by_call(live: Sequence[Seen]) -> dict[int, list[Seen]]:
    attempts: dict[int, list[Seen]] = {}
    for seen in live:
        attempts.setdefault(id(seen.call), []).append(seen)
    return attempts


def _is_made_up_for(seen: Seen, attempts: Mapping[int, Sequence[Seen]]) -> bool:
    others = [each for each in attempts[id(seen.call)] if each is not seen and not each.is_failure]
    if seen.is_failure:
        return any(other.landed > seen.sent for other in others)
    return any(_were_at_once(seen, other) and _heard(seen, other) is other for other in others)


def _were_at_once(one: Seen, other: Seen) -> bool:
    return one.sent < other.landed and other.sent < one.landed


def _heard(one: Seen, other: Seen) -> Seen:
    """Which of two answers was wanted: the first that was whole. If both were left, the one that was left last."""
    whole = [each for each in (one, other) if each.answer is not None and each.answer.end == "eof"]
    return min(whole, key=_landed) if whole else max(one, other, key=_landed)


def _landed(seen: Seen) -> float:
    return seen.landed
