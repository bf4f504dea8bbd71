"""What other tools have recorded, as recordings of ours: cassettes of vcrpy and of cassetter.

Both are lists of interactions, each with a request and a response. When chunks came is not in them: a stream
becomes one chunk for each event, all at once.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from ._answers import events_in, is_stream
from ._yaml import MAX_BYTES, read_yaml
from .errors import CassetteError
from .questions import question_of
from .recording import Answer, Chunk, Question, Recorded
from .redact import kept_headers


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from .secrets import Secrets

    Headers = dict[str, list[str]]


__all__ = ["SOURCES", "imported"]


def imported(content: bytes, source: str, secrets: Secrets) -> list[Recorded]:
    """The recordings in a cassette's *content*, in the order in which they were made; not redacted yet.

    Args:
        content: YAML.
        source: One of ``SOURCES``; it becomes the recordings' origin.
        secrets: Learns the keys that the requests were sent with.

    Raises:
        CassetteError: if the content cannot be read as a cassette of *source*; the text says where and why.
    """
    reader = SOURCES[source]
    tape = _object(read_yaml(content, core=reader.core), "the file")
    interactions = _of_type(list, tape.get("interactions"), "interactions")
    if tape.get("ws_interactions") or tape.get("grpc_interactions"):
        raise CassetteError("holds more than HTTP calls. Take its other interactions out first.")
    ordered = sorted(interactions, key=_recorded_at) if all(map(_recorded_at, interactions)) else interactions
    return [_recorded(each, f"interactions[{at}]", source, secrets) for at, each in enumerate(ordered)]


def _recorded_at(interaction: object) -> str:
    at = cast("dict[str, Any]", interaction).get("recorded_at") if isinstance(interaction, dict) else None
    return at if isinstance(at, str) else ""


def _recorded(interaction: object, place: str, source: str, secrets: Secrets) -> Recorded:
    fields = _object(interaction, place)
    request, response = (_object(fields.get(name), f"{place}.{name}") for name in ("request", "response"))
    body_in = SOURCES[source].body_in
    headers = _headers(request, place + ".request")
    secrets.learn((name, value) for name, values in headers.items() for value in values)
    secrets.learn([("?", str(request.get("uri")).partition("?")[2])])
    question = _question(request, headers, body_in(request, place + ".request"), place)
    answer = _answer(response, body_in(response, place + ".response"), place + ".response")
    return Recorded(question, answer, source)


def _question(request: Mapping[str, Any], headers: Headers, body: bytes, place: str) -> Question:
    url = _url(_of_type(str, request.get("uri"), f"{place}.request.uri"), f"{place}.request.uri")
    method = _of_type(str, request.get("method"), f"{place}.request.method")

    def header(name: str) -> str | None:
        return headers.get(name, [None])[0]

    return question_of(method, url.path, url.query, header("content-type"), body, header=header)


def _url(text: str, place: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:
        raise CassetteError(f"{place}: no URL.") from None


def _answer(response: Mapping[str, Any], body: bytes, place: str) -> Answer:
    headers = _headers(response, place)
    kept = kept_headers((name, value) for name, values in headers.items() for value in values)
    answer = Answer(_status(response, place), kept)
    content = _unpacked(body, headers.get("content-encoding", [""])[0].lower(), place)
    pieces = events_in(content) if is_stream(answer) else [content]
    return answer._replace(chunks=tuple(Chunk(0, piece) for piece in pieces if piece))


def _status(response: Mapping[str, Any], place: str) -> int:
    status = response.get("status", response.get("status_code"))
    code = cast("dict[str, Any]", status).get("code") if isinstance(status, dict) else status
    found: int = _of_type(int, code, f"{place}.status")
    return found


def _headers(owner: Mapping[str, Any], place: str) -> Headers:
    found = _object(owner.get("headers") or {}, f"{place}.headers")
    return {name.lower(): _texts(values) for name, values in found.items() if _texts(values)}


def _texts(values: object) -> list[str]:
    many = cast("list[object]", values) if isinstance(values, list) else [values]
    return [value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in many]


# -- content encodings

_WINDOWS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def _unpacked(body: bytes, encoding: str, place: str) -> bytes:
    if encoding in {"", "identity"} or not body:
        return body
    if encoding not in _WINDOWS:
        raise CassetteError(
            f"{place}: compressed with a method that cannot be read here. Record it uncompressed."
        )
    try:
        content = zlib.decompressobj(_WINDOWS[encoding]).decompress(body, MAX_BYTES + 1)
    except zlib.error:
        return body  # its recorder has unpacked it, and left the header
    if len(content) > MAX_BYTES:
        raise CassetteError(f"{place}: larger than {MAX_BYTES >> 20} MiB when unpacked, so it is not read.")
    return content


# -- bodies, as each tool has them


def _of_vcr(owner: Mapping[str, Any], place: str) -> bytes:
    """A string or bytes, those of a response in a field ``string``; in old cassettes of httpx ``content``.

    Serializers of some projects keep JSON as values instead, under ``parsed_body``.
    """
    if "parsed_body" in owner:
        return _dumped(owner["parsed_body"], place)
    body = owner.get("body", owner.get("content"))
    if isinstance(body, dict):
        body = cast("dict[str, Any]", body).get("string")
    return _as_bytes(body, place)


def _of_cassetter(owner: Mapping[str, Any], place: str) -> bytes:
    """``type`` says what ``content`` is: JSON values, text, or bytes in hexadecimal."""
    body = _object(owner.get("body") or {}, f"{place}.body")
    content = body.get("content")
    match body.get("type", "none"):
        case "none":
            return b""
        case "json":
            return _dumped(content, place)
        case "text":
            return _as_bytes(content, place)
        case "binary":
            return _from_hex(content, place)
        case _:
            raise CassetteError(f"{place}.body.type: expected json, text, binary or none.")


def _from_hex(content: object, place: str) -> bytes:
    try:
        return bytes.fromhex(_of_type(str, content, f"{place}.body.content"))
    except ValueError:
        raise CassetteError(f"{place}.body.content: no bytes in hexadecimal.") from None


def _as_bytes(body: object, place: str) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    text: str = _of_type(str, body, f"{place}.body")
    return text.encode("utf-8", "surrogatepass")


def _dumped(value: object, place: str) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError):
        raise CassetteError(f"{place}.body: holds a value that JSON does not have.") from None


class _Reader(NamedTuple):
    core: bool
    body_in: Callable[[Mapping[str, Any], str], bytes]


#: How each tool's cassettes are read. PyYAML wrote the one; the other comes from a writer of YAML 1.2.
SOURCES: Final[Mapping[str, _Reader]] = {
    "vcr": _Reader(core=False, body_in=_of_vcr),
    "cassetter": _Reader(core=True, body_in=_of_cassetter),
}


# -- checks


def _object(value: object, place: str) -> dict[str, Any]:
    found = cast("dict[object, Any]", _of_type(dict, value, place))
    return {str(name): field for name, field in found.items()}


_WORDS: Final = {dict: "an object", list: "a list", str: "a text", int: "a number"}


def _of_type(kind: type[Any], value: object, place: str) -> Any:
    if type(value) is not kind:
        raise CassetteError(f"{place}: expected {_WORDS[kind]}.")
    return value
