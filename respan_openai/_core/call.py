"""What is asked: one call as the SDK built it, in plain values.

Bodies are looked into with byte searches where that is enough, because parsing 200 KB of messages
costs more than everything else this package does.
"""

from __future__ import annotations

import json
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from .plain import as_object, parsed
from .values import Value


#: Paths that the gateway documents (contract.md, section 1), below whatever base the client uses.
SERVED = (
    b"/chat/completions",
    b"/responses",
    b"/embeddings",
    b"/audio/transcriptions",
    b"/audio/speech",
)


_AS_TEXT = {path: path.decode() for path in SERVED}


Raw = list[tuple[bytes, bytes]]


class Prepared(list[tuple[bytes, bytes]]):
    """Headers that many requests have in common; ``made`` is for whoever makes something reusable of them."""

    __slots__ = ("made",)

    made: Any

    def __repr__(self) -> str:
        return f"<{len(self)} headers>"


class Outgoing(Value):
    """A request as one place wants it.

    Attributes:
        url: Absolute.
        headers: Names and values as bytes, in order; without those that tell where the body ends.
        body: ``None`` sends the original's body, whatever it is.
        model: Asked for in it, where known; for the record only.
        extra: Further headers, of this request alone; *headers* have none of their names.
    """

    def __init__(
        self,
        url: str,
        headers: Raw,
        body: bytes | None = None,
        model: str | None = None,
        extra: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.url = url
        self.headers = headers
        self.body = body
        self.model = model
        self.extra = extra

    def __repr__(self) -> str:
        # Frames of a traceback are collected with their locals; headers and body hold keys and prompts.
        return f"Outgoing({self.url!r}, model={self.model!r})"


class Mode(Enum):
    """How the body of an answer is read."""

    #: At once, by us: it is checked before anybody sees it.
    WHOLE = "whole"
    #: As a stream of events: held back up to the first content, then watched.
    EVENTS = "events"
    #: By the caller, as it comes: speech, and whatever is read by ``with_streaming_response``.
    PASS = "pass"  # noqa: S105 -- no password


# By names of their own, for one that is looked up on its class runs code of ``enum`` each time (CPython 3.11).
WHOLE: Final = Mode.WHOLE
EVENTS: Final = Mode.EVENTS
PASS: Final = Mode.PASS


class Call(Value):
    """One call of the SDK.

    Attributes:
        method: Upper case.
        url: Absolute, as the SDK built it; anything whose ``str`` is it.
        raw_path: Path and query of it.
        path: Below the base, as the gateway documents it: ``/chat/completions``.
        headers: As the SDK built them.
        body: ``None`` if it is not in memory: multipart, or a generator that can be read once.
        params: What holds for the call without standing in it; ``None`` if nothing does.
        follow_redirects: Whether the user's HTTP client follows them at all.
        mode: How the answer's body is read.
        timeout: Seconds for the whole call, to its answer or to the first content of a stream; ``None`` for no limit.
        first_content: Seconds to the first content of a stream that the call asks for; ``None`` if it does not.
    """

    def __init__(
        self,
        method: str,
        url: object,
        raw_path: bytes,
        path: str,
        headers: Raw,
        body: bytes | None,
        params: Any = None,
        follow_redirects: bool = True,
        mode: Mode = PASS,
        timeout: float | None = None,
        first_content: float | None = None,
    ) -> None:
        self.method = method
        self.url = url
        self.raw_path = raw_path
        self.path = path
        self.headers = headers
        self.body = body
        self.params = params
        self.follow_redirects = follow_redirects
        self.mode = mode
        self.timeout = timeout
        self.first_content = first_content

    def __repr__(self) -> str:
        # As for Outgoing: the headers hold the provider's key, the body the prompt.
        return f"Call({self.method!r}, {self.path!r})"

    def header(self, name: bytes) -> str | None:
        """The first value of the header *name* (lower case), or ``None``."""
        for key, value in self.headers:
            if key.lower() == name:
                return value.decode("latin-1")
        return None

    @property
    def query(self) -> bytes:
        """Without the question mark; empty if there is none."""
        return self.raw_path.partition(b"?")[2]


@lru_cache(maxsize=64)
def served_path(method: str, raw_path: bytes) -> str | None:
    """The gateway's path for a request, or ``None`` if the gateway does not document it.

    Only POST: ``GET /responses/{id}`` reads the provider's own state.
    """
    path, _, _ = raw_path.partition(b"?")
    if method == "POST" and path.endswith(SERVED):
        for known in SERVED:
            if path.endswith(known):
                return _AS_TEXT[known]
    return None


#: Bytes from which a body is long, and underscores of one that are looked at singly.
_LONG, _FEW = 4096, 16


def holds(body: bytes, needle: bytes) -> bool:
    """Whether *needle* is in *body*, wherever; looked for from the end, where ``extra_body`` lies.

    In a long text there are few underscores or none, and one is found many times faster than all of a name.
    """
    sign = needle.find(b"_") if len(body) >= _LONG else -1
    if sign < 0:
        return body.rfind(needle) >= 0
    at = len(body)
    for _ in range(_FEW):
        at = body.rfind(b"_", 0, at)
        if at < sign:
            return False
        if body.startswith(needle, at - sign):
            return True
    return body.rfind(needle, 0, at + len(needle)) >= 0


class Found(Value):
    """A string field at the top level of a JSON body, and where its value (quotes included) lies."""

    def __init__(self, value: str, start: int, end: int) -> None:
        self.value = value
        self.start = start
        self.end = end


def find_string(body: bytes, key: str) -> Found | None:
    """The string field *key* at the top level of the JSON object *body*, found without parsing all of it.

    The SDK puts ``model`` first (openai 3) or behind the messages (openai 1 and 2). So it is looked for at the
    start and then from the end: what begins at the last occurrence, read as an object of its own, is valid
    JSON exactly if the occurrence lies at the top level. ``None`` means "not found so": a nested, escaped or
    missing field is left to the parser.
    """
    needle = b'"%s":' % key.encode()
    at = 1 if body.startswith(needle, 1) else body.rfind(needle)
    if at < 0 or body[at - 1 : at] == b"\\":  # the end of a longer key
        return None
    start = at + len(needle)
    while body[start : start + 1] == b" ":  # httpx before 0.28 put one after the colon
        start += 1
    end = body.find(b'"', start + 1) + 1
    if (
        body[start : start + 1] != b'"'
        or b"\\" in body[start:end]
        or not (at == 1 or _is_top_level(body[at:]))
    ):
        return None
    try:
        return Found(body[start + 1 : end - 1].decode(), start, end)
    except UnicodeDecodeError:
        return None


def _is_top_level(tail: bytes) -> bool:
    try:
        json.loads(b"{" + tail)
    except (ValueError, RecursionError):
        return False
    return True


def string_field(body: bytes | None, key: str) -> str | None:
    """The string field *key* at the top level of *body*; ``None`` if there is no such field."""
    if body is None:
        return None
    found = find_string(body, key)
    if found is not None:
        return found.value
    value = parse_object(body).get(key) if b'"%s"' % key.encode() in body else None
    return value if isinstance(value, str) else None


def asks_for_stream(body: bytes) -> bool:
    """Whether *body* has ``"stream": true`` somewhere; inside a string it would be escaped."""
    return body.rfind(b'"stream":true') >= 0 or body.rfind(b'"stream": true') >= 0


def with_string(body: bytes, key: str, value: str) -> bytes:
    """*body* with the string field *key* at its top level set to *value*; nothing else is rewritten if it was there."""
    found = find_string(body, key)
    if found is not None:
        return body[: found.start] + json.dumps(value, ensure_ascii=False).encode() + body[found.end :]
    return dump_object({**parse_object(body), key: value})


def parse_object(body: bytes | None) -> dict[str, Any]:
    """The JSON object in *body*, or an empty one if it holds anything else."""
    try:
        return as_object(parsed(body or b"{}"))
    except (ValueError, RecursionError):
        return {}


def dump_object(value: object) -> bytes:
    """As the SDK dumps bodies (openai/_utils/_json.py): compact, UTF-8, no NaN."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
