"""What a file's values must look like, and where the first one stands that does not.

A check is called with a value and its place, and returns what the value stands for. Places are chains of
``(outer place, key)`` that cost nothing until something is wrong.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .._core.plain import DICT, LIST, is_list, is_object


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Place = tuple[Any, ...]
    Check = Callable[[Any, Place], Any]


__all__ = [
    "REPAIR",
    "ROOT",
    "Misshapen",
    "OfKind",
    "Shape",
    "a_list",
    "a_string",
    "a_truth",
    "a_whole_number",
    "an_object",
    "anything",
    "deepest",
    "list_of",
    "pairs",
    "quoted",
    "show",
]


#: The place of the whole.
ROOT: Final[Place] = ()

REPAIR: Final = "Correct it, or record the test again."

_KINDS: Final[dict[Any, str]] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    type(None): "null",
}


class Misshapen(Exception):  # noqa: N818 -- says what is wrong with the value
    """A value is not what its place asks for.

    Attributes:
        place: Of the value.
        what: What is wrong, and what to do, in one line.
    """

    def __init__(self, place: Place, what: str) -> None:
        super().__init__(what)
        self.place = place
        self.what = what


def show(place: Place) -> str:
    """*place* as a path: ``calls[2].request.json["odd key"]``; without its end if it is long."""
    keys: list[Any] = []
    while place:
        place, key = place
        keys.append(key)
    most = 12
    return "".join(map(_step, keys[: -most - 1 : -1])).removeprefix(".") + ("…" if len(keys) > most else "")


def _step(key: Any) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if re.fullmatch(r"\w{1,60}", key, re.ASCII) else f"[{quoted(key)}]"


def quoted(key: str) -> str:
    """*key* on one line, and not all of it if it is long."""
    return json.dumps(key if len(key) <= 60 else key[:60] + "…")


def _refuse(value: object, place: Place, words: str) -> NoReturn:
    raise Misshapen(place, f"must be {words}, and is {_KINDS.get(type(value), 'a number')}. {REPAIR}")


class OfKind:
    """The check for values of exactly *kind*, which stand for themselves: ``true`` is no number."""

    __slots__ = ("_words", "kind")

    def __init__(self, kind: type, words: str) -> None:
        self.kind = kind
        self._words = words

    def __call__(self, value: Any, place: Place) -> Any:
        if type(value) is not self.kind:
            _refuse(value, place, self._words)
        return value


a_string: Final = OfKind(str, "a string")
a_whole_number: Final = OfKind(int, "a whole number")
a_truth: Final = OfKind(bool, "true or false")
an_object: Final = OfKind(dict, "an object")
a_list: Final = OfKind(list, "a list")


def anything(value: Any, _: Place) -> Any:
    """Any JSON."""
    return value


def list_of(check: Check) -> Check:
    """Lists of what *check* accepts; it returns a tuple."""

    def checked(value: Any, place: Place) -> tuple[Any, ...]:
        return tuple(check(item, (place, at)) for at, item in enumerate(a_list(value, place)))

    return checked


def _pair(value: Any, place: Place) -> tuple[str, str]:
    if len(a_list(value, place)) != 2:
        raise Misshapen(place, f"must be a name and a value. {REPAIR}")
    return a_string(value[0], (place, 0)), a_string(value[1], (place, 1))


_pair_list: Final = list_of(_pair)


def pairs(value: Any, place: Place) -> tuple[tuple[str, str], ...]:
    """Names and their values, all strings: an object, or a list of pairs if a name comes twice."""
    found = value.items() if is_object(value) else _pair_list(value, place)
    return tuple((name, a_string(item, (place, name))) for name, item in found)


class Shape:
    """Objects with known keys. Called, it returns what the checks of their values return, by key.

    Args:
        checks: For the value of each key.
        required: Keys that must be there.
    """

    __slots__ = ("_checks", "_kinds", "_required")

    def __init__(self, checks: Mapping[str, Check], *required: str) -> None:
        self._checks = dict(checks)
        self._kinds = {
            key: check.kind if isinstance(check, OfKind) else None for key, check in checks.items()
        }
        self._required = required

    def __call__(self, value: Any, place: Place) -> dict[str, Any]:
        fields: dict[str, Any] = value if type(value) is DICT else an_object(value, place)
        checks, kinds = self._checks, self._kinds
        if not fields.keys() <= checks.keys():
            self._refuse_unknown(fields, place)
        for key in self._required:
            if key not in fields:
                raise Misshapen(place, f"lacks {quoted(key)}. {REPAIR}")
        return {
            # Most values are strings and numbers: none of them needs a call.
            key: item if type(item) is kinds[key] else checks[key](item, (place, key))
            for key, item in fields.items()
        }

    def _refuse_unknown(self, fields: dict[str, Any], place: Place) -> NoReturn:
        key = next(key for key in fields if key not in self._checks)
        known = ", ".join(self._checks)
        raise Misshapen(place, f"has an unknown key {quoted(key)}; it may have {known}. Take it out.")


def deepest(value: Any, most: int) -> Place | None:
    """The place of an object or list that is nested deeper than *most* levels; ``None`` if there is none.

    Takes no stack, whatever it is given.
    """
    level = [value] if type(value) in _NESTING else []
    for _ in range(most):
        if not level:
            break
        level = [child for item in level for child in _INSIDE[type(item)](item) if type(child) in _NESTING]
    return _descent(value, most) if level else None


_NESTING: Final = frozenset({DICT, LIST})
_INSIDE: Final[dict[Any, Callable[[Any], Any]]] = {dict: dict[str, Any].values, list: list[Any].__iter__}


def _descent(value: Any, most: int) -> Place:
    level: list[tuple[Place, Any]] = [(ROOT, value)]
    for _ in range(most):
        found = [((place, key), child) for place, item in level for key, child in _children(item)]
        level = [(place, child) for place, child in found if type(child) in _NESTING]
    return level[0][0]


def _children(value: Any) -> list[tuple[Any, Any]]:
    if is_object(value):
        return list(value.items())
    return list(enumerate(value)) if is_list(value) else []
