"""Weights: which of several comes first, for a number in [0, 1) that somebody else has drawn."""

from __future__ import annotations

import sys
from bisect import bisect_right
from itertools import accumulate
from math import nextafter
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["Pick", "finite", "in_order", "pick"]

_BELOW_ONE = nextafter(1.0, 0.0)


class Pick(NamedTuple):
    """What a draw came to.

    Attributes:
        at: Index of the weight that was hit.
        rest: A draw in [0, 1) that is left over; it says nothing about *at*, so it can decide something else.
    """

    at: int
    rest: float


def pick(weights: Sequence[float], draw: float) -> Pick:
    """The one of *weights* that *draw* hits, each with a share of the draws that is its share of their sum.

    Args:
        weights: At least one, all more than 0 and finite.
        draw: Evenly distributed in [0, 1).
    """
    ends = list(accumulate(_scaled(weights)))
    point = draw * ends[-1]
    at = bisect_right(ends, point)
    begin = ends[at - 1] if at else 0.0
    # Where the point lies inside its share is as evenly distributed as the draw was.
    return Pick(at, min((point - begin) / (ends[at] - begin), _BELOW_ONE))


def in_order(weights: Sequence[float], draw: float) -> list[int]:
    """The indexes of all *weights*: the first as :func:`pick` has it, each further one of those left.

    One draw decides everything. It has 53 bits, so with dozens of weights the last places are no longer fair.
    """
    left, order = list(range(len(weights))), list[int]()
    while left:
        hit, draw = pick([weights[at] for at in left], draw)
        order.append(left.pop(hit))
    return order


def finite(weight: float) -> float:
    """*weight* as a float; an integer beyond the range of one becomes the largest there is."""
    return float(min(weight, sys.float_info.max))


def _scaled(weights: Sequence[float]) -> list[float]:
    heaviest = max(weights)  # so that their sum is finite, too
    return [weight / heaviest for weight in weights]
