"""Carries out what a flow asks for: the same table of steps twice, once blocking and once awaited.

How long a step may take is bounded twice. The HTTP library's own timeouts end a silent peer; they hold for each
single read, so a peer that drips is ended between two chunks, when the time is over. Awaited steps also run
under a cancel scope, which ends anything in time. A blocking read that has begun cannot be cancelled: for the
body, the connection is shut down from a timer; for the head there is no way to do it. So a head that drips byte by
byte ends at the library's limit for its size (100 KiB, h11) or at the read timeout, whichever comes first; interim
answers (``100 Continue``) without end are not bounded; and each address of a name has the whole connect timeout.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, cast

import anyio

from ._bodies import awithin, bound, chunks_of, filled, is_packed, keeps_content, within
from ._clock import asleep, now, sleep
from ._core.steps import (
    DRAW,
    NOW,
    REPLAY,
    Ask,
    Came,
    Close,
    Next,
    Overdue,
    Race,
    Read,
    Send,
    Sleep,
    Tell,
    TooLarge,
)
from ._drive import adrive, drive
from ._families import Late, rebuilt, twin_of
from ._tapes import OVERDUE, SENT, UNTIL, Outbound, asent, decks, sent, skips_waits


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self


_log = logging.getLogger("respan_openai")

#: Bodies that are not in memory are read again up to this size, in bytes.
MAX_REPLAY = 32 << 20

#: A timeout is shortened, or a timer set, if it would pass the deadline by more than this factor.
_SLACK = 1.05

#: A timer that is later than this was held up by something else than its turn.
_LATE_SECONDS = 0.25

_NO_TIMEOUT: dict[str, float | None] = {"connect": None, "read": None, "write": None, "pool": None}


class _Performer:
    """One call's steps.

    Args:
        request: The SDK's own.
        send: Puts a request on the wire for a place: ``send(place, request)``; awaited if the performer is.
        mark: Among the extensions of what is sent.
    """

    def __init__(self, request: Any, send: Callable[[Any, Any], Any], mark: str) -> None:
        self._request = request
        self._send_on = send
        self._mark = mark
        # Timeouts of the SDK's request, then those of the newest that was sent, and the extensions of that one.
        self._own = self._timeout = _NO_TIMEOUT
        self._sent: dict[str, Any] = {}

    def __call__(self, step: Any) -> Any:
        if step is NOW:
            return now()
        if step is DRAW:
            return random.random()  # noqa: S311 -- spreads load, hides nothing
        if step is REPLAY:
            return self._replay()
        return getattr(self, _BY[type(step)])(step)

    def _time(self, step: Send) -> None:
        """Fit the timeouts of what is sent next to its deadline."""
        self._own = own = self._request.extensions.get("timeout", _NO_TIMEOUT)
        self._timeout = timeout = dict(own)
        if step.until is not None:
            left = step.until - now()
            if left <= 0:
                raise self._overdue(left)
            most = left * _SLACK
            for name, seconds in own.items():
                if seconds is None or seconds > most:
                    timeout[name] = left

    def _built(self, step: Send, own: Any) -> Any:
        request = rebuilt(own, step.outgoing, self._mark, self._timeout)
        self._sent = request.extensions
        return request

    def _outbound(self, step: Send) -> Outbound:
        """What a cassette sees, which has a word to say about when it is given up."""
        self._sent = {}
        # A body that can be read once is read to be compared, and must not be there to be sent twice for that.
        is_in_memory = step.call is not None and step.call.body is not None
        own = self._request if is_in_memory else twin_of(self._request)

        def build() -> Any:
            request = self._built(step, own)
            request.extensions[UNTIL] = step.until
            return request

        return Outbound(own, build, step.call, step.place.name)

    def _head_came(self, step: Send) -> None:
        # The library looks here again when it begins to read the body (httpcore, ``_receive_response_body``).
        read = self._own.get("read")
        self._timeout["read"] = (
            step.idle if read is None or (step.idle is not None and step.idle < read) else read
        )

    def _shorten(self, until: float | None) -> None:
        """Let a body that is about to be read be silent no longer than until *until*."""
        if until is None:
            return
        left = until - now()
        read = self._timeout["read"]
        if left <= 0:
            raise self._overdue(left)
        if read is None or left * _SLACK < read:
            self._timeout["read"] = left

    def _overdue(self, left: float) -> Overdue:  # noqa: ARG002 -- tells more where it is awaited
        """What to raise when the time is over, *left* seconds ago (negative)."""
        return Overdue()

    def _send(self, step: Send) -> Any:
        raise NotImplementedError

    def _ask(self, step: Ask) -> Any:
        raise NotImplementedError

    def _read(self, step: Read) -> Any:
        raise NotImplementedError

    def _next(self, step: Next) -> Any:
        raise NotImplementedError

    def _close(self, step: Close) -> Any:
        raise NotImplementedError

    def _sleep(self, step: Sleep) -> Any:
        raise NotImplementedError

    def _replay(self) -> Any:
        raise NotImplementedError

    def _race(self, step: Race) -> Any:
        raise NotImplementedError

    @staticmethod
    def _tell(step: Tell) -> None:
        _log.info(
            "%s: %s failed (%s), asking %s in %.2f s",
            step.action,
            step.target,
            step.reason,
            step.onward,
            step.wait,
            extra={f"respan_{name}": value for name, value in vars(step).items()},
        )

    def _twin(self) -> Self:
        return type(self)(self._request, self._send_on, self._mark)

    def _is_replayable(self) -> bool:
        length = self._request.headers.get("content-length", "")
        return length.isdigit() and int(length) <= MAX_REPLAY

    def _replayed(self, body: bytes) -> bytes | None:
        # A part that cannot be rewound comes back shorter than it was announced, and must not be sent so.
        if str(len(body)) == self._request.headers.get("content-length"):
            return body
        _log.info("The request's body cannot be sent again, so this call is not repeated, here or elsewhere.")
        return None


_BY: dict[type, str] = {
    Ask: "_ask",
    Send: "_send",
    Read: "_read",
    Next: "_next",
    Close: "_close",
    Sleep: "_sleep",
    Tell: "_tell",
    Race: "_race",
}


class Blocking(_Performer):
    """For ``Client`` and transports of its kind."""

    def _send(self, step: Send) -> Any:
        self._time(step)
        if decks:
            response = self._past_cassettes(step)
        else:
            response = self._send_on(step.place, self._built(step, self._request))
        self._head_came(step)
        return response

    def _ask(self, step: Ask) -> Came:
        response = self._send(step)
        if not 200 <= response.status_code < 300:
            return Came(response)
        try:
            body = self._whole(response, step.limit, step.until)
        except BaseException as exc:
            return Came(response, error=exc)
        return Came(response, body, now())

    def _read(self, step: Read) -> bytes:
        return self._whole(step.answer, step.limit, step.until)

    def _whole(self, response: Any, limit: int, until: float | None) -> bytes:
        # A hook was quicker, or a transport had it in memory.
        if response.is_stream_consumed or response.is_closed:
            return _small(response.read(), limit)
        self._shorten(until)
        alarm = _Alarm(response, until, self._timeout["read"], self._sent)
        keeps = keeps_content(response)
        packed = is_packed(response)
        if packed or not keeps:
            bound(response, limit, alarm)
        with alarm:
            if packed:
                body = _joined(response, limit)
            elif keeps:
                body = b"".join(within(response.stream, limit, alarm))
            else:
                return response.read()  # type: ignore[no-any-return]
            response.close()
        return filled(response, body, keeps=keeps)

    def _next(self, step: Next) -> bytes | None:
        chunks, until, read = chunks_of(step.answer, awaited=False), step.until, self._timeout["read"]
        chunk: bytes | None
        if now() <= _due(until, read):  # nearly always, and the first content is waited for
            chunk = next(chunks, None)
        else:
            alarm = _Alarm(step.answer, until, read, self._sent)
            alarm.passed()
            with alarm:
                chunk = next(chunks, None)
        if chunk is None:
            self._close(Close(step.answer))  # gives the connection back
        return chunk

    def _close(self, step: Close) -> None:
        cast("Any", step.answer).close()

    def _past_cassettes(self, step: Send) -> Any:
        response = sent(partial(self._send_on, step.place), self._outbound(step))
        if not isinstance(step, Ask):
            response.extensions[SENT] = self._sent
        return response

    def _sleep(self, step: Sleep) -> None:
        if not skips_waits():
            sleep(step.seconds)

    def _replay(self) -> bytes | None:
        body = b""
        if self._is_replayable():
            with suppress(Exception):
                body = self._request.read()
        return self._replayed(body)

    def _race(self, step: Race) -> tuple[Any, Any]:
        from ._race import race  # few calls are hedged

        return race(step, lambda steps: drive(steps, self._twin()))


class Awaiting(_Performer):
    """For ``AsyncClient`` and transports of its kind, on asyncio and trio."""

    def _send(self, step: Send) -> Any:
        return self._in_time(step.until, partial(self._sent_on, step))

    async def _sent_on(self, step: Send) -> Any:
        self._time(step)
        if decks:
            response = await self._past_cassettes(step)
        else:
            response = await self._send_on(step.place, self._built(step, self._request))
        self._head_came(step)
        return response

    async def _ask(self, step: Ask) -> Came:
        heads: list[Any] = []
        try:
            return await self._in_time(step.until, partial(self._asked, step, heads))  # type: ignore[no-any-return]
        except BaseException as exc:
            if not heads or isinstance(exc, GeneratorExit):
                raise
            return Came(heads[0], error=exc)

    async def _asked(self, step: Ask, heads: list[Any]) -> Came:
        response = await self._sent_on(step)
        heads.append(response)
        if not 200 <= response.status_code < 300:
            return Came(response)
        return Came(response, await self._whole(response, step.limit, step.until), now())

    def _read(self, step: Read) -> Any:
        return self._in_time(step.until, partial(self._whole, step.answer, step.limit, step.until))

    async def _whole(self, response: Any, limit: int, until: float | None) -> bytes:
        if response.is_stream_consumed or response.is_closed:
            return _small(await response.aread(), limit)
        self._shorten(until)
        keeps = keeps_content(response)
        packed = is_packed(response)
        if packed or not keeps:
            bound(response, limit)
        if packed:
            body = await _ajoined(response, limit)
        elif keeps:
            body = b"".join([chunk async for chunk in awithin(response.stream, limit)])
        else:
            return await response.aread()  # type: ignore[no-any-return]
        await response.aclose()
        return filled(response, body, keeps=keeps)

    async def _next(self, step: Next) -> bytes | None:
        chunks = chunks_of(step.answer, awaited=True)
        chunk: bytes | None = await self._in_time(step.until, partial(anext, chunks, None))
        if chunk is None:
            await self._close(Close(step.answer))  # gives the connection back
        return chunk

    async def _close(self, step: Close) -> None:
        await cast("Any", step.answer).aclose()

    async def _past_cassettes(self, step: Send) -> Any:
        response = await asent(partial(self._send_on, step.place), self._outbound(step))
        if not isinstance(step, Ask):
            response.extensions[SENT] = self._sent
        return response

    async def _sleep(self, step: Sleep) -> None:
        await asleep(0.0 if skips_waits() else step.seconds)

    async def _replay(self) -> bytes | None:
        body = b""
        if self._is_replayable():
            with suppress(Exception):
                body = await self._request.aread()
        return self._replayed(body)

    async def _race(self, step: Race) -> tuple[Any, Any]:
        from ._race import arace  # few calls are hedged

        return await arace(step, lambda steps: adrive(steps, self._twin()))

    async def _in_time(self, until: float | None, work: Callable[[], Any]) -> Any:
        if until is None:
            return await work()
        with anyio.move_on_after(until - now()) as scope:
            return await work()
        if scope.cancelled_caught:
            raise self._overdue(until - now())
        return None

    def _overdue(self, left: float) -> Overdue:
        # What is awaited is cancelled in time, unless the loop was blocked.
        return Late() if left < -_LATE_SECONDS else Overdue()


async def _ajoined(response: Any, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes():
        size = _counted(size, chunk, limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _joined(response: Any, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_bytes():
        size = _counted(size, chunk, limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _small(body: bytes, limit: int) -> bytes:
    _counted(0, body, limit)
    return body


def _counted(size: int, chunk: bytes, limit: int) -> int:
    # An answer of 300 KB can unpack to 300 MB, so what is counted is what it unpacks to.
    size += len(chunk)
    if size > limit:
        raise TooLarge
    return size


def _due(until: float | None, read: float | None) -> float:
    """Up to when a read may begin without an alarm: it ends by itself, after *read* seconds of silence, by *until*."""
    return inf if until is None else -inf if read is None else until - read / _SLACK


class _Alarm:
    """Ends a blocking read whose own timeout would outlast the deadline, by shutting the connection down.

    The timer is started only when a read is slow enough to need it: it is a thread.
    """

    __slots__ = ("_rang", "_read", "_sent", "_stream", "_timer", "_until", "due")

    def __init__(self, response: Any, until: float | None, read: float | None, sent: dict[str, Any]) -> None:
        # Not the response, whose body knows the alarm: each call would leave a circle to the garbage collector.
        self._stream = response.extensions.get("network_stream")
        self._until = until
        self._read = read
        self._sent = sent
        self._timer: threading.Timer | None = None
        self._rang = False
        self.due = _due(until, read)

    def passed(self) -> None:
        """Something came, or is about to be waited for.

        Raises:
            Overdue: if the time is over.
        """
        if self._until is None:
            return
        left = self._until - now()
        if left <= 0:
            self._sent[OVERDUE] = True
            raise Overdue
        if self._timer is None and (self._read is None or left * _SLACK < self._read):
            self._timer = threading.Timer(left, self._ring)
            self._timer.daemon = True
            self._timer.start()

    def _ring(self) -> None:
        self._rang = self._sent[OVERDUE] = True
        connection = None if self._stream is None else self._stream.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                # Past ssl.SSLSocket, whose own shutdown() takes the TLS state from under the blocked read.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._rang and (error is None or isinstance(error, Exception)):
            raise Overdue from error
