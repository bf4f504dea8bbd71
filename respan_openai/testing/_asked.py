"""Requests without what must not be written down."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import filterfalse
from operator import is_
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import unquote_plus

from .._core.call import SERVED
from ._credentials import is_field_of_secrets
from .recording import Json, Multipart, Part, Raw
from .secrets import MASKED, SHORTEST_NUMBER, is_placeholder


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._sweep import Sweep
    from .recording import Body, Question

    Pair = tuple[str, str]
    Steps = tuple[str | int, ...]

    T = TypeVar("T")
    Content = TypeVar("Content", Part, Raw)


__all__ = ["Asked"]


#: In every question, and nothing by itself; only what is known or named as a secret can be part of them.
_PUBLIC: Final = ("POST", *(path.decode() for path in SERVED))

#: Texts that are remembered.
_MOST_CLEAN: Final = 10_000


class Asked:
    """Redacts requests; what holds nothing secret comes back as the same object, in whole and in part.

    Args:
        sweep: Cleans texts, and knows which places are off limits.
        names_places: Whether a user has named some of these.
    """

    def __init__(self, sweep: Sweep, *, names_places: bool) -> None:
        self._sweep = sweep
        self._names_places = names_places
        self._known = -1
        self._clean: set[str] = set()

    def question(self, question: Question) -> Question:
        """*question* without secrets."""
        new = question._replace(
            path=self._text(question.path),
            query=self._pairs("?", question.query),
            body=self._body(question.body),
            respan=self._value(question.respan, ("respan",)),
            via=question.via and self._text(question.via),
            deployment=question.deployment and self._text(question.deployment),
            headers=self._pairs("header:", question.headers),
        )
        return question if all(map(is_, new, question)) else new

    def is_clean(self, question: Question) -> bool:
        """Whether there is certainly nothing to replace: most requests are looked through in one go."""
        texts = None if self._names_places else _texts_in(question)
        if texts is None:
            return False
        new = self._new(texts)
        if not new:
            return True
        joined = "\0".join(new)
        if _MAY_BE_JSON.search(joined) or ("data:" in joined and "\n" in joined):
            return False  # JSON, or a stream
        # No form in which a text hides goes on beyond a zero.
        if self._sweep.edits(joined.encode("utf-8", "surrogatepass")):
            return False
        self._clean.update(new)
        return True

    def _new(self, texts: list[str]) -> list[str]:
        """Those of *texts* that were not found clean before: conversations repeat what was said."""
        known = self._sweep.known
        if self._known != known or len(self._clean) > _MOST_CLEAN:
            self._known = known
            self._clean = set() if self._sweep.may_hold("\0".join(_PUBLIC)) else {*_PUBLIC}
        return [*filterfalse(self._clean.__contains__, texts)]

    # -- bodies

    def _body(self, body: Body) -> Body:
        match body:
            case Json():
                value = self._value(body.value, ("$",))
                return body if value is body.value else Json(value)
            case Multipart():
                parts = _each(self._part, body.parts)
                return body if parts is body.parts else Multipart(parts)
            case Raw():
                is_form = (body.type or "").startswith("application/x-www-form-urlencoded")
                text = self._form(body.text) if is_form and body.text else body.text
                return self._typed(_with_text(body, text and self._text(text)))
            case None:
                return None

    def _part(self, part: Part) -> Part:
        name, filename = self._text(part.name), part.filename and self._text(part.filename)
        text = part.text and self._string(part.text, ("$", part.name))
        if name is not part.name or filename is not part.filename:
            part = part._replace(name=name, filename=filename)
        return self._typed(_with_text(part, text))

    def _typed(self, content: Content) -> Content:
        kind = content.type and self._text(content.type)
        return content if kind is content.type else content._replace(type=kind)

    def _form(self, text: str) -> str:
        return "&".join(self._form_field(*field.partition("=")) for field in text.split("&"))

    def _form_field(self, name: str, sign: str, value: str) -> str:
        plain = self._string(unquote_plus(value), ("$", unquote_plus(name)))
        return f"{name}{sign}{MASKED if plain == MASKED else value}"

    # -- values

    def _pairs(self, root: str, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        return _each(lambda pair: self._pair(root, pair), pairs)

    def _pair(self, root: str, pair: Pair) -> Pair:
        name, value = pair
        new = self._text(name), self._string(value, (root, name))
        return pair if new == pair else new

    def _value(self, value: Any, path: Steps) -> Any:
        match value:
            case str():
                return self._string(value, path)
            case dict() | Mapping():
                return self._fields(cast("Mapping[str, Any]", value), path)
            case list():
                return self._items(cast("Sequence[Any]", value), path)
            case bool() | None:
                return value
            case _:
                return MASKED if self._sweep.is_off_limits(path) else self._number(value)

    def _number(self, value: float) -> float | str:
        """*value*, or what stands for it: a number may be a secret as well."""
        new = self._text(str(value)) if abs(value) >= SHORTEST_NUMBER else ""
        return new if is_placeholder(new.encode()) else value

    def _fields(self, fields: Mapping[str, Any], path: Steps) -> Mapping[str, Any]:
        names = [self._text(name) for name in fields]
        values = [self._value(value, (*path, name)) for name, value in fields.items()]
        is_same = all(map(is_, names, fields)) and all(map(is_, values, fields.values()))
        return fields if is_same else dict(zip(names, values, strict=True))

    def _items(self, items: Sequence[Any], path: Steps) -> Sequence[Any]:
        new = [self._value(item, (*path, at)) for at, item in enumerate(items)]
        return items if all(map(is_, new, items)) else new

    def _string(self, text: str, path: Steps) -> str:
        if text and self._sweep.is_off_limits(path):
            stand_in = self._sweep.stand_in(text.encode("utf-8", "surrogatepass")).decode()
            return text if stand_in == text else stand_in
        return self._text(text)

    def _text(self, text: str) -> str:
        return self._sweep.text(text)


def _each(change: Callable[[T], T], items: tuple[T, ...]) -> tuple[T, ...]:
    new = tuple(map(change, items))
    return items if all(map(is_, new, items)) else new


def _with_text(content: Content, text: str | None) -> Content:
    """*content* with another text, of which hash and size tell nothing about what was in it."""
    if text is None or text == content.text:
        return content
    data = text.encode("utf-8", "surrogatepass")
    return content._replace(text=text, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


@lru_cache(maxsize=1024)
def _is_field_of_secrets(name: str) -> bool:
    return is_field_of_secrets((name,))


def _texts_in(question: Question) -> list[str] | None:
    """All strings in *question*; ``None`` if some of it must be looked at where it is."""
    body = question.body
    if question.query or question.headers or not (body is None or isinstance(body, Json)):
        return None
    texts = [question.method, question.path, question.via or "", question.deployment or ""]
    waiting: list[Any] = [question.respan, body and body.value]
    while waiting:  # a function for each value would take longer than all that is done with it
        value = waiting.pop()
        kind = _kind(value)
        if kind is str:
            texts.append(value)
        elif kind is list:
            waiting += value
        elif kind is dict:
            if not _NAMES.issuperset(value) and not _is_harmless(value):
                return None
            texts += value
            inner = value.values()
            (texts if _TEXTS.issuperset(map(type, inner)) else waiting).extend(inner)
        elif kind in _NUMBERS:
            if abs(value) >= SHORTEST_NUMBER:
                texts.append(str(value))
        elif value is not None and kind is not bool:
            return None
    return texts


# Narrows nothing to a list or dict of unknown.
_kind: Final[Callable[[object], object]] = type

#: A text, of several with zeros between them, that may be JSON.
_MAY_BE_JSON: Final = re.compile("(?:^|\0)\\s*[{[]")

_TEXTS: Final = frozenset({str})
_NUMBERS: Final[frozenset[object]] = frozenset({int, float})

#: Those that are in most questions.
_NAMES: Final = frozenset({"content", "messages", "model", "role"})


def _is_harmless(names: Iterable[str]) -> bool:
    return not any(map(_is_field_of_secrets, names))
