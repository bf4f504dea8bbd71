"""What two sequences have in common, with a bound on the work.

The algorithm is Myers' ("An O(ND) Difference Algorithm", 1986): its cost grows with the number of
differences, so that long prompts in which a few words differ are compared at the cost of reading them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence


__all__ = ["MOST_WORK", "Run", "Work", "aligned", "common"]


#: Pairs of words or items that are compared for one message, at most: a second, on a slow machine.
MOST_WORK: Final = 1_000_000

#: Insertions and deletions in one sequence beyond which it counts as another one altogether.
MOST_EDITS: Final = 400


class Work:
    """What a comparison may still cost.

    Attributes:
        left: Pairs that may still be compared; never negative.
    """

    __slots__ = ("left",)

    def __init__(self, most: int = MOST_WORK) -> None:
        self.left = most

    def spend(self, pairs: int) -> bool:
        """Whether *pairs* more may be compared; if not, nothing is left."""
        self.left = max(self.left - pairs, 0)
        return self.left > 0


class Run(NamedTuple):
    """``old[old_at:old_at + size]`` is ``new[new_at:new_at + size]``; *size* may be 0."""

    old_at: int
    new_at: int
    size: int


def common(old: Sequence[Hashable], new: Sequence[Hashable], work: Work) -> list[Run] | None:
    """The runs that *old* and *new* have in common, in order; the last one is empty, at both ends.

    ``None`` if there is no work left, or too little in common.
    """
    head = _shared(old, new, work)
    tail = _shared(old[head:][::-1], new[head:][::-1], work)
    trace = _trace(old[head : len(old) - tail], new[head : len(new) - tail], work)
    if trace is None:
        return None
    middle = [Run(run.old_at + head, run.new_at + head, run.size) for run in trace]
    ends = Run(len(old) - tail, len(new) - tail, tail), Run(len(old), len(new), 0)
    return [Run(0, 0, head), *middle, *ends]


def _shared(old: Sequence[Hashable], new: Sequence[Hashable], work: Work) -> int:
    size = next(
        (at for at, (left, right) in enumerate(zip(old, new, strict=False)) if left != right),
        min(len(old), len(new)),
    )
    work.spend(size + 1)
    return size


def _trace(old: Sequence[Hashable], new: Sequence[Hashable], work: Work) -> list[Run] | None:
    """The furthest point on each diagonal, for 0, 1, 2 ... edits, until both ends are reached."""
    furthest, steps = {1: 0}, list[dict[int, int]]()
    for edits in range(min(MOST_EDITS, len(old) + len(new)) + 1):
        steps.append(furthest.copy())
        for diagonal in range(-edits, edits + 1, 2):
            begin = _begin(furthest, diagonal, edits)
            end = _slide(old, new, begin, diagonal)
            furthest[diagonal] = end
            if end == len(old) and end - diagonal == len(new):
                return _runs(steps, len(old), len(new))
            if not work.spend(end - begin + 1):
                return None
    return None


def _begin(furthest: dict[int, int], diagonal: int, edits: int) -> int:
    if _is_insert(furthest, diagonal, edits):
        return furthest[diagonal + 1]
    return furthest[diagonal - 1] + 1


def _is_insert(furthest: dict[int, int], diagonal: int, edits: int) -> bool:
    if diagonal in {-edits, edits}:
        return diagonal == -edits
    return furthest[diagonal - 1] < furthest[diagonal + 1]


def _slide(old: Sequence[Hashable], new: Sequence[Hashable], at: int, diagonal: int) -> int:
    while at < len(old) and at - diagonal < len(new) and old[at] == new[at - diagonal]:
        at += 1
    return at


def _runs(steps: list[dict[int, int]], old_at: int, new_at: int) -> list[Run]:
    """The way back from both ends, of which the parts on a diagonal are what is common."""
    runs: list[Run] = []
    for edits, furthest in reversed(list(enumerate(steps))):
        diagonal = old_at - new_at
        begin = _begin(furthest, diagonal, edits)
        if begin < old_at:
            runs.append(Run(begin, begin - diagonal, old_at - begin))
        is_insert = _is_insert(furthest, diagonal, edits)
        old_at, new_at = (begin, begin - diagonal - 1) if is_insert else (begin - 1, begin - diagonal)
    return runs[::-1]


def aligned(old: int, new: int, likeness: Callable[[int, int], float]) -> list[tuple[int, int]]:
    """Pairs of places in two sequences of these lengths, in order in both, that are most alike in sum.

    Its cost is *old* times *new*. Places whose likeness is 0 are no pair.
    """
    best: list[list[float]] = [[0.0] * (new + 1) for _ in range(old + 1)]
    alike = [[likeness(left, right) for right in range(new)] for left in range(old)]
    for left in reversed(range(old)):
        for right in reversed(range(new)):
            together = best[left + 1][right + 1] + alike[left][right]
            best[left][right] = max(best[left + 1][right], best[left][right + 1], together)
    return _pairs(best)


def _pairs(best: list[list[float]]) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    left = right = 0
    while left < len(best) - 1 and right < len(best[0]) - 1:
        if best[left][right] == best[left + 1][right]:
            left += 1
        elif best[left][right] == best[left][right + 1]:
            right += 1
        else:
            pairs.append((left, right))
            left, right = left + 1, right + 1
    return pairs
