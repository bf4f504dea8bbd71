"""Bodies of ``multipart/form-data`` (RFC 7578), of which only short text fields are looked at.

The parts are cut at their boundary and never decoded: a file of many megabytes stays as it came.
"""

from __future__ import annotations

import re
from email.message import Message
from typing import TYPE_CHECKING, NamedTuple

from .contract import invalid


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


__all__ = ["Form"]


#: Bytes of a field that is looked at; a file is no such field.
_LONGEST_FIELD = 64 * 1024

_NAME = re.compile(rb'\bname="([^"\r\n]*)"')
_FILE = b"filename"


class _Part(NamedTuple):
    name: str
    start: int
    end: int
    is_file: bool


class Form:
    """A body and where its fields lie in it.

    Attributes:
        fields: Text fields by name; a file counts as its name in the form, with an empty text. Of a name that
            occurs several times the first is taken.
    """

    def __init__(self, body: bytes, parts: Mapping[str, _Part]) -> None:
        self._body = body
        self._parts = parts
        self.fields = {name: _text(body, part) for name, part in parts.items()}

    @classmethod
    def read(cls, content_type: str, body: bytes) -> Form | None:
        """The form in *body*; ``None`` if it is none by its type.

        Raises:
            ContractError: 400 if it has no boundary, or no part.
        """
        kind = Message()
        kind["content-type"] = content_type
        if kind.get_content_type() != "multipart/form-data":
            return None
        boundary = kind.get_param("boundary")
        parts: dict[str, _Part] = {}
        for part in _parts_of(body, b"--" + str(boundary or "").encode("latin-1", "replace")):
            parts.setdefault(part.name, part)
        if not boundary or not parts:
            raise invalid("The multipart body has no boundary that its parts are cut at.", None)
        return cls(body, parts)

    def with_field(self, name: str, value: str) -> bytes:
        """The body with the text field *name* set to *value*, in its place; the same body if it is not there."""
        part = self._parts.get(name)
        if part is None:
            return self._body
        return self._body[: part.start] + value.encode() + self._body[part.end :]


def _parts_of(body: bytes, mark: bytes) -> Iterator[_Part]:
    at = body.find(mark)
    while at >= 0:
        head = at + len(mark) + 2
        following = body.find(b"\r\n" + mark, head)
        start = body.find(b"\r\n\r\n", head - 2) + 4
        if following < 0 or start < 4 or start > following:
            return
        named = _NAME.search(body, head, start)
        if named is not None:
            name = named[1].decode("utf-8", "replace")
            yield _Part(name, start, following, _FILE in body[head:start].lower())
        at = following + 2


def _text(body: bytes, part: _Part) -> str:
    if part.is_file or part.end - part.start > _LONGEST_FIELD:
        return ""
    return body[part.start : part.end].decode("utf-8", "replace")
