"""A call's record in the making: plain fields while it runs, frozen only when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..calls import Attempt, CallRecord


if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping


class _Tried(NamedTuple):
    target: str
    model: str | None
    status: int | None
    began: float
    ended: float
    error: str | None


class Trace:
    """One call as it goes. Times are monotonic seconds."""

    __slots__ = (
        "_began",
        "_complete",
        "_ended",
        "_error",
        "_headers",
        "_model",
        "_path",
        "_received",
        "_target",
        "_tried",
    )

    def __init__(self, path: str, began: float) -> None:
        self._path = path
        self._began = began
        self._tried: list[_Tried] = []
        self._target: str | None = None
        self._model: str | None = None
        self._headers: Mapping[str, str] = {}
        self._ended: float | None = None
        self._received: int | None = None
        self._complete = False
        self._error: str | None = None

    @property
    def done(self) -> bool:
        """Whether the call has ended."""
        return self._ended is not None

    @property
    def _last(self) -> float:
        return self._tried[-1].ended if self._tried else self._began

    def answered(self, target: str, model: str | None, status: int, now: float) -> None:
        """A head came back; the attempt began when the one before it ended."""
        self._tried.append(_Tried(target, model, status, self._last, now, None))

    def failed(self, target: str, model: str | None, error: BaseException, now: float) -> None:
        """An exception came back instead."""
        self._tried.append(_Tried(target, model, None, self._last, now, type(error).__name__))

    def deliver(self, target: str, model: str | None, headers: Mapping[str, str]) -> None:
        """The last answer is the one that the SDK gets."""
        self._target, self._model, self._headers = target, model, headers

    @property
    def delivered(self) -> float:
        """When the last answer came."""
        return self._last

    def describe(self, headers: MutableMapping[str, str]) -> None:
        """Add to *headers* who answered, asked for which model, in how many attempts."""
        headers["x-respan-target"] = self._target or ""
        headers["x-respan-attempts"] = str(len(self._tried))
        if self._model is not None and self._model.isascii() and self._model.isprintable():
            headers["x-respan-model"] = self._model

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
        delivered = self._tried[-1].status if self._target is not None else None
        return CallRecord(
            path=self._path,
            target=self._target,
            model=self._model,
            status=delivered,
            attempts=tuple(_attempt(number, tried) for number, tried in enumerate(self._tried, 1)),
            ms=((now if self._ended is None else self._ended) - self._began) * 1000,
            received=self._received,
            done=self.done,
            complete=self._complete,
            cache_hit=_CACHE.get(self._headers.get("x-respan-cache", "")),
            log_id=self._headers.get("x-respan-log-id"),
            error=self._error,
        )


_CACHE = {"hit": True, "miss": False}


def _attempt(number: int, tried: _Tried) -> Attempt:
    return Attempt(
        number=number,
        target=tried.target,
        model=tried.model,
        status=tried.status,
        ms=(tried.ended - tried.began) * 1000,
        error=tried.error,
    )
