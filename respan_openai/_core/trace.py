"""A call's record in the making: plain fields while it runs, frozen only when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .judge import Meaning
from .values import Value


if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..calls import Attempt, CallRecord


class Tried(Value):
    """An attempt that is over; times are monotonic seconds. As ``Attempt`` otherwise."""

    def __init__(
        self,
        target: str,
        model: str | None,
        status: int | None,
        meaning: str | None,
        began: float,
        ended: float,
        wait: float = 0.0,
        received: int = 0,
        possible_duplicate: bool = False,
        error: str | None = None,
    ) -> None:
        self.target = target
        self.model = model
        self.status = status
        self.meaning = meaning
        self.began = began
        self.ended = ended
        self.wait = wait
        self.received = received
        self.possible_duplicate = possible_duplicate
        self.error = error


class Trace:
    """One call as it goes.

    Attributes:
        began: When the SDK handed the request over, in monotonic seconds; so are all times here.
        tried: Attempts, in order.
        usage: Tokens as the provider counted them.
        answer_model: The model that the answer names.
        flags: What makes the answer doubtful.
        continued: Whether another target wrote the end of a broken stream.
    """

    __slots__ = (
        "_complete",
        "_delivered",
        "_ended",
        "_error",
        "_headers",
        "_path",
        "_received",
        "answer_model",
        "began",
        "continued",
        "flags",
        "tried",
        "usage",
    )

    def __init__(self, path: str, began: float) -> None:
        self._path = path
        self.began = began
        self.tried: list[Tried] = []
        self.usage: Mapping[str, Any] | None = None
        self.answer_model: str | None = None
        self.flags: tuple[str, ...] = ()
        self.continued = False
        self._delivered: Tried | None = None
        self._headers: Mapping[str, str] = {}
        self._ended: float | None = None
        self._received: int | None = None
        self._complete = False
        self._error: str | None = None

    @property
    def done(self) -> bool:
        """Whether the call has ended."""
        return self._ended is not None

    def deliver(self, tried: Tried, headers: Mapping[str, str]) -> None:
        """The answer of *tried*, which has *headers*, is the one that the SDK gets."""
        self._delivered, self._headers = tried, headers

    def committed(self, tried: Tried) -> None:
        """What *tried* had brought went wrong after it was delivered."""
        at = self.tried.index(tried)
        self.tried[at] = tried.replace(meaning=Meaning.COMMITTED.value)

    @property
    def told(self) -> tuple[str | None, int, str | None]:
        """Who answered, in how many attempts, asked for which model if a header can carry it."""
        tried = self._delivered
        return (None, 0, None) if tried is None else (tried.target, len(self.tried), _plain(tried.model))

    def end(self, now: float, *, received: int | None = None, error: BaseException | None = None) -> bool:
        """Close the record; False if it was closed before. ``GeneratorExit`` means given up by the reader."""
        if self._ended is not None:
            return False
        self._ended, self._received, self._complete = now, received, error is None
        if error is not None and not isinstance(error, GeneratorExit):
            self._error = type(error).__name__
        return True

    def record(self, now: float) -> CallRecord:
        """The record as it stands at *now*."""
        from ..calls import CallRecord  # most programs never ask for one

        tried = self._delivered
        return CallRecord(
            path=self._path,
            target=None if tried is None else tried.target,
            model=None if tried is None else tried.model,
            status=None if tried is None else tried.status,
            attempts=tuple(_attempt(number, tried) for number, tried in enumerate(self.tried, 1)),
            ms=((now if self._ended is None else self._ended) - self.began) * 1000,
            received=self._received,
            done=self.done,
            complete=self._complete,
            cache_hit=_CACHE.get(self._headers.get("x-respan-cache", "")),
            answer_model=self.answer_model,
            flags=self.flags,
            usage=self.usage,
            continued=self.continued,
            log_id=_plain(self._headers.get("x-respan-log-id")),
            error=self._error,
        )


_CACHE = {"hit": True, "miss": False}


def _plain(text: str | None) -> str | None:
    """*text* if it can stand in a header and be shown: not with control characters, which act on terminals."""
    return text if text is not None and text.isascii() and text.isprintable() else None


def _attempt(number: int, tried: Tried) -> Attempt:
    from ..calls import Attempt  # as above

    return Attempt(
        number=number,
        target=tried.target,
        model=tried.model,
        status=tried.status,
        meaning=tried.meaning,
        ms=(tried.ended - tried.began) * 1000,
        wait=tried.wait,
        received=tried.received,
        possible_duplicate=tried.possible_duplicate,
        error=tried.error,
    )
