"""A call of a test as its author looks at it: the request and the answer in plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ._answers import content_of, events_in, is_stream, type_of
from .recording import Answer, Json, Multipart


if TYPE_CHECKING:
    from .recording import Body, Question

    Object = dict[str, Any]


__all__ = ["CallView", "request_dict", "view"]


class CallView(dict[str, Any]):
    """A call: a dict whose items can be had as attributes too. It is a copy, so changing it changes nothing
    else.

    Attributes:
        method: Of the request, upper case.
        path: As the gateway documents it: ``/chat/completions``.
        json: The request's JSON body, without the gateway's parameters; ``None`` if it has none.
        messages: What was asked, as chat messages, whatever the endpoint; empty if there is none.
        respan: The gateway's parameters, whichever carrier brought them.
        headers: Of the answer, those that recordings keep.
        status: ``None`` if no answer began.
        failure: Class name of the exception in its place, or behind its last chunk; ``None`` if there was
            none.
        text: What the model said, also if it came in pieces; of a transcription its text. ``None`` if it said
            nothing.
        tool_calls: Calls that the model asked for, each whole.
        usage: Tokens as the answer counts them; ``None`` if it does not.
        chunks: The answer's body as it came.
    """

    method: str
    path: str
    json: Any
    messages: list[Any]
    respan: Object
    headers: dict[str, str]
    status: int | None
    failure: str | None
    text: str | None
    tool_calls: list[Object]
    usage: Object | None
    chunks: list[bytes]

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"A call has no {name!r}; it has: {', '.join(self)}.") from None


def view(question: Question, answer: Answer | None) -> CallView:
    """The call of *question* and *answer*; ``None`` is an answer that has not come yet."""
    body = question.body.value if isinstance(question.body, Json) else None
    return CallView(
        method=question.method,
        path=question.path,
        json=_plain(body),
        messages=_messages(question.path, _plain(body)),
        respan=_plain(question.respan),
        **_answered(question.path, Answer(None) if answer is None else answer),
    )


def request_dict(question: Question) -> Object:
    """What was asked, for a snapshot: what is compared, in values of JSON, and only what is there.

    The body stands under ``json``, or ``multipart`` (a list of its parts), or ``raw``; of a file there are
    the size and the SHA-256.
    """
    found: Object = {"method": question.method, "path": question.path}
    found |= {"query": [list(pair) for pair in question.query]} if question.query else {}
    found |= {"headers": dict(question.headers)} if question.headers else {}
    found |= _body(question.body)
    return found | ({"respan": _plain(question.respan)} if question.respan else {})


def _body(body: Body) -> Object:
    match body:
        case None:
            return {}
        case Json():
            return {"json": _plain(body.value)}
        case Multipart():
            return {"multipart": [_said(part) for part in body.parts]}
        case _:
            return {"raw": _said(body)}


def _said(part: Any) -> Object:
    """The fields of a part or a raw body that it has; the text of what has one stands for its digest."""
    digest = {"sha256", "size"} if part.text is not None else set[str]()
    fields = cast("Object", part._asdict())
    return {name: value for name, value in fields.items() if value is not None and name not in digest}


def _plain(value: Any) -> Any:
    """A copy in dicts and lists."""
    if isinstance(value, Mapping):
        return {name: _plain(field) for name, field in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value


# -- what was said


def _messages(path: str, fields: object) -> list[Any]:
    from ..local.messages import prompt_messages_of

    return prompt_messages_of(path, cast("Object", fields)) if isinstance(fields, dict) else []


def _answered(path: str, answer: Answer) -> Object:
    parts = _parts(answer)
    message = _message(path, answer, parts)
    return {
        "headers": dict(answer.headers),
        "status": answer.status,
        "failure": None if answer.failure is None else answer.failure.type,
        "text": _text(answer, parts, message),
        "tool_calls": message.get("tool_calls") or [],
        "usage": next(filter(None, map(_usage, reversed(parts))), None),
        "chunks": [chunk.data for chunk in answer.chunks],
    }


def _parts(answer: Answer) -> list[Object]:
    """The objects that the body consists of: those of its events, or itself."""
    from ..local.events import object_in

    if is_stream(answer):
        return [found for found in map(object_in, events_in(content_of(answer))) if found is not None]
    try:
        whole = json.loads(content_of(answer))
    except (ValueError, RecursionError):
        return []
    return [whole] if isinstance(whole, dict) else []


def _message(path: str, answer: Answer, parts: list[Object]) -> Object:
    from ..local.messages import completion_message_of

    if is_stream(answer):
        return completion_message_of(path, events_in(content_of(answer))) or {}
    return completion_message_of(path, parts[0]) or {} if parts else {}


def _text(answer: Answer, parts: list[Object], message: Object) -> str | None:
    if type_of(answer).startswith("text/") and not is_stream(answer):
        return content_of(answer).decode("utf-8", "replace")
    spoken = message.get("content") if message else next((part.get("text") for part in parts), None)
    return spoken if isinstance(spoken, str) else None


def _usage(part: Object) -> Object | None:
    for owner in (part, part.get("response")):
        usage = cast("Object", owner).get("usage") if isinstance(owner, dict) else None
        if isinstance(usage, dict):
            return cast("Object", usage)
    return None
