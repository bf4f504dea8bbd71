"""Values in one line, for people: whatever they hold, nothing that a terminal would obey."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any, Final

from .._core.plain import is_list, is_object


__all__ = ["LONGEST_VALUE", "clipped", "counted", "label", "printable", "shown"]


#: Characters of one value.
LONGEST_VALUE: Final = 200

#: Characters from which a text without spaces, in the alphabet of base64, is taken for it.
_LEAST: Final = 200

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_DATA_URL: Final = re.compile(r"data:[\w.+-]{1,60}/([\w.+-]{1,60})(?:;[\w.+=-]{1,60}){0,4};base64,")

_KINDS: Final = {
    b"\x89PNG": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"RIFF": "riff",
    b"%PDF": "pdf",
    b"ID3": "mp3",
    b"OggS": "ogg",
    b"PK\x03\x04": "zip",
}


def printable(text: str) -> str:
    """*text* with escapes for what does not print: line ends, controls, marks that change direction."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def clipped(text: str, most: int = LONGEST_VALUE) -> str:
    """At most *most* characters of *text*, from both ends."""
    half = (most - 3) // 2
    return text if len(text) <= most else f"{text[:half]}[…]{text[-half:]}"


def counted(number: int, what: str) -> str:
    """``1 call``, ``2 calls``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def shown(value: Any, most: int = LONGEST_VALUE) -> str:
    """*value* as JSON of at most *most* characters; base64 in it by its label."""
    return clipped(printable(json.dumps(_labelled(value), ensure_ascii=False, default=str)), most)


def _labelled(value: Any) -> Any:
    if is_object(value):
        return {name: _labelled(inner) for name, inner in value.items()}
    if is_list(value):
        return [_labelled(item) for item in value]
    return label(value) or value if isinstance(value, str) else value


def label(text: str) -> str | None:
    """``<png 34 kB sha 9f2c41ab…>`` for base64 and data URLs: kind, size, SHA-256; else ``None``."""
    url = _DATA_URL.match(text)
    data = text[url.end() :] if url else text
    if (len(data) < _LEAST and not url) or not _BASE64.fullmatch(data):
        return None
    content = _decoded(data)
    digest = hashlib.sha256(content).hexdigest()
    return f"<{url[1] if url else _kind(content)} {_size(len(content))} sha {digest[:8]}…>"


def _decoded(data: str) -> bytes:
    standard = data.rstrip("=").replace("-", "+").replace("_", "/")
    whole = standard[: len(standard) - (len(standard) % 4 == 1)]
    return base64.b64decode(whole + "=" * (-len(whole) % 4))


def _kind(content: bytes) -> str:
    return next((kind for magic, kind in _KINDS.items() if content.startswith(magic)), "base64")


def _size(count: int) -> str:
    """In units of 1000 bytes, rounded."""
    for unit in ("B", "kB"):
        if count < 1000:
            return f"{count} {unit}"
        count = round(count / 1000)
    return f"{count} MB"
