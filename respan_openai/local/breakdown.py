"""What ``request_breakdown`` adds to an answer, a summary of its call, and a beta flag: its tokens by kind.

The shape is that of reference 003:3 ("request_breakdown"). A chat stream gets one more chunk. openai-python's
``chat.completions.stream()`` adds each chunk to a completion, and that chunk, as it is documented, would
spoil it (openai/lib/streaming/chat/_completions.py, ``_accumulate_chunk``):

* ``usage: {}`` replaces the usage by one without numbers, and ``null`` replaces it by none. So the chunk has
  ``null``, and where the caller asked for the usage it goes before the chunk that tells it, which OpenAI
  promises to be the last one. The usage is not repeated, because frameworks add up what each chunk tells.
* ``role: "assistant"`` is appended to the one that is there. So it is ``null``.
* ``finish_reason`` and ``system_fingerprint`` replace what is there. So they are those of the chunk before.

On Responses nothing is documented for streams. The summary goes into ``response`` of the event that ends the
answer: the SDK passes on fields that it does not know, its ``responses.stream()`` makes the final response of
that object, and other readers never meet an event of a type that they do not know. It lies where the whole
answer has it.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from .._core.plain import is_object
from .customers import NANO
from .events import ends_stream, object_in, with_object
from .messages import LAST_EVENTS, objects


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .usage import Tokens

    Object = dict[str, Any]


__all__ = [
    "BreakdownEvents",
    "breakdown",
    "final_chunk",
    "token_breakdown",
    "with_breakdown",
    "with_token_breakdown",
]


_NAME: Final = "request_breakdown"


def breakdown(
    *,
    tokens: Tokens | None,
    cost: int | None,
    prompt_messages: list[Any],
    completion_message: Object | None,
    model: str | None,
    cached: bool,
    at: float,
    status_code: int,
    stream: bool,
    latency: float,
    routing_time: float,
    full_request: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
) -> Object:
    """The summary of one call.

    ``scores``, ``category`` and ``sentiment_score`` come from evaluations, which this gateway does not run:
    they are ``{}``, ``null`` and 0, as where nothing was scored.

    Args:
        tokens: What it took; ``None``, or ``None`` inside, becomes ``null``.
        cost: In 1e-9 USD, shown in USD; ``None`` becomes ``null``.
        prompt_messages: What was asked.
        completion_message: What was answered; ``None`` for what has no message.
        model: The one that answered.
        cached: Whether the answer came from the gateway's cache.
        at: Seconds since 1970; shown as ISO 8601 in UTC, with microseconds.
        status_code: Of the answer.
        stream: Whether it was streamed.
        latency: Seconds from the request to the end of the answer.
        routing_time: Seconds of it until the first provider was asked.
        full_request: OpenAI's fields of the request, masked: answers are logged by those who get them.
        metadata: As the log has it.
    """
    return {
        "prompt_tokens": None if tokens is None else tokens.prompt,
        "completion_tokens": None if tokens is None else tokens.completion,
        "cost": None if cost is None else cost / NANO,
        "prompt_messages": prompt_messages,
        "completion_message": completion_message,
        "model": model,
        "cached": cached,
        "timestamp": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "status_code": status_code,
        "stream": stream,
        "latency": latency,
        "scores": {},
        "category": None,
        "metadata": dict(metadata or {}),
        "routing_time": routing_time,
        "full_request": dict(full_request),
        "sentiment_score": 0,
    }


def with_breakdown(answer: Object, summary: Object) -> Object:
    """A whole answer of any endpoint with its *summary*, at the top level."""
    return {**answer, _NAME: summary}


# -- streams


def final_chunk(summary: Object, before: Object | None = None) -> bytes:
    """The documented last chunk of a chat stream as one event; see the head of this module for where it goes.

    *before* is the chunk of the answer that came before it, whose ``created``, ``finish_reason`` and
    ``system_fingerprint`` it repeats.
    """
    before = before or {}
    choices = [choice for choice in objects(before.get("choices")) if choice.get("index") == 0]
    added = {
        "delta": {"content": None, "role": None},
        "finish_reason": choices[0].get("finish_reason") if choices else None,
        _NAME: summary,
        "index": 0,
        "message": {"content": None, "role": "assistant"},
    }
    chunk = {
        "id": _NAME,
        "choices": [added],
        "created": before.get("created", 0),
        "model": "extra_parameter",
        "object": "chat.completion.chunk",
        "system_fingerprint": before.get("system_fingerprint"),
        "usage": None,
    }
    return b"data: %s\n\n" % json.dumps(chunk, separators=(",", ":")).encode()


class BreakdownEvents:
    """Puts the summary into a stream, once, at its place; everything else passes byte for byte.

    Args:
        path: What was called. Only ``/chat/completions`` and ``/responses`` have a place for it.
        summary: Called when that place is reached: all events that tell of the answer have come by then.
    """

    __slots__ = ("_newest", "_passed", "_placed", "_summary")

    def __init__(self, path: str, summary: Callable[[], Object]) -> None:
        self._summary = summary
        self._newest: bytes | None = None
        self._passed = {"/chat/completions": self._chat, "/responses": self._responses}.get(path)
        self._placed = self._passed is None

    def passed(self, event: bytes) -> list[bytes]:
        """What the caller gets of *event*, which is whole, its blank line included."""
        return [event] if self._placed or self._passed is None else self._passed(event)

    def over(self) -> list[bytes]:
        """What the caller still gets when the provider has ended a whole answer, but not with ``[DONE]``."""
        return [] if self._placed or self._newest is None else [self._chunk()]

    def _chat(self, event: bytes) -> list[bytes]:
        if ends_stream(event) or _tells_usage(event):
            return [self._chunk(), event]
        if b'"choices"' in event:
            self._newest = event
        return [event]

    def _chunk(self) -> bytes:
        self._placed = True
        return final_chunk(self._summary(), object_in(self._newest or b""))

    def _responses(self, event: bytes) -> list[bytes]:
        whole = object_in(event) if _MAY_BE_LAST.search(event) else None
        response = whole and whole.get("response")
        if not whole or whole.get("type") not in LAST_EVENTS or not is_object(response):
            return [event]
        self._placed = True
        response[_NAME] = self._summary()
        return [with_object(event, whole)]


_MAY_BE_LAST: Final = re.compile("|".join(map(re.escape, LAST_EVENTS)).encode())


def _tells_usage(event: bytes) -> bool:
    """Whether *event* is the chunk that only tells the usage; one that has choices, too, is no end."""
    if b"[]" not in event or b'"usage"' not in event:
        return False
    chunk = object_in(event) or {}
    return chunk.get("choices") == [] and bool(chunk.get("usage"))


# -- tokens by kind


def token_breakdown(tokens: Tokens) -> dict[str, int]:
    """Tokens by kind, as far as the provider told: the beta ``token-breakdown-2026-03-26``.

    ``prompt_tokens`` and ``completion_tokens`` are sums; of the former are ``cached_tokens``,
    ``cache_creation_tokens`` and ``audio_prompt_tokens``, of the latter ``reasoning_tokens`` and
    ``audio_completion_tokens``. A kind that is not known is left out.
    """
    counts = zip(_KINDS, tokens, strict=True)
    return {kind: count for kind, count in counts if count is not None}


#: In the order of ``Tokens``.
_KINDS: Final = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_creation_tokens",
    "reasoning_tokens",
    "audio_prompt_tokens",
    "audio_completion_tokens",
)


def with_token_breakdown(usage: Object, tokens: Tokens | None) -> Object:
    """*usage* of an answer with ``token_breakdown``; *usage* itself if *tokens* are not known.

    No document says where the beta puts them. Here they stand in ``usage``, which every endpoint's answers
    have, streamed ones too, and of which the SDK passes on what it does not know.
    """
    return usage if tokens is None else {**usage, "token_breakdown": token_breakdown(tokens)}
