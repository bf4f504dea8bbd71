"""Whether a live answer still has the shape of the recorded one: types, fields, events; not what it says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from .._core.plain import as_object
from ._answers import content_of, events_of, is_stream, type_of
from ._structure import Change, Structure, in_names, named


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._answers import Event
    from .recording import Answer


__all__ = ["Change", "changes"]


def changes(recorded: Answer, live: Answer) -> list[Change]:
    """What is different in *live*, in the order of reading it.

    Elements of an array are taken together, those with different values of ``type`` apart; so are the events
    of a stream of the same type. How many there are does not matter, nor how often they take turns. Bodies
    are compared if they are JSON or a stream, and the answers began alike.
    """
    found = [*_in_heads(recorded, live)]
    if any(change.severity == "error" for change in found):
        return found
    return [*found, *_in_ends(recorded, live), *_in_bodies(recorded, live)]


# -- around the body


def _in_heads(recorded: Answer, live: Answer) -> Iterator[Change]:
    before, after = _beginning(recorded), _beginning(live)
    if before != after:
        yield Change("error", "status", f"was {before}, is {after}")
    elif recorded.status != live.status:
        yield Change("warning", "status", f"was {recorded.status}, is {live.status}")
    was, is_now = type_of(recorded), type_of(live)
    if was != is_now:
        yield Change("error", "content-type", f"was {_or_none(was)}, is {_or_none(is_now)}")


def _beginning(answer: Answer) -> str:
    """The class of the status, or what there was in its place."""
    return _failure(answer) if answer.status is None else f"{answer.status // 100}xx"


def _failure(answer: Answer) -> str:
    return "a failure" if answer.failure is None else named(answer.failure.type)


def _or_none(name: str) -> str:
    return named(name) or "none"


def _in_ends(recorded: Answer, live: Answer) -> Iterator[Change]:
    # Where a reader leaves is his own affair, so that closed is as good as whole.
    if live.end == "failed" and recorded.end != "failed":
        yield Change("error", "end", f"breaks off with {_failure(live)}")
    if recorded.end == "failed" and live.end != "failed":
        yield Change("warning", "end", f"broke off with {_failure(recorded)}, does not")


def _in_models(before: Iterable[Any], after: Iterable[Any]) -> Iterator[Change]:
    old, new = (", ".join(sorted({*map(named, _models(values))})) for values in (before, after))
    if old and new and old != new:
        yield Change("warning", "model", f"was {old}, is {new}")


def _models(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        for owner in (value, as_object(value).get("response")):
            model = as_object(owner).get("model")
            if isinstance(model, str):
                yield model


# -- bodies


def _in_bodies(recorded: Answer, live: Answer) -> Iterator[Change]:
    if is_stream(recorded):
        yield from _in_streams(events_of(recorded), events_of(live))
    elif type_of(recorded).endswith("json"):
        before, after = ([_parsed(content_of(answer))] for answer in (recorded, live))
        yield from _in_models(before, after)
        yield from Structure(before).changes(Structure(after), "body")


def _in_streams(before: list[Event], after: list[Event]) -> Iterator[Change]:
    old, new = _by_type(before), _by_type(after)
    yield from _in_models(*([value for values in found.values() for value in values] for found in (old, new)))
    if _UNREADABLE in new and _UNREADABLE not in old:
        yield Change("error", "events", "have data that is no JSON")
    yield from in_names("events[", "]", old, new)
    if [name for name in old if name in new] != [name for name in new if name in old]:
        yield Change("warning", "events", "begin in another order")
    for name in old:
        if name in new:
            yield from Structure(old[name]).changes(Structure(new[name]), f"events[{named(name)}]")


def _by_type(events: list[Event]) -> dict[str, list[Any]]:
    """Their data by their type, in the order in which each type first came."""
    found: dict[str, list[Any]] = {}
    for event in events:
        value = event.data if event.data.startswith("[DONE]") else _parsed(event.data.encode())
        found.setdefault(_type_of(event, value), []).append(value)
    return found


_UNREADABLE: Final = "unreadable"


def _type_of(event: Event, value: object) -> str:
    if isinstance(value, _NoJson):
        return _UNREADABLE
    names = (as_object(value).get("type"), event.name, as_object(value).get("object"))
    known = next((name for name in names if isinstance(name, str) and name), "data")
    return "[DONE]" if value is event.data else known


class _NoJson:
    """In the place of what cannot be parsed."""


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _NoJson()
