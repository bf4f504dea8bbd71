"""What the fields of a frozen value may hold, as a table that is checked when the value is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple, cast

from .exceptions import ConfigError


__all__ = [
    "FLAG",
    "Accepts",
    "above_zero",
    "an_instance",
    "check",
    "list_of",
    "one_of",
    "or_none",
    "seconds",
    "whole",
]


_DAY: Final = 86_400


class Accepts(NamedTuple):
    """What a field may hold: in words, and as a test."""

    words: str
    holds: Callable[[object], bool]


def check(owner: object, table: Mapping[str, Accepts]) -> None:
    """Compare the fields of *owner* with *table*.

    Raises:
        ConfigError: for the first that holds anything else; it names the field and says what is accepted.
    """
    for field, accepts in table.items():
        value = getattr(owner, field)
        if not accepts.holds(value):
            raise ConfigError(
                f"{type(owner).__name__}: `{field}` is {_shown(value)}; it must be {accepts.words}."
            )


def _shown(value: object) -> str:
    """Numbers as they are, anything else by its type: a misplaced string may be a key."""
    if value is None or isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= 64):
        return repr(value)
    return f"of type {type(value).__name__}"


def whole(low: int, high: int | None = None) -> Accepts:
    """An integer that is no bool, with its bounds."""

    def holds(value: object) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return low <= value and (high is None or value <= high)

    return Accepts(f"a whole number from {low}" + ("" if high is None else f" to {high}"), holds)


# The comparisons below also turn away nan, infinity and whole numbers too large for a float.


def seconds(low: float, high: float = _DAY) -> Accepts:
    """A time with its bounds, a day at most by default."""

    def holds(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

    return Accepts(f"a number of seconds from {low:g} to {high:g}", holds)


def above_zero(high: float = math.inf, unit: str = "", *, reached: bool = True) -> Accepts:
    """A number above 0 up to *high*, which is accepted itself if it is *reached* and not infinite."""

    def holds(value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return 0 < value < high or (reached and value == high < math.inf)

    bound = "" if high == math.inf else f" and {'at most' if reached else 'below'} {high:g}"
    return Accepts(f"a number{unit} above 0{bound}", holds)


def or_none(accepts: Accepts, meaning: str = "") -> Accepts:
    """The same, or ``None``, which has a *meaning*."""

    def holds(value: object) -> bool:
        return value is None or accepts.holds(value)

    return Accepts(f"{accepts.words}, or None{meaning and ' for '}{meaning}", holds)


def one_of(*words: object) -> Accepts:
    """One of *words*, of the same type."""

    def holds(value: object) -> bool:
        return any(type(value) is type(word) and value == word for word in words)

    return Accepts(" or ".join(repr(word) for word in words), holds)


def an_instance(kind: type, words: str) -> Accepts:
    """A *kind*, which is called *words*."""

    def holds(value: object) -> bool:
        return isinstance(value, kind)

    return Accepts(words, holds)


def list_of(kind: type, words: str) -> Accepts:
    """A collection of *kind*, which is called *words*; no string and no mapping."""

    def holds(value: object) -> bool:
        is_one = isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)
        return is_one and all(isinstance(item, kind) for item in cast("Collection[object]", value))

    return Accepts(words, holds)


FLAG: Final = one_of(True, False)
