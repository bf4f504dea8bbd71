"""The body of an answer as a file keeps it: as values or text wherever the same bytes can be made of them.

    json        an object or a list, as one of ``_styles`` writes it: with ``style``, ``before``, ``after``
    text        other text without control characters
    sse         a stream of events, as ``_events`` keeps it; with what it ``says``
    sse_raw     one that cannot be kept so: its chunks, ``[ms, "text"]`` or ``[ms, "base64", "…"]``
    base64      bytes
    file        more than 4096 of them, in a file of their own beside the cassette: with its ``sha256``

Each form is tried in turn, and taken if the body can be made of it. ``at`` and ``chunks`` tell when the body
came, and in which pieces. ``_replay`` reads what is written here.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ._borders import borders_of, noted
from ._contents import media_type
from ._events import EVENTS, kept_events, played_events
from ._marks import number
from ._says import says
from ._shapes import ROOT, deepest
from ._styles import COMPACT, fitting


if TYPE_CHECKING:
    from collections.abc import Sequence

    from .recording import Chunk

    Fields = dict[str, Any]


__all__ = ["MOST_INLINE", "Beside", "kept"]


#: Bytes. More of them, if they are no text, go into a file of their own.
MOST_INLINE: Final = 4096

#: Levels of a body that is kept as values; a file, which may have 200, adds some of its own.
_DEEPEST: Final = 150


class Beside(NamedTuple):
    """Where the large bodies of one answer go.

    Attributes:
        files: By name; what is kept is added.
        folder: Of the names.
        number: Of the call, from 1.
    """

    files: dict[str, bytes]
    folder: str
    number: int


class _Whole(NamedTuple):
    data: bytes
    text: str | None
    type: str
    chunks: Sequence[Chunk]


def kept(chunks: Sequence[Chunk], content_type: str, beside: Beside) -> Fields:
    """What a file says about the body in *chunks*: nothing for one without any."""
    if not chunks:
        return {}
    data = b"".join(chunk.data for chunk in chunks)
    whole = _Whole(data, _text_of(data), media_type(content_type) or "", chunks)
    return _as_stream(whole) or _as_json(whole) or _as_text(whole) or _as_bytes(whole, beside)


def _text_of(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _as_stream(whole: _Whole) -> Fields:
    if whole.type != "text/event-stream":
        return {}
    events = None if whole.text is None else kept_events(whole.text, borders_of(whole.chunks))
    if events is None or deepest(events, _DEEPEST):
        return {"sse_raw": [[chunk.at, *_raw(chunk.data)] for chunk in whole.chunks]}
    said = says(played_events(EVENTS(events, ROOT), ROOT).values)
    return {"says": said, "sse": events} if said else {"sse": events}


def _raw(data: bytes) -> list[str]:
    text = _text_of(data)
    return ["base64", b64encode(data).decode()] if text is None else [text]


_SPACE: Final = " \t\r\n"


def _as_json(whole: _Whole) -> Fields:
    text = whole.text or ""
    inner = text.strip(_SPACE)
    value = _value(inner) if inner[:1] in {"{", "["} else None
    style = None if value is None else fitting(value, inner)
    if style is None:
        return {}
    before, after = text[: len(text) - len(text.lstrip(_SPACE))], text[len(text.rstrip(_SPACE)) :]
    unusual = {"style": "" if style == COMPACT else style.name, "before": before}
    fields = {**_nonempty(unusual), "json": value, **_nonempty({"after": after})}
    return {**fields, **noted(borders_of(whole.chunks))}


def _nonempty(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value}


def _value(text: str) -> Any:
    try:
        value = json.loads(text, parse_float=number)
    except (ValueError, RecursionError):
        return None
    return None if deepest(value, _DEEPEST) else value


_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _as_text(whole: _Whole) -> Fields:
    if whole.text is None or _CONTROL.search(whole.text):
        return {}
    return {"text": whole.text, **noted(borders_of(whole.chunks))}


_EXTENSIONS: Final = {
    "application/pdf": "pdf",
    "application/zip": "zip",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "video/mp4": "mp4",
}


def _as_bytes(whole: _Whole, beside: Beside) -> Fields:
    times = noted(borders_of(whole.chunks))
    if len(whole.data) <= MOST_INLINE:
        return {"base64": b64encode(whole.data).decode(), **times}
    name = f"{beside.folder}/{beside.number}.{_EXTENSIONS.get(whole.type, 'bin')}"
    beside.files[name] = whole.data
    return {"file": name, "sha256": sha256(whole.data).hexdigest(), **times}
