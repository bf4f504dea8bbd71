"""Rules that would ignore what differs from run to run anyway: dates, identifiers, counters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ._edits import Work
from ._words import MOST_CHARACTERS, pieces


if TYPE_CHECKING:
    from collections.abc import Iterable

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
    """Rules for what in *differences* looks like noise, as narrow as can be; at most four.

    None for what may be meant: a parameter, a word, a message more or less. The work is bounded.
    """
    work = Work()
    rules: dict[str, None] = {}
    for difference in differences:
        rule = _rule(difference, work)
        if rule is not None and len(rules) < _MOST_RULES:
            rules[rule] = None
    return [*rules]


def _rule(difference: Difference, work: Work) -> str | None:
    if difference.rule is None:
        return None
    pattern = _pattern(difference.recorded, difference.asked, work)
    if pattern is not None:
        return f"{difference.rule} ~ {pattern}"
    return difference.rule if _LABELS.fullmatch(difference.rule) else None


def _pattern(old: object, new: object, work: Work) -> str | None:
    """What finds all that differs in two texts, and leaves the same of both."""
    if not isinstance(old, str) or not isinstance(new, str) or len(old) + len(new) > MOST_CHARACTERS:
        return None
    changes = [piece for piece in pieces(old, new, work) if not piece.is_same]
    shapes = {_shape(piece.old, piece.new): None for piece in changes}
    pattern = "|".join(filter(None, shapes))
    is_noise = None not in shapes and re.sub(pattern, "", old) == re.sub(pattern, "", new)
    return pattern if is_noise else None


def _shape(old: str, new: str) -> str | None:
    for shape in _SHAPES:
        if shape.fullmatch(old) and shape.fullmatch(new):
            return shape.pattern
    left, right = _MARKED.fullmatch(old), _MARKED.fullmatch(new)
    return f"{re.escape(left[1])}[A-Za-z0-9]+" if left and right and left[1] == right[1] else None
