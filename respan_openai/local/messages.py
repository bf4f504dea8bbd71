"""What was said: the messages of a request, and the message that an answer or its events amount to.

For the log and the summary of a call, in the form of chat messages whatever the endpoint. What cannot be read
is left out, for it must not break the call that it describes.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from .._core.call import dump_object, parse_object
from .._core.plain import is_list, is_object
from .events import object_in


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Object = dict[str, Any]


__all__ = ["LAST_EVENTS", "Answer", "completion_message_of", "objects", "prompt_messages_of"]


def prompt_messages_of(path: str, fields: Object) -> list[Any]:
    """The messages that a request asks with.

    On Responses that is its ``input``, with ``instructions`` as a system message before it; on embeddings
    each text is one message. Empty if there is none: of tokens, or of a file.
    """
    if path == "/chat/completions":
        messages = fields.get("messages")
        return messages if is_list(messages) else []
    given, instructions = fields.get("input"), fields.get("instructions")
    system = [{"role": "system", "content": instructions}] if isinstance(instructions, str) else []
    items = given if is_list(given) else [given]
    return system + [message for item in items for message in _messages(item)]


def _messages(item: object) -> list[Object]:
    return [{"role": "user", "content": item}] if isinstance(item, str) else objects([item])


class Answer:
    """A whole answer, which is read when somebody first wants to know what it says.

    Args:
        path: Of the call, below ``/api``.
        body: Its bytes.

    Attributes:
        body: As given.
    """

    def __init__(self, path: str, body: bytes) -> None:
        self.body = body
        self._path = path

    @cached_property
    def says(self) -> Object:
        """The JSON object that it is; nothing if it is anything else, or what *path* answers with is left alone."""
        return parse_object(self.body) if self._path in _READ else {}

    @property
    def message(self) -> Object | None:
        """As :func:`completion_message_of`."""
        return completion_message_of(self._path, self.says)

    def saying(self, value: Object) -> Answer:
        """The same with *value* in it; itself if *value* is what it says, or cannot be written.

        NaN and half a surrogate pair cannot: Python reads them, JSON and UTF-8 do not have them.
        """
        if value is self.says:
            return self
        try:
            return Answer(self._path, dump_object(value))
        except ValueError:
            return self


#: Paths whose answers are looked into, and changed where that was asked for.
_READ: Final = frozenset({"/chat/completions", "/responses", "/embeddings"})


def completion_message_of(path: str, answer: Object | Iterable[bytes]) -> Object | None:
    """The message that *answer* holds: ``role``, ``content``, and any ``tool_calls`` or ``refusal``.

    *answer* is a whole answer's JSON, or the events of a streamed one, each whole; it may have broken off. Of
    several choices it is the first. ``None`` if the answer has no message, as that of an embedding. Every
    event is parsed: of a stream that is nothing but text, ``Watch.text`` is the cheaper source.
    """
    if is_object(answer):
        whole = _WHOLE.get(path)
        return None if whole is None else whole(answer)
    streamed = _STREAMED.get(path)
    found = (object_in(event) for event in answer)
    return None if streamed is None else streamed(event for event in found if event is not None)


def objects(things: object) -> list[Object]:
    """The objects among *things*, which comes from JSON; none if it is no array."""
    return [thing for thing in things if is_object(thing)] if is_list(things) else []


def _assistant(content: str | None, calls: list[Object], refusal: str | None) -> Object:
    message: Object = {"role": "assistant", "content": content}
    further = {"tool_calls": calls, "refusal": refusal}
    return message | {name: value for name, value in further.items() if value}


# -- chat completions


def _of_chat(answer: Object) -> Object | None:
    message = next((choice.get("message") for choice in objects(answer.get("choices"))), None)
    return message if is_object(message) else None


def _of_chunks(chunks: Iterable[Object]) -> Object | None:
    texts: dict[str, list[str]] = {"content": [], "refusal": []}
    calls: dict[str, Object] = {}
    began = False
    for delta in _deltas(chunks):
        began = True
        for name, pieces in texts.items():
            pieces += [text for text in [delta.get(name)] if isinstance(text, str)]
        for piece in objects(delta.get("tool_calls")):
            _add(calls.setdefault(repr(piece.pop("index", None)), {}), piece)
    content, refusal = ("".join(pieces) if pieces else None for pieces in texts.values())
    return _assistant(content, list(calls.values()), refusal) if began else None


def _deltas(chunks: Iterable[Object]) -> Iterator[Object]:
    for chunk in chunks:
        for choice in objects(chunk.get("choices")):
            delta = choice.get("delta")
            if choice.get("index", 0) == 0 and is_object(delta):
                yield delta


#: Where a tool call has what it calls, and what of that comes in pieces; the rest comes once, or each time
#: the same.
_CALLED: Final = ("function", "custom")
_IN_PIECES: Final = ("arguments", "input")


def _add(call: Object, piece: Object) -> None:
    for name, value in piece.items():
        known = call.get(name)
        if name in _CALLED and is_object(known) and is_object(value):
            _add(known, value)
        elif name in _IN_PIECES and isinstance(known, str) and isinstance(value, str):
            call[name] = known + value
        elif not known:
            call[name] = value


# -- Responses


def _of_response(answer: Object) -> Object | None:
    items = objects(answer.get("output"))
    parts = [part for item in items for part in objects(item.get("content")) if item.get("type") == "message"]
    texts, refusals = (_texts(parts, name) for name in ("text", "refusal"))
    calls = [_call(item) for item in items if item.get("type") == "function_call"]
    if not (texts or refusals or calls):
        return None
    return _assistant("".join(texts) if texts else None, calls, "".join(refusals))


def _texts(parts: list[Object], name: str) -> list[str]:
    return [text for part in parts if isinstance(text := part.get(name), str)]


def _call(item: Object) -> Object:
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return {"id": item.get("call_id"), "type": "function", "function": function}


#: The events whose response is the whole answer.
LAST_EVENTS: Final = ("response.completed", "response.incomplete", "response.failed")


def _of_events(events: Iterable[Object]) -> Object | None:
    texts: list[str] = []
    items: list[Any] = []
    for event in events:
        kind, response = event.get("type"), event.get("response")
        if kind in LAST_EVENTS and is_object(response) and response.get("output"):
            return _of_response(response)
        if kind == "response.output_text.delta":
            texts += _texts([event], "delta")
        if kind == "response.output_item.done":
            items.append(event.get("item"))
    calls = [item for item in objects(items) if item.get("type") == "function_call"]
    text = [{"type": "message", "content": [{"text": "".join(texts)}]}] if texts else []
    return _of_response({"output": text + calls})


_WHOLE: Final = {"/chat/completions": _of_chat, "/responses": _of_response}
_STREAMED: Final = {"/chat/completions": _of_chunks, "/responses": _of_events}
