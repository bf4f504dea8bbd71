"""What a flow may ask for.

A flow is a generator that yields these and is sent what came of them; a driver (``_drive``) does the work.
Steps are values, so a test of a flow compares them with ``==``. Times are monotonic seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from .values import Value


if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import Any

    from .call import Call, Outgoing

    Flow = Generator["Step", Any, Any]


class Answer(Protocol):
    """What a flow sees of a response: its head. httpx's and httpx2's ``Response`` are such."""

    status_code: int

    @property
    def headers(self) -> Mapping[str, str]:
        """Case-insensitive."""
        ...


class Place(Protocol):
    """Where a request goes; targets and the local gateway's providers are such."""

    name: str


class Overdue(Exception):  # noqa: N818 -- what happened, told to a flow; it reaches no user
    """Thrown into a flow when a step was not over by its ``until``."""


class TooLarge(Exception):  # noqa: N818 -- as above
    """Thrown into a flow when a body grew beyond the step's ``limit``."""


class EventTooLarge(ValueError):  # noqa: N818 -- as above
    """One event of a stream, or one line of it, is larger than the limit."""


#: An attribute of a failure that is played instead of waited for: whether it left its call no time.
SPENT: Final = "respan_spent"


class Now:
    """Answered with the time. ``NOW`` is the only one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOW"


NOW: Final = Now()


class Draw:
    """Answered with a random number, uniform in 0 to 1. ``DRAW`` is the only one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "DRAW"


DRAW: Final = Draw()


class Send(Value):
    """Answered with an ``Answer`` whose body is not read, or thrown what the HTTP library raised.

    Attributes:
        place: Whom to send it to.
        outgoing: What.
        until: When the head must have come; ``None`` for no limit besides the request's own.
        idle: Most seconds that the body may pause; ``None`` for no limit besides the request's own.
        call: What it is for; ``None`` if nobody needs to know.
    """

    def __init__(
        self,
        place: Place,
        outgoing: Outgoing,
        until: float | None = None,
        idle: float | None = None,
        call: Call | None = None,
    ) -> None:
        self.place = place
        self.outgoing = outgoing
        self.until = until
        self.idle = idle
        self.call = call


class Ask(Send):
    """Send, and read the whole body of a 2xx answer: both at once, as most calls need it. Answered with ``Came``.

    Attributes:
        place, outgoing, until, idle, call: As for ``Send``; *until* is for the body, too.
        limit: As for ``Read``.
    """

    def __init__(
        self,
        place: Place,
        outgoing: Outgoing,
        limit: int,
        until: float | None = None,
        idle: float | None = None,
        call: Call | None = None,
    ) -> None:
        # Not by super(), which takes as long as all of this, in each call.
        self.place = place
        self.outgoing = outgoing
        self.limit = limit
        self.until = until
        self.idle = idle
        self.call = call


class Came(Value):
    """What came of an ``Ask`` that got an answer; without one, what was raised is thrown.

    Attributes:
        answer: Its head.
        body: All of it, unpacked; ``None`` if it is not read.
        at: When it was whole.
        error: What was raised while it was read.
    """

    def __init__(
        self, answer: Answer, body: bytes | None = None, at: float = 0.0, error: BaseException | None = None
    ) -> None:
        self.answer = answer
        self.body = body
        self.at = at
        self.error = error


class Read(Value):
    """Read the whole body. Answered with it, unpacked; thrown ``Overdue``, ``TooLarge`` or what was raised."""

    def __init__(self, answer: Answer, limit: int, until: float | None = None) -> None:
        self.answer = answer
        self.limit = limit
        self.until = until


class Next(Value):
    """Answered with the next bytes of the body, unpacked, or with ``None`` after the last; thrown as for ``Read``."""

    def __init__(self, answer: Answer, until: float | None = None) -> None:
        self.answer = answer
        self.until = until


class Close(Value):
    """Give the connection of an answer back that nobody will read to its end."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


class Sleep(Value):
    """Let *seconds* pass."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Replay:
    """Answered with the request's body if it can be had again, whole, else with ``None``. ``REPLAY`` is the only one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "REPLAY"


REPLAY: Final = Replay()


class Tell(Value):
    """A line for the log: what is done next and why. Holds names, statuses and numbers, no text of a call.

    Attributes:
        action: ``retry`` or ``fallback``.
        target: Whose attempt failed.
        reason: Why.
        onward: Who is asked next.
        attempt: Number of the failed attempt.
        wait: Seconds until then.
    """

    def __init__(self, action: str, target: str, reason: str, onward: str, attempt: int, wait: float) -> None:
        self.action = action
        self.target = target
        self.reason = reason
        self.onward = onward
        self.attempt = attempt
        self.wait = wait


class Racer(Value):
    """One of two that race: its steps, and those that give back what it holds when it came too late."""

    def __init__(self, steps: Flow, give_back: Callable[[], Flow]) -> None:
        self.steps = steps
        self.give_back = give_back


class Race(Value):
    """Answered with what both came to; ``None`` for one that had not finished, or was not started.

    Attributes:
        first: Starts at once.
        second: Asked, with the time, for the other one when *first* has not finished in time; ``None`` for nobody.
        after: Seconds until then.
        won: Whether a result ends the race. Else the other one is waited for.
    """

    def __init__(
        self, first: Racer, second: Callable[[float], Racer | None], after: float, won: Callable[[Any], bool]
    ) -> None:
        self.first = first
        self.second = second
        self.after = after
        self.won = won


Step = Now | Draw | Ask | Send | Read | Next | Close | Sleep | Replay | Tell | Race
