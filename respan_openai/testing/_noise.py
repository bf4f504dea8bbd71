"""Rules that would ignore what differs from run to run anyway: dates, identifiers, counters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ._edits import Work
from ._words import MOST_CHARACTERS, pieces


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .difference import Difference


__all__ = ["suggested"]


#: What changes from run to run looks like; the first that fits both sides is taken.
_SHAPES: Final = tuple(
    re.compile(shape)
    for shape in (
        r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?",
        r"\d{4}-\d\d-\d\d",
        r"\d\d?[/.]\d\d?[/.]\d{4}",
        r"\d\d?:\d\d(?::\d\d(?:\.\d+)?)?",
        r"\d+(?:\.\d+)*",
        r"[0-9a-f]{8,}",
    )
)

#: ``call_9f2c41ab``: a name, and behind it letters and digits that say nothing.
_MARKED: Final = re.compile(r"((?:[A-Za-z]+[_-])+)(?=[A-Za-z0-9]*\d)[A-Za-z0-9]{4,}")

#: Fields that nothing but a log depends on; without a pattern they are ignored whatever they hold.
_LABELS: Final = re.compile(
    r"(?:metadata|respan\.(?:metadata|properties))(?:[.\[].*)?|user|safety_identifier|prompt_cache_key"
)

_MOST_RULES: Final = 4


def suggested(differences: Iterable[Difference]) -> list[str]:
    """Rules for what in *differences* looks like noise, narrowest first choice, at most four.

    None for what may be meant: a parameter, a word, a message more or less.
    """
    rules = (_rule(difference) for difference in differences)
    return list(dict.fromkeys(rule for rule in rules if rule is not None))[:_MOST_RULES]


def _rule(difference: Difference) -> str | None:
    if difference.rule is None:
        return None
    pattern = _pattern(difference.recorded, difference.asked)
    if pattern is not None:
        return f"{difference.rule} ~ {pattern}"
    return difference.rule if _LABELS.fullmatch(difference.rule) else None


def _pattern(old: object, new: object) -> str | None:
    """What finds all that differs in two texts, and leaves the same of both."""
    if not isinstance(old, str) or not isinstance(new, str) or len(old) + len(new) > MOST_CHARACTERS:
        return None
    shapes = list(_shapes(old, new))
    if None in shapes:
        return None
    pattern = "|".join(dict.fromkeys(shape for shape in shapes if shape is not None))
    return pattern if re.sub(pattern, "", old) == re.sub(pattern, "", new) else None


def _shapes(old: str, new: str) -> Iterator[str | None]:
    for piece in pieces(old, new, Work()):
        if not piece.is_same:
            yield _shape(piece.old, piece.new)


def _shape(old: str, new: str) -> str | None:
    for shape in _SHAPES:
        if shape.fullmatch(old) and shape.fullmatch(new):
            return shape.pattern
    left, right = _MARKED.fullmatch(old), _MARKED.fullmatch(new)
    return f"{re.escape(left[1])}[A-Za-z0-9]+" if left and right and left[1] == right[1] else None
