"""What happened to a call: the record, and the hook that receives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["Attempt", "CallHook", "CallRecord"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One request on the wire.

    Attributes:
        number: Starts at 1.
        target: Name of the target that was asked, e.g. ``respan``.
        model: Asked of that target; ``None`` if the request names none.
        status: HTTP status, or that of an error inside a 200; ``None`` if no answer came.
        meaning: ``None`` for an answer, else what its failure was taken for: ``not_sent``, ``trust``, ``local``,
            ``ambiguous``, ``overload``, ``fault``, ``policy``, ``request`` or ``committed``.
        ms: Milliseconds from sending until it was clear what came of it.
        wait: Seconds waited before it was sent.
        received: Bytes of the body that had come by then, as they came over the wire or, where they were
            compressed, unpacked.
        possible_duplicate: Whether a provider may have worked on an earlier attempt of this call, and bill both.
        error: Class name of what was raised instead of an answer.
    """

    number: int
    target: str
    model: str | None
    status: int | None
    meaning: str | None
    ms: float
    wait: float
    received: int
    possible_duplicate: bool
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
        complete: Whether the answer came to its end; a stream given up early, or cut off, did not.
        cache_hit: What the gateway said in ``x-respan-cache``; ``None`` if it said nothing.
        answer_model: The model that the answer names, often with the date of a version.
        flags: What makes a delivered answer doubtful: ``length``, ``content_filter``, ``error``, ``unfinished``,
            ``no content``, ``broken arguments``; empty for most.
        usage: Tokens as the provider counted them, in its own words; ``None`` if it did not say.
        continued: Whether another target wrote the end of a stream that broke off (``Streams(continuation=True)``).
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
    answer_model: str | None
    flags: tuple[str, ...]
    usage: Mapping[str, Any] | None
    continued: bool
    log_id: str | None
    error: str | None


class CallHook(Protocol):
    """Called once per call, when its answer has been read to the end, was given up, or failed.

    Not for calls that the hook makes itself.
    """

    def __call__(self, record: CallRecord, /) -> object:
        """Whatever it returns is ignored; what it raises is logged under ``respan_openai``, not passed on."""
