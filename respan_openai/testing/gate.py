"""The last look at what is to be written, or was: no secret may be in it, in any form.

Nothing is believed to have been redacted. A JSON document is looked at string by string, and texts that it
holds in parts are put together again: those of events, tokens and words, and lines. A number that is a secret
cannot be replaced in an answer, which would be of another type then, but it is not let through either.
"""

from __future__ import annotations

import re
from base64 import b64decode
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from ._base64 import depth_of, runs
from ._credentials import SHAPES, is_field_of_secrets
from ._escapes import DEEPEST, LAYERS
from ._leaves import leaves_of
from ._splices import Edit, blanked
from ._strings import Fields, parsed, strings_of
from ._sweep import SHORTEST_IN_BASE64
from .secrets import SHORTEST_NUMBER, is_placeholder


if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from ._strings import String, Value
    from .secrets import Secrets

    Steps = tuple[str | int, ...]
    Text = tuple[Steps, bytes]


__all__ = ["Leak", "leaks"]


class Leak(NamedTuple):
    """A secret that was found.

    Attributes:
        place: Where: ``calls[0].request.json.messages[1].content``; of what is no JSON, ``line 3``, or ``the
            whole`` if no line alone holds it.
        what: Which secret, never its value: ``the environment variable OPENAI_API_KEY``.
    """

    place: str
    what: str


def leaks(text: str | bytes, secrets: Secrets) -> list[Leak]:
    """Every secret in *text*, which is all of a file; none if it may be written.

    Looked for are the values that *secrets* knows, what looks like a credential, and fields for secrets that
    hold something else than a placeholder.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    gate = _Gate(secrets)
    try:
        found = list(gate.in_document(parsed(data.decode("utf-8", "surrogatepass"), strict=False)))
    except (ValueError, RecursionError):
        found = list(gate.in_lines(data))
    return list(dict.fromkeys(found))


class _Gate:
    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._shortest = min(secrets.shortest, SHORTEST_IN_BASE64)

    def in_lines(self, data: bytes) -> Iterator[Leak]:
        whole = dict.fromkeys(self._in_text(data))
        for number, line in enumerate(data.splitlines() if whole else (), 1):
            for what in self._in_text(line):
                whole.pop(what, None)
                yield Leak(f"line {number}", what)
        yield from (Leak("the whole", what) for what in whole)

    def in_document(self, document: Value) -> Iterator[Leak]:
        for path, text in _texts(document):
            yield from (Leak(self._shown(path), what) for what in self._in_text(text))
        for string in strings_of(document):
            if string.kind == "value" and _is_uncovered(string.path, string.data):
                yield Leak(self._shown(string.path), _IN_FIELD)
        values = dict(self._secrets.needles)
        for path, digits in _numbers(document, ()):
            if digits in values:
                yield Leak(self._shown(path), self._secrets.what(values[digits]))

    def _in_text(self, data: bytes, depth: int = DEEPEST) -> Iterator[str]:
        for form in _forms(data, self._shortest, depth):
            yield from self._in_plain(form)
            leaves = leaves_of(form) if depth else None
            if leaves is not None:
                uncovered = (_is_uncovered(leaf.path, form[leaf.start : leaf.end]) for leaf in leaves.values)
                yield from [_IN_FIELD] * any(uncovered)
                for text, _ in (*leaves.documents(form), *leaves.joined(form), *leaves.spelt()):
                    yield from self._in_text(text, depth - 1)

    def _in_plain(self, data: bytes) -> Iterator[str]:
        own = self._secrets.placeholders(data)
        rest = blanked(data, (Edit(start, end, b"") for start, end in own))
        for needle, value in self._secrets.needles:
            if needle in rest:
                yield self._secrets.what(value)
                rest = rest.replace(needle, bytes(len(needle)))
        yield from (shape.what for shape in SHAPES if shape.found_in(rest))

    def _shown(self, path: Steps) -> str:
        """*path* as text; a name that holds a secret itself is left out."""
        steps = (f"[{step}]" if isinstance(step, int) else f".{self._name(step)}" for step in path)
        return "".join(steps).removeprefix(".") or "the whole"

    def _name(self, name: str) -> str:
        is_plain = _PLAIN.fullmatch(name) and not any(self._in_text(name.encode()))
        return name if is_plain else "…"


_IN_FIELD: Final = "a field for secrets that is not redacted"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_$-]{1,60}")


def _is_uncovered(path: Sequence[object], text: bytes) -> bool:
    return bool(text) and is_field_of_secrets(path) and not is_placeholder(text)


def _forms(data: bytes, shortest: int, depth: int) -> Iterator[bytes]:
    """*data*, and whatever it may mean, up to *depth* forms deep; in base64 at least *shortest* bytes."""
    yield data
    if depth:
        for layer in LAYERS:
            text = layer.undone(data)
            yield from () if text is None else _forms(text, shortest, depth - 1)
        for text in (text for run in runs(data, shortest) for _, text in run.undone()):
            yield from _forms(text, shortest, depth_of(text, depth - 1))


# -- what a document says in parts


def _texts(document: Value) -> Iterator[Text]:
    """Each string of *document*, and each text that is in parts there."""
    yield from ((string.path, string.data) for string in strings_of(document))
    yield from _in_tracks(strings_of(_whole(document)))
    yield from _joined(document, ())


def _in_tracks(strings: Iterable[String]) -> Iterator[Text]:
    """The texts that are in several strings, at the first of them."""
    tracks: dict[Hashable, list[String]] = {}
    for string in strings:
        if string.kind != "name":
            tracks.setdefault((string.kind, string.track), []).append(string)
    for track in tracks.values():
        if len(track) > 1:
            yield track[0].path, b"".join(string.data for string in track)


def _whole(value: Value) -> Value:
    """*value*, with the texts that a file keeps as lists of strings."""
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if not isinstance(value, Fields):
        return value
    name, inner = value.items[0] if len(value.items) == 1 else ("", None)
    if name in _SEPARATORS and isinstance(inner, list):
        return _SEPARATORS[name].join(part for part in inner if isinstance(part, str))
    return Fields([(name, _whole(inner)) for name, inner in value.items])


def _numbers(value: Value, path: Steps) -> Iterator[tuple[Steps, bytes]]:
    """Each integer in *value* that is long enough for a secret, as it is written."""
    if isinstance(value, Fields):
        for name, inner in value.items:
            yield from _numbers(inner, (*path, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _numbers(inner, (*path, at))
    elif type(value) is int and abs(value) >= SHORTEST_NUMBER:
        yield path, b"%d" % value


def _joined(value: Value, path: Steps) -> Iterator[Text]:
    if isinstance(value, Fields):
        for name, inner in value.items:
            if name in _SEPARATORS and isinstance(inner, list):
                parts = (part for part in inner if isinstance(part, str))
                yield path, _SEPARATORS[name].join(parts).encode("utf-8", "surrogatepass")
            if name == "top_logprobs" and isinstance(inner, list):
                yield from ((path, text) for text in _of_names(inner))
            yield from _joined(inner, (*path, name))
    elif isinstance(value, list):
        yield from _of_rows([row for row in value if isinstance(row, list) and row], path)
        for at, inner in enumerate(value):
            yield from _joined(inner, (*path, at))


#: Lists of strings that are one text in a file, and what is between these.
_SEPARATORS: Final = {"$joined": "", "$lines": "\n"}


def _of_names(items: Sequence[Value]) -> Iterator[bytes]:
    """The texts that the alternatives to each token spell, the likeliest and so on, where they are names."""
    names = [[name for name, _ in item.items] for item in items if isinstance(item, Fields)]
    for each in zip_longest(*names, fillvalue=""):
        yield "".join(each).encode("utf-8", "surrogatepass")


def _of_rows(rows: Sequence[list[Value]], path: Steps) -> Iterator[Text]:
    """The texts of a stream. A row is when an event or a chunk came, perhaps words, and what it said."""
    said = _in_tracks(string for row in rows for string in strings_of(_whole(row[-1])))
    yield from ((path, text) for _, text in said)
    if any("base64" in row[1:-1] for row in rows):
        yield path, b"".join(map(_chunk, rows))


def _chunk(row: Sequence[Value]) -> bytes:
    data = str(row[-1]).encode("utf-8", "surrogatepass")
    try:
        return b64decode(data, validate=True) if "base64" in row[1:-1] else data
    except ValueError:
        return data
