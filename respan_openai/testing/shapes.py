"""Whether a live answer still has the shape of the recorded one: types, fields and events, never what they say."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from .streams import body_of, events_of, is_stream, media_type


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .recording import Answer
    from .streams import Event


__all__ = ["Change", "changes"]


class Change(NamedTuple):
    """One difference.

    Attributes:
        severity: ``info``: there is something new; ``warning``: something is gone, or another model answered;
            ``error``: something is of another type, so that code which reads it may break.
        place: Where: ``body.choices[].message.content``, ``events[response.completed].response.usage``, ``status``.
        what: What happened there, without any content.
    """

    severity: Literal["info", "warning", "error"]
    place: str
    what: str


def changes(recorded: Answer, live: Answer) -> list[Change]:
    """What is different in *live*, in the order of reading it.

    Elements of an array are taken together, those with different values of ``type`` apart; so are the events of a
    stream of the same type. How many there are does not matter, nor how often they take turns. ``null`` stands
    for something that is missing.
    """
    found = [*_of_beginnings(recorded, live)]
    if any(change.severity == "error" for change in found):
        return found
    return [*found, *_of_ends(recorded, live), *_of_bodies(recorded, live)]


# -- around the body


def _of_beginnings(recorded: Answer, live: Answer) -> Iterator[Change]:
    before, after = _began(recorded), _began(live)
    if before != after:
        yield Change("error", "status", f"was {before}, is {after}")
    elif recorded.status != live.status:
        yield Change("warning", "status", f"was {recorded.status}, is {live.status}")
    kinds = [media_type(answer) for answer in (recorded, live)]
    if kinds[0] != kinds[1]:
        yield Change("error", "content-type", f"was {_named(kinds[0])}, is {_named(kinds[1])}")


def _began(answer: Answer) -> str:
    """The class of its status, or what there was in its place."""
    if answer.status is None:
        return _broke(answer)
    return f"{answer.status // 100}xx"


def _broke(answer: Answer) -> str:
    return "a failure" if answer.failure is None else _named(answer.failure.type)


def _of_ends(recorded: Answer, live: Answer) -> Iterator[Change]:
    if recorded.end == live.end or "failed" not in {recorded.end, live.end}:
        return
    if live.end == "failed":
        yield Change("error", "end", f"breaks off with {_broke(live)}")
    else:
        yield Change("warning", "end", f"broke off with {_broke(recorded)}, is whole")


def _of_models(before: Iterable[Any], after: Iterable[Any]) -> Iterator[Change]:
    old, new = (sorted({model for value in values for model in _models(value)}) for values in (before, after))
    if old and new and old != new:
        was, is_now = (", ".join(map(_named, models)) for models in (old, new))
        yield Change("warning", "model", f"was {was}, is {is_now}")


def _models(value: Any) -> list[str]:
    owners = [value, value.get("response")] if isinstance(value, dict) else []
    found = [owner.get("model") for owner in owners if isinstance(owner, dict)]
    return [model for model in found if isinstance(model, str)]


# -- bodies


def _of_bodies(recorded: Answer, live: Answer) -> Iterator[Change]:
    if is_stream(recorded):
        yield from _of_streams(events_of(recorded), events_of(live))
    elif media_type(recorded).endswith("json"):
        before, after = (_parsed(body_of(answer)) for answer in (recorded, live))
        yield from _of_models([before], [after])
        yield from _of_shapes("body", _shape_of([before]), _shape_of([after]))


def _of_streams(before: list[Event], after: list[Event]) -> Iterator[Change]:
    old, new = _by_type(before), _by_type(after)
    yield from _of_models(*([each for values in found.values() for each in values] for found in (old, new)))
    yield from _of_names("events[{}]", old, new)
    common = [[name for name in found if name in old and name in new] for found in (old, new)]
    if common[0] != common[1]:
        yield Change("warning", "events", "come in another order")
    for name in common[0]:
        yield from _of_shapes(f"events[{name}]", _shape_of(old[name]), _shape_of(new[name]))


def _by_type(events: list[Event]) -> dict[str, list[Any]]:
    """Their data by their type, in the order in which each type first came."""
    found: dict[str, list[Any]] = {}
    for event in events:
        value = _parsed(event.data.encode())
        found.setdefault(_type_of(event, value), []).append(value)
    return found


def _type_of(event: Event, value: object) -> str:
    if event.data.startswith("[DONE]"):
        return "[DONE]"
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    names = (fields.get("type"), event.name, fields.get("object"))
    return next((_named(name) for name in names if isinstance(name, str) and name), "data")


class _Unreadable:
    """In the place of what is no JSON."""


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _Unreadable()


# -- shapes


#: Levels beyond which nothing is compared.
_DEEPEST: Final = 64

_KINDS: Final = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class _Shape:
    """Of all values that stand in the same place.

    Attributes:
        kinds: Their types; ``null`` is none.
        fields: Those of objects.
        items: Elements of arrays, by their ``type``; without one by the empty text.
    """

    __slots__ = ("fields", "items", "kinds")

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.fields: dict[str, _Shape] = {}
        self.items: dict[str, _Shape] = {}

    def add(self, value: Any, depth: int = 0) -> None:
        """One more value that stands there."""
        kind = _KINDS.get(type(value), "no JSON")
        self.kinds |= {kind} - {"null"}
        if depth == _DEEPEST:
            return
        if kind == "an object":
            for name, field in value.items():
                self.fields.setdefault(name, _Shape()).add(field, depth + 1)
        elif kind == "an array":
            for item in value:
                self.items.setdefault(_tag(item), _Shape()).add(item, depth + 1)


def _shape_of(values: Iterable[Any]) -> _Shape:
    shape = _Shape()
    for value in values:
        shape.add(value)
    return shape


#: What a type looks like, and what somebody said does not.
_TAG: Final = re.compile(r"[a-z][a-z0-9_.]{0,59}")


def _tag(item: object) -> str:
    tag = cast("dict[str, Any]", item).get("type") if isinstance(item, dict) else None
    return tag if isinstance(tag, str) and _TAG.fullmatch(tag) else ""


def _of_shapes(place: str, old: _Shape, new: _Shape) -> Iterator[Change]:
    yield from _of_kinds(place, old.kinds, new.kinds)
    if "an object" in old.kinds & new.kinds:
        yield from _of_parts(place + ".{}", old.fields, new.fields)
    if old.items and new.items:
        yield from _of_parts(place + "[{}]", old.items, new.items)


def _of_kinds(place: str, old: set[str], new: set[str]) -> Iterator[Change]:
    if old and new - old:
        yield Change("error", place, f"was {_either(old)}, is {_either(new)}")
    elif new - old:
        yield Change("info", place, f"was null, is {_either(new)}")
    elif old and not new:
        yield Change("warning", place, f"was {_either(old)}, is null")


def _either(kinds: set[str]) -> str:
    return " or ".join(sorted(kinds))


def _of_parts(form: str, old: dict[str, _Shape], new: dict[str, _Shape]) -> Iterator[Change]:
    yield from _of_names(form, old, new)
    for name in old:
        if name in new:
            yield from _of_shapes(form.format(_named(name)), old[name], new[name])


def _of_names(form: str, old: Iterable[str], new: Iterable[str]) -> Iterator[Change]:
    before, after = dict.fromkeys(old), dict.fromkeys(new)
    for name in before:
        if name not in after:
            yield Change("warning", form.format(_named(name)), "is gone")
    for name in after:
        if name not in before:
            yield Change("info", form.format(_named(name)), "is new")


def _named(text: str) -> str:
    """*text*, which comes from an answer, as it may be printed."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:80])
