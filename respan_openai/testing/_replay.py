"""The body of an answer, made of what a file says about it; the other way round than ``bodies``."""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from ._borders import TIMING, borders_in, cut
from ._events import EVENTS, played_events
from ._says import says
from ._shapes import REPAIR, Misshapen, a_list, a_string, a_whole_number, anything, list_of
from ._styles import COMPACT, a_style, utf8, written
from .recording import Chunk


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._shapes import Check, Place

    Fields = dict[str, Any]
    ReadFile = Callable[[str], bytes]
    Chunks = tuple[Chunk, ...]


__all__ = ["FIELDS", "replayed"]


def _bytes(value: Any, place: Place) -> bytes:
    try:
        return b64decode(a_string(value, place), validate=True)
    except ValueError:
        raise Misshapen(place, f"is no base64. {REPAIR}") from None


def _raw_chunk(value: Any, place: Place) -> Chunk:
    row: list[Any] = a_list(value, place)
    if len(row) not in {2, 3} or row[1:-1] not in ([], ["base64"]):
        raise Misshapen(place, f'must be milliseconds, "base64" if it is that, and a string. {REPAIR}')
    at, text = a_whole_number(row[0], (place, 0)), a_string(row[-1], (place, len(row) - 1))
    return Chunk(at, utf8(text, place) if len(row) == 2 else _bytes(text, place))


def _file_name(value: Any, place: Place) -> str:
    folder, *rest = a_string(value, place).split("/")
    is_beside = folder.endswith(".d") and len(rest) == 1 and not rest[0].startswith(".")
    if not is_beside or not value.isprintable() or "\\" in value or ":" in value:
        raise Misshapen(place, f'must be in the folder beside the cassette, as "name.d/1.mp3". {REPAIR}')
    return str(value)


#: The checks of the keys that tell a body.
FIELDS: Final[Mapping[str, Check]] = {
    "says": anything,
    "sse": EVENTS,
    "sse_raw": list_of(_raw_chunk),
    "style": a_style,
    "before": a_string,
    "json": anything,
    "after": a_string,
    "text": a_string,
    "base64": _bytes,
    "file": _file_name,
    "sha256": a_string,
    **TIMING,
}


def replayed(fields: Fields, place: Place, read_file: ReadFile) -> Chunks:
    """The chunks that *fields* of a file, as :data:`FIELDS` returns them, stand for; other keys are ignored.

    Raises:
        Misshapen: if they tell several bodies; if what they tell does not fit together: borders outside the
            body, a text that the events do not say, a file that is not the one which was recorded.
    """
    found = fields.keys() & _FORMS.keys()
    if len(found) > 1:
        forms = " and ".join(form for form in _FORMS if form in found)
        raise Misshapen(place, f"has {forms}, of which a body has one. {REPAIR}")
    form = next(iter(found), None)
    if not _STRANGERS[form].isdisjoint(fields):
        key = next(key for key in fields if key in _STRANGERS[form])
        raise Misshapen((place, key), f"belongs to another kind of body. {REPAIR}")
    return _FORMS[form](fields, place, read_file) if form else ()


def _stream(fields: Fields, place: Place, _: ReadFile) -> Chunks:
    played = played_events(fields["sse"], (place, "sse"))
    if "says" in fields and fields["says"] != says(played.values):
        raise Misshapen(
            (place, "says"),
            "is not what the events say: it is there for readers, and they are what is played. "
            "Change the events as well, or take it out.",
        )
    return played.chunks


def _raw_stream(fields: Fields, _: Place, __: ReadFile) -> Chunks:
    chunks: Chunks = fields["sse_raw"]
    return chunks


def _json(fields: Fields, place: Place, _: ReadFile) -> Chunks:
    text = written(fields["json"], fields.get("style", COMPACT))
    return _cut(utf8(f"{fields.get('before', '')}{text}{fields.get('after', '')}", place), fields, place)


def _text(fields: Fields, place: Place, _: ReadFile) -> Chunks:
    return _cut(utf8(fields["text"], (place, "text")), fields, place)


def _base64(fields: Fields, place: Place, _: ReadFile) -> Chunks:
    return _cut(fields["base64"], fields, place)


def _file(fields: Fields, place: Place, read_file: ReadFile) -> Chunks:
    here = (place, "file")
    try:
        data = read_file(fields["file"])
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        raise Misshapen(here, f"cannot be read ({why}). Restore it, or record the test again.") from exc
    if sha256(data).hexdigest() != fields.get("sha256"):
        raise Misshapen(
            here, "is another file than was recorded: its sha256 is not the one that is told. Restore it."
        )
    return _cut(data, fields, place)


def _cut(body: bytes, fields: Fields, place: Place) -> Chunks:
    return cut(body, borders_in(fields, place), (place, "chunks"))


_FORMS: Final[Mapping[str, Callable[[Fields, Place, ReadFile], Chunks]]] = {
    "sse": _stream,
    "sse_raw": _raw_stream,
    "json": _json,
    "text": _text,
    "base64": _base64,
    "file": _file,
}
#: What else tells about a body of each form.
_COMPANY: Final[Mapping[str, set[str]]] = {
    "sse": {"says"},
    "sse_raw": set(),
    "json": {"style", "before", "after", *TIMING},
    "text": {*TIMING},
    "base64": {*TIMING},
    "file": {"sha256", *TIMING},
}
#: What does not, and would be passed over; for no body, too.
_STRANGERS: Final[Mapping[str | None, set[str]]] = {
    form: set[str]().union(*_COMPANY.values()) - _COMPANY.get(form or "", set()) for form in (None, *_FORMS)
}
