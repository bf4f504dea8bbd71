"""What providers and Respan answer, as JSON values and as the bytes of events.

Shapes after OpenAI's interface (chat completions, Responses) and Respan's documents: its own errors are
``{"detail": ...}``, those that it relays keep the provider's ``{"error": {...}}``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import doubles
from doubles import chat, reply, response


if TYPE_CHECKING:
    from collections.abc import Callable


#: The end of a streamed chat completion.
DONE = b"data: [DONE]\n\n"

#: What keeps a connection alive while a model thinks (OpenRouter's).
COMMENT = b": OPENROUTER PROCESSING\n\n"


def event(data: Any, name: str | None = None) -> bytes:
    """One server-sent event: *data* as JSON, or bytes as they are."""
    said = data if isinstance(data, bytes) else json.dumps(data).encode()
    return (b"" if name is None else b"event: %s\n" % name.encode()) + b"data: " + said + b"\n\n"


# --- chat completions ------------------------------------------------------


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> bytes:
    """A chunk of a streamed chat completion with any *delta*."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return event({**_CHUNK, "choices": [choice]})


def role(index: int = 0) -> bytes:
    """The chunk that says who speaks; no content yet."""
    return chunk({"role": "assistant", "content": ""}, index=index)


def content(text: str, index: int = 0) -> bytes:
    """A chunk with a piece of text."""
    return chunk({"content": text}, index=index)


def finish(reason: str = "stop", index: int = 0) -> bytes:
    """The chunk that ends a choice."""
    return chunk({}, reason, index)


def usage(total: int = 3) -> bytes:
    """The chunk with the usage, which has no choices."""
    return event({**_CHUNK, "choices": [], "usage": _usage(total)})


def chat_stream(*texts: str) -> list[bytes]:
    """All events of a chat completion, from the role to ``[DONE]``."""
    return [role(), *map(content, texts), finish(), DONE]


def _usage(total: int) -> dict[str, int]:
    return {"prompt_tokens": 1, "completion_tokens": total - 1, "total_tokens": total}


_CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "answered"}


# --- Responses -------------------------------------------------------------


def response_stream(*texts: str) -> list[bytes]:
    """All events of a response, from ``response.created`` to ``response.completed``."""
    return numbered(*response_start(), *map(response_delta, texts), *response_end("".join(texts)))


def response_start() -> list[dict[str, Any]]:
    """What comes before the first piece of text; no content yet."""
    empty = {**_unfinished("in_progress"), "output": []}
    return [
        {"type": "response.created", "response": empty},
        {"type": "response.in_progress", "response": empty},
        {"type": "response.output_item.added", "output_index": 0, "item": _item("", "in_progress")},
        {"type": "response.content_part.added", **_PLACE, "part": _part("")},
    ]


def response_delta(text: str) -> dict[str, Any]:
    """A piece of text."""
    return {"type": "response.output_text.delta", **_PLACE, "delta": text, "logprobs": []}


def response_end(text: str) -> list[dict[str, Any]]:
    """What comes after the last piece of text."""
    return [
        {"type": "response.output_text.done", **_PLACE, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **_PLACE, "part": _part(text)},
        {"type": "response.output_item.done", "output_index": 0, "item": _item(text, "completed")},
        {"type": "response.completed", "response": response(text)},
    ]


def response_failed(code: str = "server_error", message: str = "It failed.") -> dict[str, Any]:
    """The end of a response that failed."""
    failed = {**_unfinished("failed"), "error": {"code": code, "message": message}}
    return {"type": "response.failed", "response": failed}


def response_incomplete(reason: str = "max_output_tokens") -> dict[str, Any]:
    """The end of a response that was stopped."""
    return {
        "type": "response.incomplete",
        "response": {**_unfinished("incomplete"), "incomplete_details": {"reason": reason}},
    }


def response_error(code: str = "server_error", message: str = "It failed.") -> dict[str, Any]:
    """An error in place of the next event."""
    return {"type": "error", "code": code, "message": message, "param": None}


def numbered(*events: dict[str, Any]) -> list[bytes]:
    """*events* as bytes, with their names and their sequence numbers."""
    return [event({**said, "sequence_number": n}, said["type"]) for n, said in enumerate(events)]


def _unfinished(status: str) -> dict[str, Any]:
    return {**response(""), "status": status, "output": []}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


def _item(text: str, status: str) -> dict[str, Any]:
    said = [_part(text)] if text else []
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": said}


_PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


# --- embeddings and errors -------------------------------------------------


def embeddings(*vectors: list[float]) -> dict[str, Any]:
    """An answer with one embedding for each of *vectors*."""
    data = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)]
    return {
        "object": "list",
        "model": "answered",
        "data": data,
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }


def openai_error(
    message: str = "It failed.", kind: str = "server_error", code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """The body of a provider's error, and what stands in an event for it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def respan_error(detail: str = "It failed.", **more: Any) -> dict[str, Any]:
    """The body of the gateway's own error; a 429 also has ``retry_after``, in seconds."""
    return {"detail": detail, **more}


# --- what is right for a request -------------------------------------------


def ordinary(seen: doubles.Seen, text: str = "Hello!") -> bytes:
    """What a provider or the gateway answers when nothing is wrong, whole; *text* as the model's words."""
    streamed = seen.body.startswith(b"{") and bool(seen.json.get("stream"))
    known = _ORDINARY.get((seen.path.rpartition("/")[2], streamed))
    answer = doubles.ordinary(seen) if known is None else known(text)
    return answer if isinstance(answer, bytes) else b"".join(answer)


def _streamed(events: list[bytes]) -> list[bytes]:
    return [doubles.stream_head(), *doubles.chunked(*events)]


_ORDINARY: dict[tuple[str, bool], Callable[[str], bytes | list[bytes]]] = {
    ("completions", False): lambda text: reply(200, chat(text)),
    ("completions", True): lambda text: _streamed(chat_stream(text[:3], text[3:])),
    ("responses", False): lambda text: reply(200, response(text)),
    ("responses", True): lambda text: _streamed(response_stream(text[:3], text[3:])),
}
