"""The recording that a question was probably meant to find."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from .difference import differences, likeness


if TYPE_CHECKING:
    from collections.abc import Iterator

    from .difference import Difference
    from .match import Held, Miss
    from .recording import Question


__all__ = ["Closest", "closest"]


#: Recordings that are compared; of more, the first ones.
MOST_CANDIDATES: Final = 50


class Closest(NamedTuple):
    """A recording, and what keeps it from answering.

    Attributes:
        held: The recording.
        likeness: From 0 to 1.
        differences: Empty if it is the same, but used up.
        is_elsewhere: Whether it has another method or path, so that the differences say nothing.
    """

    held: Held
    likeness: float
    differences: tuple[Difference, ...]
    is_elsewhere: bool = False


def closest(miss: Miss, question: Question) -> Closest | None:
    """The recording that is most like *question*; ``None`` if none has its method and path.

    Of equally good ones it is the first unused; for a question out of order, the one whose turn it is.
    """
    if miss.expected is not None:
        return _closest(miss, question, miss.expected)
    near = islice(_candidates(miss, question), MOST_CANDIDATES)
    best = max(near, key=lambda each: (each[1], not each[0].is_used), default=None)
    return None if best is None else _closest(miss, question, best[0])


def _candidates(miss: Miss, question: Question) -> Iterator[tuple[Held, float]]:
    rules = miss.library.rules
    request, tree = rules.compared(question)
    for held in miss.library.holds():
        other = rules.compared(held.recorded.question)
        if other.request[:2] == request[:2]:
            yield held, likeness(other.tree, tree)


def _closest(miss: Miss, question: Question, held: Held) -> Closest:
    rules, recorded = miss.library.rules, held.recorded.question
    old, new = rules.compared(recorded), rules.compared(question)
    is_elsewhere = old.request[:2] != new.request[:2]
    found = tuple(differences(recorded, question, rules))
    return Closest(held, likeness(old.tree, new.tree), found, is_elsewhere)
