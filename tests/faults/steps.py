"""What a scripted server does with a request: one small value for each thing that can go wrong.

A step is played once it is a request's turn, after the request was read (``AtAccept``: before). A step that
returns leaves the connection open for the next request; one that sends nothing and returns hangs up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from doubles import reply

from .answers import ordinary


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .wire import Request, Until, Wire


class Step(Protocol):
    """Anything that can be played; write your own where none of these fits."""

    def play(self, wire: Wire, request: Request | None, /) -> None:
        """Answer *request* on *wire*, or do not; at accept there is no request."""
        ...


@dataclass(frozen=True)
class Steps:
    """Several steps for one request, one after the other."""

    steps: tuple[Step, ...]

    def __init__(self, *steps: Step) -> None:
        object.__setattr__(self, "steps", steps)

    def play(self, wire: Wire, request: Request | None) -> None:
        for step in self.steps:
            step.play(wire, request)


@dataclass(frozen=True)
class AtAccept:
    """*step*, as soon as a connection is accepted: before TLS, and before a byte is read.

    It takes its turn in the script, but there is no request. ``AtAccept(Silence())`` is a handshake that stalls,
    ``AtAccept(Garbage(b"HTTP/1.1 400 ..."))`` a port that does not speak TLS. Where *step* returns, the
    connection goes on as any other.
    """

    step: Step

    def play(self, wire: Wire, request: Request | None) -> None:
        self.step.play(wire, request)


# --- answers ---------------------------------------------------------------


@dataclass(frozen=True)
class Ok:
    """What is right for the request: its path's JSON, or its stream, with *text* as the model's words."""

    text: str = "Hello!"

    def play(self, wire: Wire, request: Request | None) -> None:
        assert request is not None, "there is nothing to answer at accept"
        wire.send(ordinary(request, self.text))


@dataclass(frozen=True)
class Answer:
    """A whole answer: JSON, or bytes as they are."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    #: FIN comes with the last byte, so that the client finds the connection closed when it looks next.
    fin: bool = False

    def play(self, wire: Wire, _request: Request | None) -> None:
        said = reply(self.status, self.body, dict(self.headers))
        (wire.hangup if self.fin else wire.send)(said)


@dataclass(frozen=True)
class Raw:
    """These bytes, whatever they are."""

    data: bytes

    def play(self, wire: Wire, _request: Request | None) -> None:
        wire.send(self.data)


@dataclass(frozen=True)
class Garbage:
    """These bytes and FIN: what an SSH server answers, say."""

    data: bytes = b"SSH-2.0-OpenSSH_9.9\r\n"

    def play(self, wire: Wire, _request: Request | None) -> None:
        wire.hangup(self.data)


@dataclass(frozen=True)
class CutBody:
    """An answer that promises *declared* bytes of body and sends only *sent*, then FIN or RST."""

    declared: int
    sent: bytes
    status: int = 200
    rst: bool = False

    def play(self, wire: Wire, _request: Request | None) -> None:
        wire.send(reply(self.status, self.sent, {"content-length": str(self.declared)}))
        (wire.reset if self.rst else wire.hangup)()


@dataclass(frozen=True)
class Drip:
    """*data*, *size* bytes *every* so many seconds, the first of them at once."""

    data: bytes
    every: float
    size: int = 1

    def play(self, wire: Wire, _request: Request | None) -> None:
        for start in range(0, len(self.data), self.size):
            if start:
                wire.pause(self.every)
            wire.send(self.data[start : start + self.size])


#: How a stream ends. ``chunked``: as it should. ``eof``: the body has no length, and its end is FIN. ``cut`` and
#: ``rst``: FIN and RST in the middle of a chunked body. ``open``: not at all.
End = Literal["chunked", "eof", "cut", "rst", "open"]


@dataclass(frozen=True)
class Sse:
    """A stream of events, each in a chunk of its own.

    Args:
        events: Bytes, sent as they are; numbers, that many seconds of silence; ``threading.Event`` objects,
            silence until they are set. A function that returns them, where they never end.
        gap: The same kind of silence, between any two.
        end: See ``End``.
        status: Of the answer.
        headers: Beside the content type.
    """

    events: Iterable[Any] | Callable[[], Iterable[Any]]
    gap: Until | None = None
    end: End = "chunked"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not callable(self.events):  # a step may be played many times
            object.__setattr__(self, "events", tuple(self.events))

    def play(self, wire: Wire, _request: Request | None) -> None:
        wire.send(self._head())
        for part in self._parts():
            if isinstance(part, bytes):
                wire.send(part if self.end == "eof" else b"%x\r\n%s\r\n" % (len(part), part))
            else:
                wire.pause(part)
        _ENDS[self.end](wire)

    def _head(self) -> bytes:
        given = {"content-type": "text/event-stream", **self.headers}
        given |= {"connection": "close"} if self.end == "eof" else {"transfer-encoding": "chunked"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return f"HTTP/1.1 {self.status} Said\r\n{lines}\r\n".encode()

    def _parts(self) -> Iterator[Any]:
        parts = self.events() if callable(self.events) else self.events
        for number, part in enumerate(parts):
            if number and self.gap is not None:
                yield self.gap
            yield part


_ENDS: dict[str, Callable[[Wire], None]] = {
    "chunked": lambda wire: wire.send(b"0\r\n\r\n"),
    "eof": lambda wire: wire.hangup(notify=True),
    "cut": lambda wire: wire.hangup(),
    "rst": lambda wire: wire.reset(),
    "open": lambda _wire: None,
}


# --- no answer -------------------------------------------------------------


@dataclass(frozen=True)
class Reset:
    """RST."""

    def play(self, wire: Wire, _request: Request | None) -> None:
        wire.reset()


@dataclass(frozen=True)
class Hangup:
    """FIN, and nothing else: what the client still sends is let in."""

    def play(self, wire: Wire, _request: Request | None) -> None:
        wire.hangup()


def HangupBeforeReading() -> AtAccept:  # noqa: N802 -- one of the steps
    """FIN as soon as the connection is accepted."""
    return AtAccept(Hangup())


@dataclass(frozen=True)
class Silence:
    """Nothing, until the server's ``release()``, or until *until*: seconds, or an event that is set."""

    until: Until | None = None

    def play(self, wire: Wire, _request: Request | None) -> None:
        wire.pause(wire.released if self.until is None else self.until)


@dataclass(frozen=True)
class Sip:
    """Reads *size* bytes *every* so many seconds and never answers; only as ``AtAccept(Sip())``."""

    every: float = 1.0
    size: int = 1

    def play(self, wire: Wire, _request: Request | None) -> None:
        wire.sip(self.size, self.every)
