"""Which items of two lists belong together, and how alike two values are."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._core.plain import is_list, is_object
from ._edits import Run, aligned, common
from ._plain import canonical


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._edits import Work


__all__ = ["Pair", "likeness", "paired"]


#: Characters of canonical text that cost as much as comparing two words.
_CHARACTERS: Final = 100

#: Pairs of items between two equal ones that are tried for which are alike; beyond, they are taken in order.
_MOST_PAIRS: Final = 100

#: Likeness from which two items count as one that was changed.
_ALIKE: Final = 0.3

#: Words, and characters of one text, by which is told how alike two values are.
_MOST_WORDS: Final = 5_000
_MOST_CHARACTERS: Final = 50_000


class Pair(NamedTuple):
    """Places in two lists; ``None`` where the item has no counterpart."""

    old: int | None
    new: int | None


def paired(old: Sequence[Any], new: Sequence[Any], work: Work) -> list[Pair]:
    """The items that are not equal to their counterparts, in order; what is in no pair is.

    Equal items are aligned so that as few as possible are left over; of those, the ones that are alike belong
    together, and then as many as stand in the same place. Without any work left, items belong together in
    order.
    """
    texts = [canonical(item) for item in old], [canonical(item) for item in new]
    work.spend(sum(map(len, [*texts[0], *texts[1]])) // _CHARACTERS)
    runs = common(*texts, work)
    if runs is None:
        return _in_order(range(len(old)), range(len(new)))
    gaps = (
        (range(before.old_at + before.size, run.old_at), range(before.new_at + before.size, run.new_at))
        for before, run in pairwise([Run(0, 0, 0), *runs])
    )
    return [pair for lefts, rights in gaps for pair in _in_gap(old, new, lefts, rights, work)]


def _in_order(lefts: range, rights: range) -> list[Pair]:
    return [Pair(*places) for places in zip_longest(lefts, rights)]


def _in_gap(
    old: Sequence[Any], new: Sequence[Any], lefts: range, rights: range, work: Work
) -> Iterator[Pair]:
    if len(lefts) * len(rights) > _MOST_PAIRS:
        yield from _in_order(lefts, rights)
        return
    bags = [_bag(old[at]) for at in lefts], [_bag(new[at]) for at in rights]
    work.spend(sum(bag.total() for side in bags for bag in side))
    found = aligned(len(lefts), len(rights), lambda left, right: _likely(bags[0][left], bags[1][right]))
    done = -1, -1
    for pair in [*found, (len(lefts), len(rights))]:
        yield from _between(lefts[done[0] + 1 : pair[0]], rights[done[1] + 1 : pair[1]])
        done = pair
        if pair in found:
            yield Pair(lefts[pair[0]], rights[pair[1]])


def _between(lefts: range, rights: range) -> list[Pair]:
    if len(lefts) == len(rights):
        return _in_order(lefts, rights)
    return [*(Pair(left, None) for left in lefts), *(Pair(None, right) for right in rights)]


def _likely(old: Counter[Any], new: Counter[Any]) -> float:
    found = _overlap(old, new)
    return found if found >= _ALIKE else 0.0


# -- how alike


def likeness(old: Any, new: Any) -> float:
    """How alike two plain values are, from 0 to 1; 1 only if they are the same.

    It is the share of words that both have in the same field, wherever it is: order and depth do not count.
    Of long values only the first words are looked at.
    """
    if canonical(old) == canonical(new):
        return 1.0
    return min(_overlap(_bag(old), _bag(new)), 0.99)


def _overlap(old: Counter[Any], new: Counter[Any]) -> float:
    total = old.total() + new.total()
    return 2 * (old & new).total() / total if total else 0.0


def _bag(value: Any) -> Counter[tuple[str, str]]:
    """The words of *value*, each with the name of its field."""
    words: list[tuple[str, str]] = []
    rest: list[tuple[str, Any]] = [("", value)]
    while rest and len(words) < _MOST_WORDS:
        name, inner = rest.pop()
        if is_object(inner):
            rest += reversed([*inner.items()])
        elif is_list(inner):
            rest += [(name, item) for item in reversed(inner[:_MOST_WORDS])]
        else:
            words += [(name, word) for word in _words_of(inner)]
    return Counter(words[:_MOST_WORDS])


def _words_of(value: Any) -> list[str]:
    return value[:_MOST_CHARACTERS].split() if isinstance(value, str) else [canonical(value)]
