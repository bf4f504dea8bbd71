"""What differs between two questions, place by place.

1. Items of lists are aligned: one that was inserted does not make all later ones differ.
2. Two texts are compared word by word.
3. The work is bounded: no more than ``MOST_WORK`` pairs of words, items and fields are compared, and once
   that is spent a value counts as changed as a whole. All else is linear in the size of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from .._core.plain import is_list, is_object
from ._alignment import likeness, paired
from ._edits import MOST_WORK, Work
from ._paths import Wild, written
from ._plain import canonical
from ._shown import label, printable, shown
from ._words import reworded
from .rules import Rules


if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._paths import Path
    from .recording import Question


__all__ = ["MOST_WORK", "Difference", "differences", "likeness", "text_of"]


#: Characters up to which a text without spaces is shown whole rather than word by word.
_SHORT: Final = 60


class Difference(NamedTuple):
    """One place where two questions differ.

    Attributes:
        path: In the question that was asked; for what is ``removed``, in the recorded one.
        kind: ``removed`` is what only the recorded question has, ``added`` what only the asked one has.
        recorded: ``None`` for what is added.
        asked: ``None`` for what is removed.
        rule: The path by which a rule ignores it in both; ``None`` if there is none.
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

    *work* is what it may cost, by default ``MOST_WORK``; it is spent.
    """
    rules = Rules() if rules is None else rules
    old, new = rules.compared(recorded), rules.compared(asked)
    pairs = zip(("method", "path", "kind of body"), old.request, new.request, strict=True)
    found = [
        Difference(f"({name})", "changed", left, right, None) for name, left, right in pairs if left != right
    ]
    comparison = _Comparison(Work() if work is None else work)
    return [*found, *comparison.fields(_Place((), ()), old.tree, new.tree)]


class _Place(NamedTuple):
    """Where a value is in the asked question, and a path that leads there in both."""

    path: Path
    rule: Path

    def field(self, name: str) -> _Place:
        return _Place((*self.path, name), (*self.rule, name))

    def item(self, old: int, new: int) -> _Place:
        return _Place((*self.path, new), (*self.rule, new if old == new else Wild.EACH))

    def changed(self, old: Any, new: Any, note: str = "") -> Difference:
        return Difference(written(self.path), "changed", old, new, written(self.rule), note)

    def lost(self, old: Any) -> Difference:
        return Difference(written(self.path), "removed", old, None, written(self.rule))

    def gained(self, new: Any) -> Difference:
        return Difference(written(self.path), "added", None, new, written(self.rule))


class _Comparison:
    def __init__(self, work: Work) -> None:
        self._work = work

    def of(self, place: _Place, old: Any, new: Any) -> Iterator[Difference]:
        """What differs at *place* and below."""
        if not self._work.spend(1):
            yield from self._as_a_whole(place, old, new)
        elif is_object(old) and is_object(new):
            yield from self.fields(place, old, new)
        elif is_list(old) and is_list(new):
            yield from self._items(place, old, new)
        elif type(old) is not type(new) or old != new:  # True is equal to 1
            yield place.changed(old, new)

    def _as_a_whole(self, place: _Place, old: Any, new: Any) -> Iterator[Difference]:
        if canonical(old) != canonical(new):
            yield place.changed(old, new, "(too large to be compared closely)")

    def fields(self, place: _Place, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Difference]:
        """What differs in the fields of two objects."""
        for name in {**old, **new}:
            inner = place.field(name)
            if name not in new:
                yield inner.lost(old[name])
            elif name not in old:
                yield inner.gained(new[name])
            else:
                yield from self.of(inner, old[name], new[name])

    def _items(self, place: _Place, old: list[Any], new: list[Any]) -> Iterator[Difference]:
        for left, right in paired(old, new, self._work):
            if left is not None and right is not None:
                yield from self.of(place.item(left, right), old[left], new[right])
            elif left is not None:
                note = _note("removed", place.path, left + 1 < len(old))
                yield place.item(left, left).lost(old[left])._replace(rule=None, note=note)
            else:
                right = cast("int", right)
                note = _note("inserted", place.path, right + 1 < len(new))
                yield place.item(right, right).gained(new[right])._replace(rule=None, note=note)


def _note(what: str, path: Path, is_within: bool) -> str:
    name = printable(str(path[-1])) if path else ""
    return f"({what}; later {name} line up)" if is_within and name.isidentifier() else f"({what})"


# -- for people


def text_of(difference: Difference, work: Work | None = None) -> str:
    """What *difference* is, in one line of unbounded length: the change itself, without the place.

    ``0.2 → 0.3``; ``{+"role": "user", "content": "hi"+}``; ``…196 words… Today is [-Monday-]{+Tuesday+}.``
    """
    old, new = difference.recorded, difference.asked
    if difference.kind == "added":
        return f"{{+{_bare(new)}+}}"
    if difference.kind == "removed":
        return f"[-{_bare(old)}-]"
    if _are_prose(old, new):
        return printable(reworded(old, new, Work() if work is None else work))
    return f"{_value(old)} → {_value(new)}"


def _are_prose(old: Any, new: Any) -> bool:
    texts = isinstance(old, str) and isinstance(new, str) and not (label(old) or label(new))
    return texts and (len(old) + len(new) > 2 * _SHORT or " " in old + new)


def _bare(value: Any) -> str:
    text = _value(value)
    return text[1:-1] if is_object(value) and value else text


def _value(value: Any) -> str:
    return (label(value) if isinstance(value, str) else None) or shown(value)
