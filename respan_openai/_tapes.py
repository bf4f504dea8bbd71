"""Where a cassette stands: between a call and the network, for every client of the process that this package serves.

Nothing is patched: who sends a request asks here first. Cassettes are a stack, so that clients made earlier, threads
and background tasks meet the newest one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from ._clock import asleep, sleep


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._core.call import Call


#: Among the extensions of what a cassette sees: when its sender gives it up, in monotonic seconds, or ``None``.
UNTIL: Final = "respan_openai.until"

#: Among the extensions of what a cassette sees: true once its answer was given up, as the time for it was over.
OVERDUE: Final = "respan_openai.overdue"

#: Among the extensions of an answer that came past a cassette: those of the request that it saw.
SENT: Final = "respan_openai.sent"


class Outbound:
    """What is about to be sent.

    Args:
        own: As the attribute.
        build: Makes what is sent; without it that is *own*. Called once, when somebody first wants to see it: a
            cassette that answers needs no request.
        call: As the attribute.
        name: As the attribute.

    Attributes:
        own: The request as whoever asks has made it.
        call: What it is an attempt of; ``None`` for a request that is not the gateway's business.
        name: Of the target that it goes to; ``None`` likewise.
    """

    __slots__ = ("_build", "_request", "call", "name", "own")

    def __init__(
        self,
        own: Any,
        build: Callable[[], Any] | None = None,
        call: Call | None = None,
        name: str | None = None,
    ) -> None:
        self.own = own
        self.call = call
        self.name = name
        self._build = build
        self._request: Any = own if build is None else None

    @property
    def request(self) -> Any:
        """What is sent; always the same object."""
        if self._request is None and self._build is not None:
            self._request = self._build()
        return self._request


class Playing(Protocol):
    """A request that the cassette answers."""

    is_live: Literal[False]

    #: Seconds until the head of the answer comes.
    delay: float

    def played(self) -> Any:
        """The answer; raises what was recorded in the place of one."""
        ...


class Listening(Protocol):
    """A request that goes out."""

    is_live: Literal[True]

    def came(self, response: Any) -> Any:
        """See *response*, and return what its reader gets."""
        ...

    def failed(self, error: BaseException) -> None:
        """See what was raised in its place."""
        ...


class Deck(Protocol):
    """What a cassette is to those who send."""

    @property
    def skips_waits(self) -> bool:
        """Whether nobody waits between attempts."""
        ...

    def take(self, outbound: Outbound) -> Playing | Listening:
        """Decide about *outbound*.

        Raises:
            BaseException: if the cassette answers only what was recorded, and this was not.
        """
        ...


#: Those in force, the newest last.
decks: Final[list[Deck]] = []


def push(deck: Deck) -> None:
    """Let *deck* stand in front of the network."""
    decks.append(deck)


def remove(deck: Deck) -> None:
    """Take *deck* away, wherever in the stack it lies; harmless if it is not there."""
    decks[:] = [each for each in decks if each is not deck]


def skips_waits() -> bool:
    """Whether the newest cassette lets nobody wait between attempts: what comes next is known."""
    return bool(decks) and decks[-1].skips_waits


def sent(send: Callable[[Any], Any], outbound: Outbound) -> Any:
    """What ``send(outbound.request)`` returns, or what the newest cassette has in its place."""
    if not decks:
        return send(outbound.request)
    shot = decks[-1].take(outbound)
    if shot.is_live is False:
        if shot.delay:
            sleep(shot.delay)
        return shot.played()
    try:
        response = send(outbound.request)
    except BaseException as exc:
        shot.failed(exc)
        raise
    return shot.came(response)


async def asent(send: Callable[[Any], Awaitable[Any]], outbound: Outbound) -> Any:
    """Same as :func:`sent`, awaited."""
    if not decks:
        return await send(outbound.request)
    if not hasattr(outbound.own.stream, "__iter__"):
        await outbound.own.aread()  # what is asked must be known, and is sent from memory then
    shot = decks[-1].take(outbound)
    if shot.is_live is False:
        if shot.delay:
            await asleep(shot.delay)
        return shot.played()
    try:
        response = await send(outbound.request)
    except BaseException as exc:
        shot.failed(exc)
        raise
    return shot.came(response)
