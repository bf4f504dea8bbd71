"""What happened to a call: the record, and the hook that receives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


__all__ = ["Attempt", "CallHook", "CallRecord"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One request on the wire.

    Attributes:
        number: Starts at 1.
        target: Name of the target that was asked, e.g. ``respan``.
        model: Asked of that target; ``None`` if the request names none.
        status: HTTP status, or ``None`` if no answer came.
        ms: Milliseconds from sending to the answer's head, or to the failure.
        error: Class name of what was raised instead of an answer.
    """

    number: int
    target: str
    model: str | None
    status: int | None
    ms: float
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CallRecord:
    """One call, from the SDK's request to the end of its answer.

    Holds no key, no prompt and no answer text.

    Attributes:
        path: As the gateway documents it, e.g. ``/chat/completions``.
        target: Name of the target whose answer was delivered; ``None`` if there was none.
        model: Asked of that target.
        status: HTTP status delivered; ``None`` if none was.
        attempts: In order; empty if nothing was sent.
        ms: Milliseconds from the SDK's request to the last byte, or up to now while ``done`` is false.
        received: Bytes of the answer's body as they came over the wire; ``None`` while unknown.
        done: False while the body is still being read.
        complete: Whether the body was read to its end; a stream given up early is not.
        cache_hit: What the gateway said in ``x-respan-cache``; ``None`` if it said nothing.
        log_id: The gateway's ``X-Respan-Log-Id``: the row in its log, for tracers to link to.
        error: Class name of what ended the call, if an exception did.
    """

    path: str
    target: str | None
    model: str | None
    status: int | None
    attempts: tuple[Attempt, ...]
    ms: float
    received: int | None
    done: bool
    complete: bool
    cache_hit: bool | None
    log_id: str | None
    error: str | None


class CallHook(Protocol):
    """Called once per call, when its answer has been read to the end, was given up, or failed."""

    def __call__(self, record: CallRecord, /) -> object:
        """Whatever it returns is ignored; what it raises is logged under ``respan_openai``, not passed on."""
