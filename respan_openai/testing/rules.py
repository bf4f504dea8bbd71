"""What makes two questions the same."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from .._core.plain import is_list, is_object
from ._paths import BLANK, BODY, GONE, HEADER, QUERY, RESPAN, edited, parsed
from ._plain import canonical, plain
from .errors import CassetteError
from .recording import Json, Multipart, Question, Raw


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._paths import Path
    from .recording import Body, Part


__all__ = ["Compared", "Rules"]


class Compared(NamedTuple):
    """What of a question is compared.

    Attributes:
        request: Method, path, and what kind of body it has.
        tree: Everything else, in plain values, under its four roots; equal numbers are written alike.
    """

    request: tuple[str, str, str]
    tree: dict[str, Any]

    @property
    def key(self) -> str:
        """As :meth:`Rules.key`."""
        return _key_of(canonical(self))


class Rules:
    """What may differ between a question and a recording of it, and what must be equal besides.

    Without any rule, method, path, query, body and the gateway's parameters must be equal: JSON by its
    meaning (order of keys free, 1 equal to 1.0, a missing field not equal to null), fields of a form in any
    order, other bodies byte for byte. Where it was sent never matters.

    Args:
        ignore: Places that may differ, or be missing: ``metadata.run_id``, ``**.tool_call_id``. With a
            pattern behind ``~`` only what it finds there may: ``messages[*].content ~ \\d{4}-\\d\\d-\\d\\d``
            holds for every text at that place and below. An item of a list may differ, but must be there.
        match: Headers that must be equal: ``header:x-tenant``.
        normalize: Makes of a question the one that is compared; applied to both sides, before anything is
            ignored.

    Attributes:
        headers: Names of the headers that are compared, in lower case.

    Raises:
        CassetteError: if a rule cannot be read.
    """

    def __init__(
        self,
        ignore: Iterable[str] = (),
        match: Iterable[str] = (),
        normalize: Callable[[Question], Question] | None = None,
    ) -> None:
        self._ignored = tuple(map(_Ignored.read, _listed("ignore", ignore)))
        self.headers = tuple(map(_header, _listed("match", match)))
        self._normalize = normalize

    def __repr__(self) -> str:
        return f"Rules({len(self._ignored)} places ignored, headers={self.headers!r})"

    def ignoring(self, places: Iterable[str]) -> Rules:
        """These rules and further *places*.

        Raises:
            CassetteError: if one cannot be read.
        """
        made = Rules(places, normalize=self._normalize)
        made._ignored = (*self._ignored, *made._ignored)
        made.headers = self.headers
        return made

    def key(self, question: Question) -> str:
        """A text that is the same for questions that are the same, and for no others; a hash of it if it is long."""
        return self._plain_key(question) or self.compared(question).key

    def place(self, question: Question) -> tuple[str, str]:
        """Method and path of *question*, as they are compared."""
        if self._normalize is not None:
            question = _normalized(self._normalize, question)
        return question.method, question.path

    def _plain_key(self, question: Question) -> str | None:
        """That of ``compared(question)``, without a copy of what is compared; ``None`` where that is needed."""
        if self._normalize is not None or self._ignored:
            return None
        text = canonical((_request_of(question), self._tree_of(question)))
        # Mostly no number in it can be written in two ways, and need be made like others.
        return None if ".0" in text or "e+" in text else _key_of(text)

    def compared(self, question: Question) -> Compared:
        """What of *question* is compared under these rules."""
        if self._normalize is not None:
            question = _normalized(self._normalize, question)
        tree = plain(self._tree_of(question))
        for ignored in self._ignored:
            tree = ignored.out_of(tree)
        return Compared(_request_of(question), tree)

    def _tree_of(self, question: Question) -> dict[str, Any]:
        query, headers = question.query, question.headers
        return {
            BODY: _body_of(question.body),
            RESPAN: dict(question.respan),
            QUERY: _grouped(query) if query else {},
            HEADER: {name: value for name, value in headers if name in self.headers} if headers else {},
        }


def _request_of(question: Question) -> tuple[str, str, str]:
    return question.method, question.path, type(question.body).__name__


def _key_of(text: str) -> str:
    # To hash a short one takes longer than all that is done with it.
    return text if len(text) <= _SHORT else hashlib.sha256(text.encode()).hexdigest()


#: Characters of a text that is its own key.
_SHORT: Final = 1024


def _normalized(normalize: Callable[[Question], Question], question: Question) -> Question:
    made = normalize(question)
    if not isinstance(made, Question):  # pyright: ignore[reportUnnecessaryIsInstance] -- a user's function
        raise CassetteError(
            f"normalize returned {type(made).__name__} instead of a Question; return question._replace(...)."
        )
    return made


# -- reading rules


#: Headers that are never compared, because what is compared is recorded.
_SECRET: Final = frozenset({"api-key", "authorization", "cookie", "proxy-authorization", "x-api-key"})


def _listed(name: str, rules: Iterable[str]) -> list[str]:
    listed: list[Any] = [] if isinstance(rules, str) else list(rules)
    if isinstance(rules, str) or not all(isinstance(rule, str) for rule in listed):
        raise CassetteError(f"{name} must be a list of strings, even of one.")
    return listed


def _header(rule: str) -> str:
    kind, _, name = rule.partition(":")
    if kind != "header" or not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise CassetteError(f"{rule!r} cannot be matched; match takes headers: header:x-tenant.")
    if name.lower() in _SECRET:
        raise CassetteError(
            f"{rule!r} cannot be matched: the header holds a secret, and would have to be recorded."
        )
    return name.lower()


class _Ignored(NamedTuple):
    path: Path
    pattern: re.Pattern[str] | None

    @classmethod
    def read(cls, rule: str) -> _Ignored:
        place, found, pattern = rule.partition("~")
        path = parsed(place.strip())
        return cls(path, _compiled(rule, pattern.strip()) if found else None)

    def out_of(self, tree: dict[str, Any]) -> dict[str, Any]:
        change = _gone if self.pattern is None else partial(_blanked, self.pattern)
        return cast("dict[str, Any]", edited(tree, self.path, change))


def _compiled(rule: str, pattern: str) -> re.Pattern[str]:
    try:
        found = re.compile(pattern)
    except (re.error, OverflowError) as exc:
        raise CassetteError(f"{rule!r}: what stands behind the ~ is no regular expression: {exc}.") from None
    if not pattern:
        raise CassetteError(f"{rule!r}: there is no pattern behind the ~; without one, leave out the ~ too.")
    return found


def _gone(_: Any) -> Any:
    return GONE


def _blanked(pattern: re.Pattern[str], value: Any) -> Any:
    if isinstance(value, str):
        return pattern.sub(BLANK, value)
    if is_object(value):
        return {name: _blanked(pattern, inner) for name, inner in value.items()}
    return [_blanked(pattern, item) for item in value] if is_list(value) else value


# -- bodies


def _body_of(body: Body) -> Any:
    if isinstance(body, Json):
        return body.value
    if isinstance(body, Multipart):
        return _grouped([(part.name, _part(part)) for part in body.parts])
    return None if body is None else _raw(body)


def _part(part: Part) -> Any:
    if part.text is not None:
        return part.text if part.type is None else {"text": part.text, "type": part.type}
    return {"filename": part.filename, "type": part.type, "sha256": part.sha256, "size": part.size}


def _raw(body: Raw) -> dict[str, Any]:
    what = {"text": body.text} if body.text is not None else {"sha256": body.sha256, "size": body.size}
    return {"type": body.type, **what}


def _grouped(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The value of a name that occurs once, a list of those of any other."""
    lists: dict[str, list[Any]] = {}
    for name, value in pairs:
        lists.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in lists.items()}
