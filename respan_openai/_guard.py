"""Stands by while a delivered stream is read, and tells how it ended.

Nothing is repeated once content was shown. What remains is the truth: a stream that breaks off, falls silent or
ends before its end is an error, with what arrived so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._clock import now
from ._core.judge import Fault, judge_error
from ._core.steps import EventTooLarge, Overdue, TooLarge
from ._families import fault_of
from ._tapes import OVERDUE
from ._warn import warn
from .exceptions import LimitExceeded, StreamIncomplete, StreamInterrupted


if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core.plan import Target
    from ._core.sse import Watch
    from .policy import Limits, Streams

    Ended = Callable[["Guard", BaseException | None], None]


#: What ends an event (HTML standard, 9.2.6).
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r")


class Unreadable(Exception):  # noqa: N818 -- a note from the guard to itself; it reaches no user
    """An event came that the SDK could not have read."""


class Incomplete(Exception):  # noqa: N818 -- as above
    """The bytes ended, the answer did not."""


def can_resume(error: BaseException) -> bool:
    """Whether *error* is a stream's breaking off, not its reader's doing nor a limit of ours."""
    return isinstance(error, Incomplete | Unreadable) or fault_of(error) not in {None, Fault.LIMIT}


def _no_header(_name: str) -> None:
    return None


class Guard:
    """Watches one delivered body.

    Args:
        watch: Has seen what was held back; ``None`` for a body that is no stream of events.
        received: Bytes of what was held back.
        request: The SDK's own.
        streams: What to do about an answer that is not complete.
        limits: For the text of an error.
        idle: Most seconds between content events (Responses: any events); ``None`` for no limit.
        sent: The extensions of the request, if a cassette listens: told when the time is over.
        whole_events: Let only whole events pass, so that others can follow after a break.
        ended: Told once, with the error if there is one; ``GeneratorExit`` stands for an answer
            that is not whole: the reader went away, or it ended with an error event, or too soon and was let pass.
    """

    __slots__ = (
        "_at",
        "_by_events",
        "_ended",
        "_idle",
        "_limits",
        "_request",
        "_seen",
        "_sent",
        "_streams",
        "_tail",
        "received",
        "watch",
    )

    def __init__(
        self,
        watch: Watch | None,
        received: int,
        *,
        request: Any,
        streams: Streams,
        limits: Limits,
        idle: float | None,
        ended: Ended,
        whole_events: bool = False,
        sent: dict[str, Any] | None = None,
    ) -> None:
        self.watch = watch
        self.received = received
        self._request = request
        self._streams = streams
        self._limits = limits
        self._idle = idle
        self._sent = sent
        self._ended: Ended | None = ended
        self._tail: bytes | None = b"" if whole_events else None
        self._seen = 0 if watch is None else watch.progress
        self._by_events = watch is not None and watch.counts_events
        self._at = 0.0 if idle is None else now()

    def passed(self, chunk: bytes) -> bytes:
        """See *chunk* go by; returns what the reader may have of it. What is raised here keeps it from him."""
        self.received += len(chunk)
        watch = self.watch
        if watch is None:
            return chunk
        if not watch.skim(chunk):  # nearly always; and a call less for each chunk
            watch.look_into(chunk)
        if watch.garbage is not None:
            self._check_readable(watch)
        # As watch.progress, without a call for each chunk.
        progress = watch.events if self._by_events else watch.content
        if progress != self._seen:
            self._seen = progress
            self._at = now()
        elif self._idle is not None and not watch.complete and now() - self._at > self._idle:
            if self._sent is not None:
                self._sent[OVERDUE] = True
            raise Overdue
        return chunk if self._tail is None else self._up_to_last_event(chunk)

    @staticmethod
    def _check_readable(watch: Watch) -> None:
        if watch.garbage is not None and watch.error is None:
            raise Unreadable(watch.garbage)

    def _up_to_last_event(self, chunk: bytes) -> bytes:
        chunk = (self._tail or b"") + chunk
        end = max(chunk.rfind(blank) + len(blank) if blank in chunk else 0 for blank in _BLANK_LINES)
        self._tail = chunk[end:]
        return chunk[:end]

    def over(self) -> None:
        """The last byte has passed."""
        watch = self.watch
        if watch is not None:
            watch.close()
            self._check_readable(watch)
            if not watch.complete and watch.error is None and not self._let_pass():
                raise Incomplete
        self._end(None if watch is None or self._is_whole(watch) else GeneratorExit())

    @staticmethod
    def _is_whole(watch: Watch) -> bool:
        return watch.error is None and (watch.done or watch.complete)

    def is_fault_of(self, target: Target) -> bool:
        """Whether an error event behind content was *target*'s own fault."""
        if self.watch is None or self.watch.error is None:
            return False
        verdict = judge_error(self.watch.error, _no_header, gateway=target.guards)
        return verdict.rule.breaker and verdict.own

    def passes_on(self) -> None:
        """Another guard stands by from here on."""
        self._ended = None

    def _let_pass(self) -> bool:
        if self._streams.incomplete == "warn":
            warn(
                "A stream ended without a finish_reason or the event that ends it: the answer may be cut off."
            )
        return self._streams.incomplete != "raise"

    def left(self) -> None:
        """The reader wants no more: he has seen the end, or gave up before."""
        watch = self.watch
        self._end(None if watch is not None and self._is_whole(watch) else GeneratorExit())

    def broken(self, error: BaseException) -> BaseException | None:
        """*error* happened on the way; what to raise for it."""
        raised = self._error_for(error)
        self._end(raised)
        return raised

    def _error_for(self, error: BaseException) -> BaseException:
        so_far: dict[str, Any] = {"request": self._request, "received": self.received}
        if self.watch is not None:
            so_far |= {"text": self.watch.text, "events": self.watch.events}
        if isinstance(error, Incomplete):
            return StreamIncomplete(
                "The stream ended without a finish_reason or the event that ends it, so the answer may be cut off. "
                'exc.text has what arrived; Streams(incomplete="warn") lets such answers pass.',
                **so_far,
            )
        if isinstance(error, EventTooLarge):
            return LimitExceeded(
                f"An event of the stream is larger than {self._limits.event} bytes, the limit of Limits(event=...).",
                request=self._request,
            )
        reason = self._reason(error)
        if reason is None:
            return error
        return StreamInterrupted(
            f"The stream broke off after {self.received} bytes: {reason}. It was not repeated, because content had "
            "been delivered; exc.text has what arrived.",
            **so_far,
        )

    def _reason(self, error: BaseException) -> str | None:
        if isinstance(error, Unreadable):
            return f"an event cannot be read ({error})"
        fault = fault_of(error)
        if fault is Fault.READ_TIMEOUT:
            return "no content came in time (Timeouts(idle=...), or the client's read timeout)"
        return None if fault is None else f"the connection failed ({type(error).__name__})"

    def _end(self, error: BaseException | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self, error)


class RefusalGuard(Guard):
    """Watches the rest of an error's body. The status says what matters, so a body can only end sooner."""

    __slots__ = ()

    def passed(self, chunk: bytes) -> bytes:
        """See *chunk* go by; ``Limits(body=...)`` holds for errors too."""
        self.received += len(chunk)
        if self.received > self._limits.body:
            raise TooLarge
        return chunk

    def broken(self, error: BaseException) -> BaseException | None:
        """*error* happened on the way; what to raise for it, or ``None`` if what came is all there is."""
        if fault_of(error) is None:
            return super().broken(error)
        self._end(GeneratorExit())
        return None
