"""What differs between two questions, place by place.

1. Items of lists are aligned: one that was inserted does not make all later ones differ.
2. The work is bounded (``_edits.MOST_WORK``): where it ends, a value counts as changed as a whole.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise, zip_longest
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from ._edits import Run, Work, aligned, common
from ._paths import BODY, Wild, written
from ._shown import label, printable, shown
from ._words import reworded
from .rules import Rules, canonical


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._paths import Path
    from .recording import Question


__all__ = ["Difference", "differences", "likeness", "text_of"]


#: Characters of canonical text that cost as much as comparing two words.
_CHARACTERS: Final = 100

#: Pairs of items, in one gap between equal ones, that are tried for which are alike.
_MOST_PAIRS: Final = 100

#: Likeness from which two items count as one that was changed.
_ALIKE: Final = 0.3

#: Words that are looked at to tell how alike two values are.
_MOST_WORDS: Final = 5_000


class Difference(NamedTuple):
    """One place where two questions differ.

    Attributes:
        path: In the question that was asked; for what is ``removed``, in the recorded one.
        kind: ``removed`` is what only the recorded question has, ``added`` what only the asked one has.
        recorded: ``None`` for what is added.
        asked: ``None`` for what is removed.
        rule: The path by which a rule would ignore it in both; ``None`` if there is none.
        note: For readers; empty if there is nothing to say.
    """

    path: str
    kind: Literal["changed", "added", "removed"]
    recorded: Any
    asked: Any
    rule: str | None
    note: str = ""


def differences(
    recorded: Question, asked: Question, rules: Rules | None = None, work: Work | None = None
) -> list[Difference]:
    """What differs under *rules*, in the order of the recorded question; empty if they are the same.

    *work* is what it may cost; by default, as much as is bearable while somebody waits for the message.
    """
    rules = Rules() if rules is None else rules
    old, new = rules.compared(recorded), rules.compared(asked)
    pairs = zip(("method", "path", "kind of body"), old.request, new.request, strict=True)
    found = [Difference(f"({name})", "changed", left, right, None) for name, left, right in pairs if left != right]
    return [*found, *_Comparison(Work() if work is None else work).of(_Place((), ()), old.tree, new.tree)]


class _Place(NamedTuple):
    """Where a value is in the asked question, and the path that leads to it in both."""

    path: Path
    rule: Path

    def field(self, name: str) -> _Place:
        return _Place((*self.path, name), (*self.rule, name))

    def item(self, old: int, new: int) -> _Place:
        return _Place((*self.path, new), (*self.rule, new if old == new else Wild.EACH))


class _Comparison:
    def __init__(self, work: Work) -> None:
        self._work = work

    def of(self, place: _Place, old: Any, new: Any) -> Iterator[Difference]:
        """What differs at *place* and below."""
        if not self._work.spend(1):
            yield from self._as_a_whole(place, old, new)
        elif isinstance(old, dict) and isinstance(new, dict):
            yield from self._fields(place, cast("dict[str, Any]", old), cast("dict[str, Any]", new))
        elif isinstance(old, list) and isinstance(new, list):
            yield from self._items(place, cast("list[Any]", old), cast("list[Any]", new))
        elif type(old) is not type(new) or old != new:
            yield _changed(place, old, new)

    def _as_a_whole(self, place: _Place, old: Any, new: Any) -> Iterator[Difference]:
        if canonical(old) != canonical(new):
            yield _changed(place, old, new, "(too large to be compared closely)")

    def _fields(self, place: _Place, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Difference]:
        for name in {**old, **new}:
            inner = place.field(name)
            if name not in new:
                yield Difference(_text(inner.path), "removed", old[name], None, _text(inner.rule))
            elif name not in old:
                yield Difference(_text(inner.path), "added", None, new[name], _text(inner.rule))
            else:
                yield from self.of(inner, old[name], new[name])

    def _items(self, place: _Place, old: list[Any], new: list[Any]) -> Iterator[Difference]:
        if place.path in {(), (BODY,)} and not old and not new:
            return
        pairs = list(self._pairs(old, new))
        gone = [left for left, right in pairs if right is None]
        come = [right for left, right in pairs if left is None]
        for left, right in pairs:
            if left is not None and right is not None:
                yield from self.of(place.item(left, right), old[left], new[right])
            elif left is not None:
                path = _text((*place.path, left))
                yield Difference(path, "removed", old[left], None, None, _note("removed", left, gone, pairs))
            elif right is not None:
                path = _text((*place.path, right))
                yield Difference(path, "added", None, new[right], None, _note("inserted", right, come, pairs))

    def _pairs(self, old: list[Any], new: list[Any]) -> Iterator[tuple[int | None, int | None]]:
        """Places of items that belong together; equal ones are left out."""
        texts = [[canonical(item) for item in items] for items in (old, new)]
        self._work.spend(sum(map(len, texts[0] + texts[1])) // _CHARACTERS)
        runs = common(texts[0], texts[1], self._work)
        if runs is None:
            yield from zip_longest(range(len(old)), range(len(new)))
            return
        for before, run in pairwise([Run(0, 0, 0), *runs]):
            lefts = range(before.old_at + before.size, run.old_at)
            rights = range(before.new_at + before.size, run.new_at)
            yield from self._gap(old, new, lefts, rights)

    def _gap(self, old: list[Any], new: list[Any], lefts: range, rights: range) -> Iterator[tuple[int | None, int | None]]:
        ...
