"""Which answers are whole, so that they may be served again.

Nothing that broke off, failed, was filtered or cut short is kept: it would be served for as long as the cache keeps
it, to calls that might have got a good answer. What ``_core`` knows of bad answers decides, here as for a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .._core.call import parse_object
from .._core.judge import flags_of
from .._core.plain import as_object, as_objects
from .._core.sse import Decoder, Watch


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Object = Mapping[str, Any]


__all__ = ["MAX_BYTES", "is_complete"]


#: Bytes of the largest answer that is kept.
MAX_BYTES: Final = 4 * 1024 * 1024

_CHAT, _RESPONSES = "/chat/completions", "/responses"


def is_complete(path: str, status: int, chunks: Sequence[bytes], *, streamed: bool) -> bool:
    """Whether an answer may be served again: a 200, whole, without error or flag, of at most ``MAX_BYTES``.

    Every choice of a chat has ended with ``stop``, ``tool_calls`` or ``function_call``, has content, and arguments
    that are JSON; a stream has come to ``[DONE]``. A response is ``completed``. A path that is neither keeps none.

    Args:
        path: Below ``/api``.
        status: The answer's.
        chunks: Its body, content-decoded, cut anywhere; before this gateway adds anything to it, such as a summary.
        streamed: Whether the body is a stream of events.
    """
    if status != 200 or path not in _HAS_ENDED or sum(map(len, chunks)) > MAX_BYTES:
        return False
    body = b"".join(chunks)
    return _is_complete_stream(path, body) if streamed else _is_complete_object(path, parse_object(body))


def _is_complete_object(path: str, found: Object) -> bool:
    return not found.get("error") and _HAS_ENDED[path](found) and not flags_of(path, found)


def _has_choices(found: Object) -> bool:
    return bool(as_objects(found.get("choices")))


def _has_completed(found: Object) -> bool:
    return found.get("status") == "completed"


_HAS_ENDED: Mapping[str, Callable[[Object], bool]] = {_CHAT: _has_choices, _RESPONSES: _has_completed}


def _is_complete_stream(path: str, body: bytes) -> bool:
    watch = Watch(path, max_event=MAX_BYTES)
    watch.feed(body)
    watch.close()
    if watch.error or watch.garbage or watch.flagged or not watch.complete:
        return False
    return path == _RESPONSES or (watch.done and _has_whole_messages(watch, body))


def _has_whole_messages(watch: Watch, body: bytes) -> bool:
    # The watch knows the ends, and the text of an answer that is nothing else; what else there is must be put together.
    return watch.text != "" if watch.plain else not flags_of(_CHAT, _assembled(body))


def _assembled(body: bytes) -> Object:
    """The chat completion in the stream *body*, as far as its flags depend on it; its good ends are known."""
    messages: dict[object, _Message] = {}
    # What follows [DONE] nobody has looked at, so it may be anything.
    for _, data in Decoder(MAX_BYTES, "replace").feed(body):
        for choice in as_objects(parse_object(data.encode()).get("choices")):
            messages.setdefault(str(choice.get("index")), _Message()).add(as_object(choice.get("delta")))
    return {"choices": [message.choice() for message in messages.values()]}


class _Message:
    """A message that comes in deltas."""

    def __init__(self) -> None:
        self._content = False
        self._arguments: dict[str, str] = {}

    def add(self, delta: Object) -> None:
        self._content |= any(delta.get(name) for name in ("content", "refusal", "function_call", "audio"))
        for call in as_objects(delta.get("tool_calls")):
            index, text = str(call.get("index")), as_object(call.get("function")).get("arguments")
            self._arguments[index] = self._arguments.get(index, "") + (text if isinstance(text, str) else "")

    def choice(self) -> Object:
        calls = [{"function": {"arguments": text}} for text in self._arguments.values()]
        return {"finish_reason": "stop", "message": {"content": self._content, "tool_calls": calls}}
