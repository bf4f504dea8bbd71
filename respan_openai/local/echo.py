"""A model that repeats: offline, without a key, the same answer for the same request.

It has no clock and no randomness. Ids are cut from the SHA-256 of the request, and ``created`` and
``created_at`` are always ``CREATED``. A "token" is a word here: usage counts what white space separates.
Answers say ``echo/<asked model>`` as their model, so nobody mistakes them for that model's.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._core.call import Outgoing, parse_object
from .._core.plain import as_object, is_list, is_object
from .contract import JSON, Reply, invalid
from .minimal import minimal


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .._core.call import Raw

    Object = dict[str, Any]


__all__ = ["CREATED", "MAX_CHOICES", "Echo", "mocked"]


#: Seconds since 1970 in every answer; not a plausible date, since ``Echo`` has no clock.
CREATED = 0

#: OpenAI's own limit for ``n``.
MAX_CHOICES = 128

#: Numbers in an embedding where the request does not say, and the most it may ask for.
DIMENSIONS = 8
MOST_DIMENSIONS = 4096

_SSE = "text/event-stream"
_WORD = re.compile(r"\s*\S+\s*|\s+")


class Echo:
    """The provider ``echo``: answers ``echo: <the last user message>``, streamed or not.

    Serves chat completions and Responses, streamed or not, embeddings (numbers that only depend on the text),
    speech (a WAV file without a sound) and transcriptions (the word ``echo``). ``n`` choices, and structured
    output with a minimal instance of the schema: required fields only, empty strings, ``null`` where that is
    allowed. ``pattern`` and other rare keywords are not looked at. Tools and sampling parameters are ignored.
    """

    def __init__(self, name: str = "echo") -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Echo({self.name!r})"

    def outgoing(
        self,
        path: str,
        headers: Raw,  # noqa: ARG002 -- as every provider
        body: bytes,
        model: str = "",  # noqa: ARG002 -- as every provider
    ) -> Outgoing:
        """Same as a ``Provider``'s, but for a host that does not exist, and without headers."""
        return Outgoing(f"http://echo.invalid{path}", [], body)

    def answer(self, outgoing: Outgoing) -> Reply:
        """What a provider would send back for *outgoing*.

        Raises:
            ContractError: 400 if ``n`` or a schema cannot be used.
        """
        asked = parse_object(outgoing.body)
        mark = sha256(outgoing.url.encode() + b"\n" + (outgoing.body or b"")).hexdigest()[:24]
        return _REPLIES[urlsplit(outgoing.url).path](asked, mark)


def mocked(path: str, fields: Object, text: str, mark: str) -> Reply:
    """The answer *text* to a call of *path*, as the model that was asked for would have given it.

    Raises:
        ContractError: 400 on paths whose answers are not text.
    """
    model = fields.get("model")
    if path == "/responses":
        return _reply_responses(fields, mark, text=text, model=model)
    if path != "/chat/completions":
        raise invalid("mock_response is a text, and this endpoint does not answer with one.", "mock_response")
    return _reply_chat(fields, mark, text=text, model=model)


# -- chat completions


def _reply_chat(asked: Object, mark: str, *, text: str | None = None, model: str | None = None) -> Reply:
    choices = asked.get("n") or 1
    if type(choices) is not int or not 1 <= choices <= MAX_CHOICES:
        raise invalid(f"n must be an integer between 1 and {MAX_CHOICES}.", "n", "invalid_value")
    text = _chat_text(asked) if text is None else text
    usage = _usage(_words_in(asked.get("messages")), choices * _words(text))
    head = {"id": f"chatcmpl-{mark}", "created": CREATED, "model": model or f"echo/{asked.get('model')}"}
    if asked.get("stream") is True:
        return Reply(200, _SSE, tuple(_chat_events(asked, head, text, choices, usage)))
    message = {"role": "assistant", "content": text, "refusal": None}
    done = {"finish_reason": "stop", "logprobs": None, "message": message}
    body = {
        **head,
        "object": "chat.completion",
        "choices": [{"index": index, **done} for index in range(choices)],
        "usage": usage,
    }
    return Reply(200, JSON, (_dump(body),))


def _chat_text(asked: Object) -> str:
    text = _last_user_text(asked.get("messages"))
    wanted = as_object(asked.get("response_format"))
    return _formatted(text, wanted.get("type"), as_object(wanted.get("json_schema")).get("schema"))


def _chat_events(asked: Object, head: Object, text: str, choices: int, usage: Object) -> Iterator[bytes]:
    counted = as_object(asked.get("stream_options")).get("include_usage") is True
    # With include_usage every chunk has the field, and it is null in all but the last one.
    head = {**head, "object": "chat.completion.chunk", **({"usage": None} if counted else {})}
    for index in range(choices):
        for delta, reason in _chat_deltas(text):
            choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}
            yield _data({**head, "choices": [choice]})
    if counted:
        yield _data({**head, "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _chat_deltas(text: str) -> Iterator[tuple[Object, str | None]]:
    yield {"role": "assistant", "content": ""}, None
    for piece in _WORD.findall(text):
        yield {"content": piece}, None
    yield {}, "stop"


def _usage(asked: int, answered: int) -> Object:
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


# -- Responses


def _reply_responses(asked: Object, mark: str, *, text: str | None = None, model: str | None = None) -> Reply:
    text = _responses_text(asked) if text is None else text
    body = _response(asked, mark, model or f"echo/{asked.get('model')}")
    item = {"id": f"msg_{mark}", "type": "message", "role": "assistant"}
    done = {**item, "status": "completed", "content": [_part(text)]}
    full = {**body, "status": "completed", "output": [done], "usage": _responses_usage(asked, text)}
    if asked.get("stream") is True:
        return Reply(200, _SSE, tuple(_numbered(_responses_events(body, item, text, full))))
    return Reply(200, JSON, (_dump(full),))


def _responses_text(asked: Object) -> str:
    text = _last_user_text(_items(asked))
    wanted = as_object(as_object(asked.get("text")).get("format"))
    return _formatted(text, wanted.get("type"), wanted.get("schema"))


def _items(asked: Object) -> Any:
    given = asked.get("input")
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _response(asked: Object, mark: str, model: str) -> Object:
    kept = ("instructions", "max_output_tokens", "previous_response_id", "temperature", "top_p")
    return {
        "id": f"resp_{mark}",
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "metadata": asked.get("metadata") or {},
        "parallel_tool_calls": True,
        "text": asked.get("text") or {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
        **{name: asked.get(name) for name in kept},
    }


def _responses_usage(asked: Object, text: str) -> Object:
    given = _words_in(_items(asked)) + _words_in(asked.get("instructions"))
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": _words(text),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": given + _words(text),
    }


def _part(text: str) -> Object:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _responses_events(body: Object, item: Object, text: str, full: Object) -> Iterator[Object]:
    at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begun: Object = {**item, "status": "in_progress", "content": []}
    yield {"type": "response.created", "response": body}
    yield {"type": "response.in_progress", "response": body}
    yield {"type": "response.output_item.added", "output_index": 0, "item": begun}
    yield {"type": "response.content_part.added", **at, "part": _part("")}
    for piece in _WORD.findall(text):
        yield {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **at, "text": text, "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": _part(text)}
    yield {"type": "response.output_item.done", "output_index": 0, "item": full["output"][0]}
    yield {"type": "response.completed", "response": full}


def _numbered(events: Iterable[Object]) -> Iterator[bytes]:
    for number, event in enumerate(events):
        yield b"event: %s\n" % event["type"].encode() + _data({**event, "sequence_number": number})


# -- embeddings and sound


def _reply_embeddings(asked: Object, _mark: str) -> Reply:
    size, texts = _dimensions(asked), _texts_in(asked.get("input"))
    written = _packed if asked.get("encoding_format") == "base64" else list[float]
    data = [
        {"object": "embedding", "index": index, "embedding": written(_vector(json.dumps(text), size))}
        for index, text in enumerate(texts)
    ]
    count = sum(_words(text) if isinstance(text, str) else len(text) for text in texts)
    usage = {"prompt_tokens": count, "total_tokens": count}
    body = {"object": "list", "data": data, "model": f"echo/{asked.get('model')}", "usage": usage}
    return Reply(200, JSON, (_dump(body),))


def _dimensions(asked: Object) -> int:
    size = asked.get("dimensions") or DIMENSIONS
    if type(size) is not int or not 1 <= size <= MOST_DIMENSIONS:
        message = f"dimensions must be an integer between 1 and {MOST_DIMENSIONS}."
        raise invalid(message, "dimensions", "invalid_value")
    return size


def _texts_in(given: Any) -> list[Any]:
    texts = given if is_list(given) and not _is_tokens(given) else [given]
    if not all(isinstance(text, str) or _is_tokens(text) for text in texts):
        raise invalid(
            "input must be a text, a list of tokens, or a list of either.", "input", "invalid_value"
        )
    return texts


def _is_tokens(value: object) -> bool:
    return is_list(value) and all(type(part) is int for part in value)


def _vector(text: str, size: int) -> list[float]:
    """Of length 1, and the same for the same text; texts that are alike are no nearer than others."""
    numbers = [int.from_bytes(sha256(f"{at}:{text}".encode()).digest()[:4]) / 2**31 - 1 for at in range(size)]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return [number / length for number in numbers]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _reply_speech(_asked: Object, _mark: str) -> Reply:
    return Reply(200, "audio/wav", (_SILENCE,))


def _reply_transcription(_asked: Object, _mark: str) -> Reply:
    return Reply(200, JSON, (_dump({"text": "echo"}),))


def _silence() -> bytes:
    """A WAV file of no length: 16 bits, one channel, 8 kHz."""
    form = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 0)
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


_SILENCE = _silence()

_REPLIES: Mapping[str, Callable[[Object, str], Reply]] = {
    "/chat/completions": _reply_chat,
    "/responses": _reply_responses,
    "/embeddings": _reply_embeddings,
    "/audio/speech": _reply_speech,
    "/audio/transcriptions": _reply_transcription,
}


# -- text


def _last_user_text(messages: Any) -> str:
    asked = [message for message in _objects(messages) if message.get("role") == "user"]
    return _text_of(asked[-1].get("content")) if asked else ""


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = [part.get("text") for part in _objects(content)]
    return " ".join(text for text in texts if isinstance(text, str))


def _words_in(content: Any) -> int:
    if isinstance(content, str):
        return _words(content)
    return sum(_words(_text_of(message.get("content"))) for message in _objects(content))


def _words(text: str) -> int:
    return len(text.split())


def _formatted(text: str, kind: Any, schema: Any) -> str:
    if kind == "json_object":
        return json.dumps({"echo": text})
    if kind == "json_schema":
        return minimal(as_object(schema))
    return f"echo: {text}"


def _objects(value: Any) -> list[Object]:
    return [item for item in value if is_object(item)] if is_list(value) else []


def _dump(value: Object) -> bytes:
    # ASCII, so that nothing a user says can be a line end to an SSE reader, or half a surrogate pair.
    return json.dumps(value, separators=(",", ":")).encode()


def _data(value: Object) -> bytes:
    return b"data: %s\n\n" % _dump(value)
