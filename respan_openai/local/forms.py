"""Bodies of ``multipart/form-data`` (RFC 7578), of which only short text fields are looked at.

The parts are cut at their boundary and never decoded: a file of many megabytes stays as it came.

Objects and lists are written as the SDK and browsers do: ``metadata[run]``, ``fallback_models[]``,
or as JSON.
"""

from __future__ import annotations

import json
import re
from email.message import Message
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from .._params import check
from .._wire import CONTAINERS, HEADER
from ..exceptions import ParamsError
from .contract import invalid


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


__all__ = ["Form"]


#: Bytes of a field that is looked at; a file is no such field.
_LONGEST_FIELD = 64 * 1024

#: The header that names a part, continued on lines that begin with white space; and what it says of the part,
#: as a text in quotes or a word without them (RFC 2183, section 2).
_DISPOSITION = re.compile(rb"^content-disposition:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE | re.MULTILINE)
_SAID = re.compile(rb';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_OF_FILES = frozenset({b"filename", b"filename*"})

#: What a name may look like that stands for a place in an object or a list.
_PLACE = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")


class _Part(NamedTuple):
    """Where a field is written, from its boundary to the next, and in there its content."""

    name: str
    begin: int
    start: int
    end: int
    is_file: bool


class Form:
    """A body and where its fields lie in it.

    Attributes:
        fields: Text fields by name; a file counts as its name in the form, with an empty text. Of a name that
            occurs several times the first is taken.
    """

    def __init__(self, body: bytes, boundary: bytes, parts: list[_Part]) -> None:
        self._body = body
        self._boundary = boundary
        self._parts = parts
        self.fields = {part.name: _text(body, part) for part in reversed(parts)}

    @classmethod
    def read(cls, content_type: str, body: bytes) -> Form | None:
        """The form in *body*; ``None`` if it is none by its type.

        Raises:
            ContractError: 400 if it has no boundary, or no part; if a part has no name that can be read.
        """
        if "form-data" not in content_type.lower():
            return None  # as most bodies, which need no parser of mail headers
        kind = Message()
        kind["content-type"] = content_type
        if kind.get_content_type() != "multipart/form-data":
            return None
        named = kind.get_param("boundary")
        boundary = str(named or "").encode("latin-1", "replace")
        parts = list(_parts_of(body, b"--" + boundary)) if boundary else []
        if not parts:
            raise invalid("The multipart body has no boundary that its parts are cut at.", None)
        return cls(body, boundary, parts)

    def given(self, ours: Collection[str]) -> dict[str, Any]:
        """The fields, the parameters *ours* among them as they would stand in JSON, in one piece.

        Raises:
            ContractError: 400 if one is used for a text and an object, or lists or objects lie in a list.
        """
        texts = {
            name: text
            for name, text in self.fields.items()
            if _PLACE.fullmatch(name) is None or _owner(name) not in ours
        }
        found: dict[str, Any] = {name: _value(name, text) for name, text in texts.items() if name in ours}
        for part in self._parts:
            if part.name not in texts and _owner(part.name) in ours:
                _put(found, part.name.replace("]", "").split("["), _plain(_text(self._body, part)))
        return texts | found

    def sent(self, model: str, without: Collection[str]) -> bytes:
        """The body with *model* in its field, be it new, but not with what belongs to the fields *without*."""
        pieces, at = [self._body[: self._parts[0].begin]], self._parts[0].begin
        if "model" not in self.fields:
            pieces.append(self._written("model", model))
        for part in self._parts:
            kept, at = self._body[at : part.begin], part.begin
            pieces.append(kept)
            if _owner(part.name) in without:
                at = part.end + len(b"\r\n")
            elif part.name == "model":
                pieces += [self._body[at : part.start], model.encode()]
                at = part.end
        return b"".join([*pieces, self._body[at:]])

    def _written(self, name: str, value: str) -> bytes:
        head = b'Content-Disposition: form-data; name="%s"' % name.encode()
        return b"--%s\r\n%s\r\n\r\n%s\r\n" % (self._boundary, head, value.encode())


def _parts_of(body: bytes, mark: bytes) -> Iterator[_Part]:
    at = body.find(mark)
    while at >= 0:
        head = at + len(mark) + 2
        following = body.find(b"\r\n" + mark, head)
        start = body.find(b"\r\n\r\n", head - 2) + 4
        if following < 0 or start < 4 or start > following:
            return
        name, is_file = _named(body[head:start])
        yield _Part(name, at, start, following, is_file)
        at = following + 2


def _named(head: bytes) -> tuple[str, bool]:
    """The name of a part, and whether the part is a file."""
    disposition = _DISPOSITION.search(head)
    said = [] if disposition is None else _SAID.findall(disposition[1])
    values = {what.lower(): quoted or word for what, quoted, word in reversed(said)}
    if b"name" not in values:
        raise invalid(
            "A part of the multipart body has no name that can be read, so it could be a parameter that the "
            'gateway would pass on unread. Give it one: Content-Disposition: form-data; name="...".',
            None,
        )
    return values[b"name"].decode("utf-8", "replace"), not _OF_FILES.isdisjoint(values)


def _text(body: bytes, part: _Part) -> str:
    if part.is_file or part.end - part.start > _LONGEST_FIELD:
        return ""
    return body[part.start : part.end].decode("utf-8", "replace")


def _owner(name: str) -> str:
    return name.partition("[")[0]


def _value(name: str, text: str) -> Any:
    value = _plain(text)
    if isinstance(value, str) or name in CONTAINERS:
        return value
    try:
        check({name: text})  # "7" is an identifier, too
    except ParamsError:
        return value
    return text


def _plain(text: str) -> Any:
    """What *text* is as JSON: a number, true, an object, ...; the text itself if it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _put(holder: Any, place: list[str], value: Any) -> None:
    for name, inner in pairwise(place):
        empty: Any = {} if inner else []
        held = holder.setdefault(name, empty) if name else None
        if type(held) is not type(empty):
            message = (
                f"The form's field {place[0]!r} cannot be read. Send it as JSON, or in the header {HEADER}."
            )
            raise invalid(message, place[0])
        holder = held
    if place[-1]:
        holder[place[-1]] = value
    else:
        holder.append(value)
