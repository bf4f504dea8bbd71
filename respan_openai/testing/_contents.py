"""A request's body, taken apart by its content type.

A body that is not what its type says is kept as bytes, so that two different ones never become equal: JSON
that does not parse, or names a field twice, or holds a number that no float can; a form that is cut short.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ._plain import DEEPEST, is_deep
from .recording import Json, Multipart, Part, Raw


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .recording import Body


__all__ = ["body_of"]


#: Bytes up to which text that is neither JSON nor a form is kept as such.
LONGEST_TEXT: Final = 1024


def body_of(content_type: str | None, body: bytes) -> Body:
    """*body* as it is recorded; ``None`` for an empty one. Raises nothing, whatever the bytes are.

    The content types of JSON are ``application/json`` and ``application/*+json``; a body without a type is
    JSON if it parses.
    """
    if not body:
        return None
    kind = media_type(content_type)
    read = _READERS.get(kind, _json if kind and kind.endswith("+json") else _nothing)
    return read(content_type or "", body) or _raw(kind, body)


@lru_cache(maxsize=256)
def media_type(content_type: str | None) -> str | None:
    """``Text/Plain; charset=utf-8`` as ``text/plain``; ``None`` if there is no type."""
    return (content_type or "").partition(";")[0].strip().lower() or None


def _nothing(_type: str, _body: bytes) -> Body:
    return None


def _raw(kind: str | None, body: bytes) -> Raw:
    return Raw(kind, _text(body) if len(body) <= LONGEST_TEXT else None, _sha256(body), len(body))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _form(content_type: str, body: bytes) -> Raw:
    """Pairs say the same in any order; they are not decoded, so that none is misread."""
    return _raw(media_type(content_type), b"&".join(sorted(body.split(b"&"))))


# -- JSON


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError
    return made


def _finite(digits: str) -> float:
    value = float(digits)
    if value in {float("inf"), float("-inf")}:
        raise ValueError
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity: Python reads them, JSON does not have them


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
)


def _json(_type: str, body: bytes) -> Json | None:
    try:
        value = _DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        return None
    # Fewer brackets than levels cannot be deep, and counting them costs nothing.
    may_be_deep = body.count(b"[") + body.count(b"{") > DEEPEST
    return None if may_be_deep and is_deep(value) else Json(value)


# -- multipart/form-data (RFC 7578)


_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]+)"|([^\s;]+))', re.IGNORECASE)
_NAME: Final = re.compile(r'\bname="([^"\r\n]*)"')
_FILENAME: Final = re.compile(r"""\bfilename(?:="([^"\r\n]*)"|\*=([^;\s]+))""")


def _multipart(content_type: str, body: bytes) -> Multipart | None:
    found = _BOUNDARY.search(content_type)
    if found is None:
        return None
    first, *pieces = (b"\r\n" + body).split(b"\r\n--" + (found[1] or found[2]).encode("utf-8", "replace"))
    if first or not pieces or pieces[-1] not in {b"--", b"--\r\n"}:
        return None
    parts = tuple(_parts(pieces[:-1]))
    return None if None in parts else Multipart(tuple(part for part in parts if part is not None))


def _parts(pieces: list[bytes]) -> Iterator[Part | None]:
    for piece in pieces:
        head, found, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        fields = _fields(head.decode("utf-8", "surrogateescape"))
        named = _NAME.search(fields.get("content-disposition", ""))
        yield _part(named[1], fields, content) if found and named else None


def _fields(head: str) -> dict[str, str]:
    lines = (line.partition(":") for line in head.split("\r\n"))
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _part(name: str, fields: Mapping[str, str], content: bytes) -> Part:
    found = _FILENAME.search(fields["content-disposition"])
    filename = None if found is None else found[1] if found[2] is None else found[2]
    text = _text(content) if filename is None else None
    return Part(name, filename, fields.get("content-type"), text, _sha256(content), len(content))


_READERS: Final[Mapping[str | None, Callable[[str, bytes], Body]]] = {
    None: _json,
    "application/json": _json,
    "multipart/form-data": _multipart,
    "application/x-www-form-urlencoded": _form,
}
