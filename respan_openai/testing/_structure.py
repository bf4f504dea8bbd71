"""Of which types JSON values are, and which fields they have; never what they say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from ._shown import clipped, printable


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


__all__ = ["Change", "Structure", "in_names", "named"]


class Change(NamedTuple):
    """One difference.

    Attributes:
        severity: ``info``: there is something new; ``warning``: something is gone, or another model answered;
            ``error``: something is of another type, so that code which reads it may break.
        place: Where: ``body.choices[].message.content``, ``events[response.completed].response.usage``,
            ``status``.
        what: What happened there, without any content.
    """

    severity: Literal["info", "warning", "error"]
    place: str
    what: str


#: Levels beyond which nothing is compared.
_DEEPEST: Final = 64

_KINDS: Final[dict[type[object], str]] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}

#: What a type looks like, and what somebody said does not.
_TAG: Final = re.compile(r"[a-z][a-z0-9_.]{0,59}")


class Structure:
    """What all values have in common that stand in the same place.

    Args:
        values: From JSON; what is of no type of JSON's counts as *no JSON*.

    Attributes:
        kinds: Their types; ``null`` is none, for it stands for something that is missing.
        fields: Those of objects.
        items: Elements of arrays, by their ``type``; those without one by the empty text.
    """

    __slots__ = ("fields", "items", "kinds")

    def __init__(self, values: Iterable[object] = ()) -> None:
        self.kinds: set[str] = set()
        self.fields: dict[str, Structure] = {}
        self.items: dict[str, Structure] = {}
        for value in values:
            _add(self, value, 0)

    def changes(self, new: Structure, place: str) -> Iterator[Change]:
        """What is different in *new*, which stands at *place* now."""
        yield from _in_kinds(place, self.kinds, new.kinds)
        if "an object" in self.kinds & new.kinds:
            yield from _in_parts(place + ".", "", self.fields, new.fields)
        if self.items and new.items:
            yield from _in_parts(place + "[", "]", self.items, new.items)


def _add(structure: Structure, value: Any, depth: int) -> None:
    kind = _KINDS.get(cast("type[object]", type(value)), "no JSON")
    structure.kinds |= {kind} - {"null"}
    if depth == _DEEPEST:
        return
    if kind == "an object":
        for name, field in value.items():
            _add(structure.fields.setdefault(name, Structure()), field, depth + 1)
    elif kind == "an array":
        for item in value:
            _add(structure.items.setdefault(_tag(item), Structure()), item, depth + 1)


def _tag(item: object) -> str:
    tag = cast("dict[str, Any]", item).get("type") if isinstance(item, dict) else None
    return tag if isinstance(tag, str) and _TAG.fullmatch(tag) else ""


def _in_kinds(place: str, old: set[str], new: set[str]) -> Iterator[Change]:
    if old and new - old:
        yield Change("error", place, f"was {_either(old)}, is {_either(new)}")
    elif new - old:
        yield Change("info", place, f"was null, is {_either(new)}")
    elif old and not new:
        yield Change("warning", place, f"was {_either(old)}, is null")


def _either(kinds: set[str]) -> str:
    return " or ".join(sorted(kinds))


def _in_parts(
    before: str, behind: str, old: dict[str, Structure], new: dict[str, Structure]
) -> Iterator[Change]:
    yield from in_names(before, behind, old, new)
    for name, structure in old.items():
        if name in new:
            yield from structure.changes(new[name], before + named(name) + behind)


def in_names(before: str, behind: str, old: Iterable[str], new: Iterable[str]) -> Iterator[Change]:
    """Which of the names *old* are gone, and which are *new*; each is told between *before* and *behind*."""
    was, is_now = dict.fromkeys(old), dict.fromkeys(new)
    for name in was:
        if name not in is_now:
            yield Change("warning", before + named(name) + behind, "is gone")
    for name in is_now:
        if name not in was:
            yield Change("info", before + named(name) + behind, "is new")


def named(text: str) -> str:
    """*text*, a name that comes from an answer, as it may be printed."""
    return clipped(printable(text), 80)
