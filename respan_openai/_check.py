"""Checks compiled from annotations: what a parameter may hold is written once, where its type is.

1. A check takes a value and its place, and answers with a fresh copy made of plain JSON types, or raises
   ``ParamsError``. What the caller changes afterwards changes nothing.
2. A message names the place, the type found and what is accepted. It never holds a string that was passed as
   a value, because any of them may be a credential; numbers may be shown.
3. A place is a linked tuple and becomes text only for an error: most values are right.

A ``Checker`` is a table from the JSON kind of a value (``str``, ``int``, ``float``, ``bool``, ``list``,
``dict`` or ``NoneType``) to the check for it, so a union is two tables laid together.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Required, TypeAlias, Union, get_args, get_origin

from typing_extensions import get_type_hints, is_typeddict

from ._warn import warn
from ._wire import ENCODER
from .exceptions import ParamsError


Place: TypeAlias = "str | tuple[Place, str | int]"
Check: TypeAlias = Callable[[Any, Place], Any]

DEEPEST: Final = 64  # levels of lists and dicts inside one value
MOST_VALUES: Final = 100_000  # values inside one value: a shared list, nested 40 times, would be 2**40
LARGEST_INTEGER_BITS: Final = 1024  # the range of a double, which is all that many JSON readers have

_MISMATCH: Final = object()
# What keys look like: a usual prefix, or 32 letters and digits in a row. Model and provider names do not.
_KEY_LIKE: Final = r"(sk|rk|pk|gsk|xai|key)[-_]|AIza|AKIA|eyJ|Bearer |[A-Za-z0-9.]{32}"


# ---------------------------------------------------------------------------------------------- messages


def fail(place: Place, problem: str) -> ParamsError:
    """The error for *place*; *problem* continues the sentence that begins with its name."""
    path = show(place)
    return ParamsError(f"`{path}` {problem}", param=path)


def show(place: Place) -> str:
    """*place* as a path: ``load_balance_group.models[0].weight``."""
    if isinstance(place, str):
        return shown(place)
    outer, key = place
    if isinstance(key, int):
        return f"{show(outer)}[{key}]"
    return f"{show(outer)}.{shown(key)}" if outer else shown(key)


def shown(name: str) -> str:
    """*name* in one printable line of at most 60 characters; what looks like a secret is cut to 3.

    Someone who swaps model and key in ``customer_api_keys`` would otherwise find the key in a log.
    """
    if re.match(_KEY_LIKE, name):
        return f"{name[:3]}…"
    text = repr(name)[1:-1].encode("ascii", "backslashreplace").decode("ascii")
    return text if len(text) <= 60 else f"{text[:60]}…"


def unknown(place: Place, name: str, known: Sequence[str]) -> ParamsError:
    """The error for a key of a shape that has the keys *known*."""
    near = nearest(name, known)
    problem = f"is not known; did you mean `{near}`?" if near else "is not known."
    return fail(place, f"{problem} Accepted are {', '.join(sorted(known))}.")


def nearest(name: object, known: Sequence[str], likeness: float = 0.6) -> str | None:
    """The one of *known* that is most like *name*, if any is at least *likeness* (0 to 1) like it."""
    import difflib

    if not isinstance(name, str):
        return None
    return next(iter(difflib.get_close_matches(name[:60], known, n=1, cutoff=likeness)), None)


# Found type, accepted kind (None: any) and what to do; the first row that fits speaks.
_ADVICE: Final[tuple[tuple[Any, type | None, str], ...]] = (
    (bool, int, "True and False are not numbers here"),
    (type(None), None, "leave it out instead"),
    (str, list, "put it into a list: [value]"),
    (str, dict, "pass the dict itself"),
    (str, float, "convert it with float()"),
    (str, int, "convert it with int()"),
    ((bytes, bytearray, memoryview), str, "decode it first, for example bytes(value).decode()"),
    ((set, frozenset), list, "pass sorted(value)"),
    (object, str, "convert it with str()"),
)


def _wrong(place: Place, value: object, accepts: str, kinds: Mapping[type, object]) -> ParamsError:
    if kind_of(value) in kinds:
        return fail(place, f"must be {accepts}; got something else of type {type(value).__name__}.")
    rows = (text for found, kind, text in _ADVICE if isinstance(value, found) and (not kind or kind in kinds))
    advice = next(rows, None)
    return fail(
        place, f"must be {accepts}; got {type(value).__name__}" + (f" ({advice})." if advice else ".")
    )


# ---------------------------------------------------------------------------------------------- limits


class Limit:
    """What a type alone does not say; stands in ``Annotated``.

    Speaks of values of *kinds*, others pass; with *before* it sees the value as it was passed, not the copy.
    """

    __slots__ = ("apply", "before", "kinds")

    def __init__(self, kinds: tuple[type, ...], apply: Check, *, before: bool = False) -> None:
        self.kinds = kinds
        self.apply = apply
        self.before = before


# Stands in ``Annotated`` beside a TypedDict in which other keys pass, unless they nearly are one of its own.
OPEN: Final = object()

_NUMBERS: Final = (int, float)


def at_least(least: float) -> Limit:
    """A number of *least* or more."""

    def apply(value: float, place: Place) -> float:
        if value < least:
            raise fail(place, f"must be at least {least}; got {value}.")
        return value

    return Limit(_NUMBERS, apply)


def more_than(bound: float) -> Limit:
    """A number greater than *bound*."""

    def apply(value: float, place: Place) -> float:
        if value <= bound:
            raise fail(place, f"must be more than {bound}; got {value}.")
        return value

    return Limit(_NUMBERS, apply)


def at_most(most: float) -> Limit:
    """A number of *most* or less."""

    def apply(value: float, place: Place) -> float:
        if value > most:
            raise fail(place, f"must be at most {most}; got {value}.")
        return value

    return Limit(_NUMBERS, apply)


def one_line(*, empty: bool = True) -> Limit:
    """A string without CR, LF and NUL: it names something, and may end up in a header, a URL or a log."""

    def apply(value: str, place: Place) -> str:
        if not value and not empty:
            raise fail(place, "must not be empty.")
        if not value.isprintable() and any(char in value for char in "\r\n\0"):
            raise fail(place, "must not hold a line break or NUL; remove it, for example with .strip().")
        return value

    return Limit((str,), apply)


def cut(most: int) -> Limit:
    """A string of which the gateway keeps *most* characters; the rest is cut here, with a warning."""

    def apply(value: str, place: Place) -> str:
        if len(value) > most:
            warn(
                f"`{show(place)}` has {len(value)} characters; the gateway keeps {most}, so the rest was "
                "cut. Values that begin alike become one: pass something shorter."
            )
        return value[:most]

    return Limit((str,), apply)


def capped(most: int) -> Limit:
    """A list without repetitions, of which the first *most* items are kept, with a warning."""

    def apply(value: list[Any], place: Place) -> list[Any]:
        kept = list(dict.fromkeys(value))
        if len(kept) > most:
            left = len(kept) - most
            warn(f"`{show(place)}`: only the first {most} are tried, so the last {left} were left out.")
        return kept[:most]

    return Limit((list,), apply)


def within(most: int) -> Limit:
    """A value whose JSON text has at most *most* characters."""

    def apply(value: Any, place: Place) -> Any:
        size = len(ENCODER.encode(value))
        if size > most:
            raise fail(place, f"has {size} characters as JSON; at most {most} are accepted.")
        return value

    return Limit((list, dict), apply)


def obeys(rule: Callable[[Any, Place], None], *, before: bool = False) -> Limit:
    """A value for which *rule* does not raise."""

    def apply(value: Any, place: Place) -> Any:
        rule(value, place)
        return value

    return Limit((str, int, float, list, dict), apply, before=before)


# ---------------------------------------------------------------------------------------------- scalars


def _string(value: str, place: Place) -> str:
    text = value if type(value) is str else str.__str__(value)
    if not text.isascii() and _has_lone_surrogate(text):
        raise fail(place, "holds half a surrogate pair, which UTF-8 cannot carry; decode the text properly.")
    return text


def _has_lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _integer(value: int, place: Place) -> int:
    if value.bit_length() > LARGEST_INTEGER_BITS:
        raise fail(place, "is an integer that JSON readers cannot hold; pass it as a string.")
    return int.__index__(value)


def _number(value: float, place: Place) -> float:
    if not math.isfinite(value):
        raise fail(place, "must be finite: JSON has no NaN and no infinity.")
    return float.__float__(value)


def _same(value: Any, _: Place) -> Any:
    return value


_BASES: Final[tuple[tuple[type, type], ...]] = (
    (bool, bool),
    (str, str),
    (int, int),
    (float, float),
    (list, list),
    (tuple, list),
    (Mapping, dict),
    (type(None), type(None)),
)


def kind_of(value: object) -> type | None:
    """The JSON kind of *value*, or ``None`` if it is not JSON: a tuple is a list, a subclass its base."""
    if type(value) in _JSON_KINDS:
        return type(value)
    return next((kind for base, kind in _BASES if isinstance(value, base)), None)


_SCALARS: Final[dict[type, Check]] = {
    str: _string,
    int: _integer,
    float: _number,
    bool: _same,
    type(None): _same,
}


# ---------------------------------------------------------------------------------------------- any JSON


class _Copy:
    """One walk over one JSON value; counts what it copies and knows which containers it is inside of."""

    __slots__ = ("_inside", "_left")

    def __init__(self) -> None:
        self._inside: set[int] = set()
        self._left = MOST_VALUES

    def value(self, value: Any, place: Place) -> Any:
        kind = kind_of(value)
        if kind is list or kind is dict:
            return self._container(value, kind, place)
        if kind is None:
            raise _wrong(place, value, "a JSON value", _JSON_KINDS)
        return _SCALARS[kind](value, place)

    def _container(self, value: Any, kind: type, place: Place) -> Any:
        self._enter(value, place)
        copy: Any
        if kind is dict:
            copy = {_key(key, place): self.value(item, (place, key)) for key, item in value.items()}
        else:
            copy = [self.value(item, (place, index)) for index, item in enumerate(value)]
        self._inside.remove(id(value))
        return copy

    def _enter(self, value: Any, place: Place) -> None:
        if id(value) in self._inside:
            raise fail(place, "holds itself; JSON cannot say that.")
        if len(self._inside) >= DEEPEST:
            raise fail(_top(place), f"is nested deeper than {DEEPEST} levels.")
        self._left -= len(value)
        if self._left < 0:
            raise fail(_top(place), f"holds more than {MOST_VALUES} values.")
        self._inside.add(id(value))


def _top(place: Place) -> Place:
    # A path of 64 keys helps nobody.
    while isinstance(place, tuple) and isinstance(place[0], tuple):
        place = place[0]
    return place


def _key(key: object, place: Place) -> str:
    if not isinstance(key, str):
        raise fail(place, f"must have strings as keys; got {type(key).__name__} (convert it with str()).")
    return _string(key, (place, key))


def _json(value: Any, place: Place) -> Any:
    return _Copy().value(value, place)


_JSON_KINDS: Final[dict[type, Check]] = {kind: _json for _, kind in _BASES}


# ---------------------------------------------------------------------------------------------- checkers


class Checker:
    """A compiled annotation: call it with a value and its place."""

    __slots__ = ("accepts", "by_kind")

    def __init__(self, accepts: str, by_kind: Mapping[type, Check]) -> None:
        self.accepts = accepts
        self.by_kind = by_kind

    def __call__(self, value: object, place: Place) -> Any:
        check = self.by_kind.get(type(value)) or self._for_subclass(value)
        copy = check(value, place) if check else _MISMATCH
        if copy is _MISMATCH:
            raise _wrong(place, value, self.accepts, self.by_kind)
        return copy

    def _for_subclass(self, value: Any) -> Check | None:
        kind = kind_of(value)
        return None if kind is None else self.by_kind.get(kind)


class Shape:
    """The check for one TypedDict. A key whose value is ``None`` counts as left out."""

    def __init__(self, hint: Any, *, is_open: bool = False) -> None:
        self.fields = {
            name: compile_hint(field) for name, field in get_type_hints(hint, include_extras=True).items()
        }
        self.required: frozenset[str] = hint.__required_keys__
        self.is_open = is_open

    def __call__(self, value: Mapping[Any, Any], place: Place) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for key, item in value.items():
            name = _key(key, place)
            field = self._field(name, place)
            if item is not None:
                copy[name] = field(item, (place, name))
        missing = self.required - copy.keys()
        if missing:
            raise fail(place, f"lacks {' and '.join(f'`{name}`' for name in sorted(missing))}; add it.")
        return copy

    def _field(self, name: str, place: Place) -> Check:
        field = self.fields.get(name)
        if field:
            return field
        if self.is_open and nearest(name, list(self.fields), 0.85) is None:
            return _json
        raise unknown((place, name), name, list(self.fields))


class Shapes:
    """The check for one of several TypedDicts: told apart by ``_type``, else by the most keys in common."""

    def __init__(self, members: Sequence[Shape]) -> None:
        self.members = members
        self.tags = {_tag(shape): shape for shape in members if "_type" in shape.fields}

    def __call__(self, value: Mapping[Any, Any], place: Place) -> dict[str, Any]:
        if self.tags:
            return self._tagged(value, place)(value, place)
        return max(self.members, key=lambda shape: len(shape.fields.keys() & value.keys()))(value, place)

    def _tagged(self, value: Mapping[Any, Any], place: Place) -> Shape:
        tag = value.get("_type")
        if isinstance(tag, str) and tag in self.tags:
            return self.tags[tag]
        tags = ", ".join(f'"{name}"' for name in self.tags)
        plain = '{"_type": "json", "value": {…}}'
        raise fail(place, f"is a dict and needs a `_type`, one of {tags}; plain data is {plain}.")


def _tag(shape: Shape) -> str:
    return shape.fields["_type"].accepts.strip('"')


# ---------------------------------------------------------------------------------------------- compiling


def compile_hint(hint: Any) -> Checker:
    """The checker for an annotation: scalars, Literal, TypedDict, Sequence, Mapping, unions, Annotated."""
    if is_typeddict(hint):
        return Checker("a dict", {dict: Shape(hint)})
    build = _BUILDERS.get(get_origin(hint))
    return build(*get_args(hint)) if build else _LEAVES[hint]


_LEAVES: Final[dict[Any, Checker]] = {
    str: Checker("a string", {str: _string}),
    int: Checker("an integer", {int: _integer}),
    float: Checker("a number", {int: _integer, float: _number}),
    bool: Checker("True or False", {bool: _same}),
    type(None): Checker("None", {type(None): _same}),
    object: Checker("a JSON value", _JSON_KINDS),
}


def _annotated(hint: Any, *markers: Any) -> Checker:
    if OPEN in markers:
        return Checker("a dict", {dict: Shape(hint, is_open=True)})
    base = compile_hint(hint)
    return Checker(
        base.accepts, {kind: _limited(check, kind, markers) for kind, check in base.by_kind.items()}
    )


def _limited(check: Check, kind: type, limits: Sequence[Limit]) -> Check:
    for limit in limits:
        if kind in limit.kinds:
            check = _then(limit.apply, check) if limit.before else _then(check, limit.apply)
    return check


def _then(first: Check, second: Check) -> Check:
    return lambda value, place: second(first(value, place), place)


def _either(*hints: Any) -> Checker:
    checkers = [compile_hint(hint) for hint in hints]
    by_kind: dict[type, Check] = {}
    for checker in checkers:
        by_kind.update(checker.by_kind)
    shapes = [found for checker in checkers if isinstance(found := checker.by_kind.get(dict), Shape)]
    if len(shapes) > 1:
        by_kind[dict] = Shapes(shapes)
    return Checker(_or([checker.accepts for checker in checkers]), by_kind)


def _literal(*options: Any) -> Checker:
    def check(value: Any, _: Place) -> Any:
        return next((option for option in options if option == value), _MISMATCH)

    accepts = _or([f'"{option}"' if isinstance(option, str) else str(option) for option in options])
    kinds: set[type] = {type(option) for option in options}
    return Checker(accepts, dict.fromkeys(kinds, check))


def _sequence(hint: Any) -> Checker:
    if hint is object:
        return Checker("a list", {list: _json})
    item = compile_hint(hint)

    def check(value: Sequence[Any], place: Place) -> list[Any]:
        return [item(entry, (place, index)) for index, entry in enumerate(value)]

    return Checker("a list", {list: check})


def _mapping(key_hint: Any, hint: Any) -> Checker:
    if hint is object:
        return Checker("a dict", {dict: _json})
    name, item = compile_hint(key_hint), compile_hint(hint)

    def check(value: Mapping[Any, Any], place: Place) -> dict[str, Any]:
        return {
            name(_key(key, place), (place, key)): item(entry, (place, key)) for key, entry in value.items()
        }

    return Checker("a dict", {dict: check})


def _or(options: Sequence[str]) -> str:
    *most, last = dict.fromkeys(options)
    return f"{', '.join(most)} or {last}" if most else last


_BUILDERS: Final[dict[Any, Callable[..., Checker]]] = {
    Annotated: _annotated,
    Literal: _literal,
    Mapping: _mapping,
    Required: compile_hint,
    Sequence: _sequence,
    Union: _either,
    types.UnionType: _either,
}
