"""Two tapes side by side: which calls are in one of them only, and what is different in the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ._alignment import paired
from ._answers import content_of
from ._conversation import spoken, title
from ._edits import Work
from .difference import Difference, differences, text_of
from .shapes import changes
from .views import request_dict, view


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .recording import Answer, Recorded


__all__ = ["contrast"]


class _Pair(NamedTuple):
    """Places of a call in both tapes, counted from 0; ``None`` where there is none like it."""

    old: int | None
    new: int | None


def contrast(old: Sequence[Recorded], new: Sequence[Recorded]) -> Iterator[str]:
    """The lines for what is different in *new*; none if nothing is.

    Calls that ask alike are taken for the same one, wherever they stand. When chunks came does not matter.
    """
    for pair in _aligned(old, new):
        if pair.old is not None and pair.new is not None:
            yield from _changed(pair.old, pair.new, old[pair.old], new[pair.new])
        elif pair.old is not None:
            yield f"- {pair.old + 1}. {title(old[pair.old])}"
        elif pair.new is not None:
            yield f"+ {pair.new + 1}. {title(new[pair.new])}"


def _aligned(old: Sequence[Recorded], new: Sequence[Recorded]) -> list[_Pair]:
    before, after = ([request_dict(each.question) for each in tape] for tape in (old, new))
    found = [_Pair(*pair) for pair in paired(before, after, Work())]
    # What stands in no pair is the same in both, and in the same order.
    lefts = sorted({*range(len(old))} - {pair.old for pair in found})
    rights = sorted({*range(len(new))} - {pair.new for pair in found})
    return sorted([*found, *map(_Pair, lefts, rights)], key=_turn)


def _turn(pair: _Pair) -> tuple[int, int]:
    both = [at for at in pair if at is not None]
    return max(both), min(both)


def _changed(old_at: int, new_at: int, old: Recorded, new: Recorded) -> Iterator[str]:
    lines = [*_asked(old, new), *_answered(old, new)]
    if lines:
        moved = "" if old_at == new_at else f"  (now {new_at + 1}.)"
        yield f"  {old_at + 1}. {title(old)}{moved}"
    yield from lines


def _asked(old: Recorded, new: Recorded) -> Iterator[str]:
    for each in differences(old.question, new.question):
        yield from spoken(f"{each.path}  ", f"{text_of(each)}  {each.note}".rstrip())


def _answered(old: Recorded, new: Recorded) -> Iterator[str]:
    was, is_now = (view(each.question, each.answer).text for each in (old, new))
    said = text_of(Difference("", "changed", was, is_now, None))
    lines = [("-> text", said)] if was != is_now else []
    lines += [(f"-> {each.place}", each.what) for each in changes(old.answer, new.answer)]
    if not lines and _kept(old.answer) != _kept(new.answer):
        lines = [("->", "says the same in other bytes")]
    for place, what in lines:
        yield from spoken(f"{place}  ", what)


def _kept(answer: Answer) -> tuple[object, ...]:
    """All of it but the time it took."""
    failure = None if answer.failure is None else answer.failure.type
    return answer.status, answer.headers, content_of(answer), answer.end, failure
