"""Weights: shares of the draws, and what one draw decides."""

from __future__ import annotations

import math
import random
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.local.balance import finite, in_order, pick


LARGEST_DRAW = math.nextafter(1.0, 0.0)

WEIGHTS = st.lists(
    st.floats(min_value=sys.float_info.min, max_value=sys.float_info.max), min_size=1, max_size=8
)
DRAWS = st.floats(min_value=0, max_value=LARGEST_DRAW)


def chi_square(found: list[int], expected: list[float]) -> float:
    """How far counts are from what was expected of them."""
    return sum((count - mean) ** 2 / mean for count, mean in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("weights", "draw", "at"),
    [
        ([1], 0.0, 0),
        ([1], LARGEST_DRAW, 0),
        ([1, 1], 0.0, 0),
        ([1, 1], 0.4999, 0),
        ([1, 1], 0.5, 1),
        ([1, 1], LARGEST_DRAW, 1),
        ([34, 34, 32], 0.6799, 1),
        ([34, 34, 32], 0.6801, 2),
        ([0.8, 0.2], 0.79, 0),
        ([0.8, 0.2], 0.81, 1),
        ([1e308, 1e308, 1e308], 0.5, 1),
        ([5e-324, 1e308], 0.0, 1),
    ],
)
def test_a_draw_falls_into_a_share(weights: list[float], draw: float, at: int) -> None:
    """Shares lie side by side in [0, 1), each as wide as its weight; weights need not add up to anything."""
    assert pick(weights, draw).at == at


@pytest.mark.parametrize("weights", [[1, 1], [34, 34], [1, 2, 3, 4], [0.8, 0.2], [90, 9, 1]], ids=str)
def test_shares_are_those_of_the_weights(weights: list[float]) -> None:
    """Of 20,000 draws each gets its part: chi-square below its 99.9 % quantile, three degrees of freedom."""
    draws = random.Random(20261121)
    found = [0] * len(weights)
    for _ in range(20_000):
        found[pick(weights, draws.random()).at] += 1

    assert chi_square(found, [20_000 * weight / sum(weights) for weight in weights]) < 16.27


def test_the_second_is_picked_from_those_left() -> None:
    """After the first of 1, 2 and 3, the others share as 2:3, 1:3 and 1:2, although there was one draw."""
    draws = random.Random(20261121)
    found: dict[tuple[int, ...], int] = {}
    for _ in range(20_000):
        order = tuple(in_order([1, 2, 3], draws.random()))
        found[order] = found.get(order, 0) + 1
    expected = {
        (0, 1, 2): 1 / 6 * 2 / 5,
        (0, 2, 1): 1 / 6 * 3 / 5,
        (1, 0, 2): 2 / 6 * 1 / 4,
        (1, 2, 0): 2 / 6 * 3 / 4,
        (2, 0, 1): 3 / 6 * 1 / 3,
        (2, 1, 0): 3 / 6 * 2 / 3,
    }

    counts = [found[order] for order in expected]
    assert chi_square(counts, [20_000 * share for share in expected.values()]) < 20.52  # 99.9 %, five degrees


def test_what_is_left_of_a_draw_says_nothing_about_the_pick() -> None:
    """Whatever was picked, the rest is evenly distributed: tenths of it are hit alike."""
    draws = random.Random(20261121)
    tenths = [[0] * 10 for _ in range(2)]
    for _ in range(20_000):
        at, rest = pick([1, 3], draws.random())
        tenths[at][int(rest * 10)] += 1

    for counts in tenths:
        assert chi_square(counts, [sum(counts) / 10] * 10) < 27.88  # 99.9 %, nine degrees


@given(weights=WEIGHTS, draw=DRAWS)
def test_any_weights_and_draw(weights: list[float], draw: float) -> None:
    """Every weight has one place in the order, the picked one the first, and the rest is a draw again."""
    at, rest = pick(weights, draw)
    order = in_order(weights, draw)

    assert 0 <= rest < 1
    assert order[0] == at
    assert sorted(order) == list(range(len(weights)))
    assert order == in_order(weights, draw)


@pytest.mark.parametrize(
    ("weight", "expected"), [(1, 1.0), (0.25, 0.25), (2**1024 - 1, sys.float_info.max), (1e308, 1e308)]
)
def test_weights_become_finite_floats(weight: float, expected: Any) -> None:
    """JSON's integers have no end, floats have."""
    assert finite(weight) == expected
    assert type(finite(weight)) is float
