"""What tokens cost: prices, the money that a call took, and the most that it may take."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.exceptions import ConfigError
from respan_openai.local.price import HIGHEST, Price, cost, estimate, longest_answer
from respan_openai.local.usage import MOST_TOKENS, Tokens


CHAT, RESPONSES, EMBEDDINGS = "/chat/completions", "/responses", "/embeddings"

#: A price that has everything, no two alike.
FULL = Price(10, 40, cached=1, cache_creation=12, audio_input=100, audio_output=200, reasoning=30)
LONG = Price(1.25, 10, above=((200_000, Price(2.5, 15)), (500_000, Price(2, 20))))


@pytest.mark.parametrize("name", ["input", "output", "cached", "cache_creation", "audio_input", "reasoning"])
@pytest.mark.parametrize(
    "value",
    [-1, -0.1, math.nan, math.inf, HIGHEST + 1, 10**400, True, "one", b"two"],
    ids=lambda value: str(value)[:9],
)
def test_a_price_is_a_number_of_dollars(name, value) -> None:
    """What is no number from 0 to a million is an error that names the field and the unit."""
    with pytest.raises(ConfigError, match=rf"`{name}` is .*US dollars per 1,000,000 tokens, from 0 to"):
        Price(**{"input": 1, "output": 1, name: value})


def test_an_error_does_not_show_what_was_passed_for_a_number() -> None:
    """A string may be a key that somebody put into the wrong place."""
    with pytest.raises(ConfigError) as caught:
        Price("sk-secret", 1)

    assert "sk-secret" not in str(caught.value)


def test_input_and_output_cannot_be_left_open() -> None:
    """Only what is charged apart has something to be charged as otherwise."""
    with pytest.raises(ConfigError, match="`output` is of type NoneType"):
        Price(1, None)


@pytest.mark.parametrize(
    "above",
    [((0, FULL),), ((True, FULL),), ((1.5, FULL),), ((1, 2),), (FULL,), ((1, LONG),), ((1, FULL, 2),)],
)
def test_above_holds_pairs(above) -> None:
    """A number of tokens and a plain price each; anything else is an error that shows how."""
    with pytest.raises(ConfigError, match="pairs"):
        Price(1, 1, above=above)


@pytest.mark.parametrize("starts", [(2, 1), (1, 1)])
def test_above_rises(starts) -> None:
    """Which price holds must not depend on the order of the list."""
    with pytest.raises(ConfigError, match="must rise"):
        Price(1, 1, above=tuple((start, FULL) for start in starts))


@pytest.mark.parametrize(
    ("prompt", "rate"), [(0, 1.25), (200_000, 1.25), (200_001, 2.5), (500_000, 2.5), (500_001, 2)]
)
def test_a_long_prompt_has_its_price(prompt, rate) -> None:
    """The price changes for the whole call once the prompt has more tokens than the step says."""
    assert LONG.at(prompt).input == rate
    assert cost(Tokens(prompt, 0), LONG) == round(prompt * rate * 1000)


# -- after a call


@pytest.mark.parametrize(
    ("tokens", "dollars_per_million"),
    [
        (Tokens(100, 10), 100 * 10 + 10 * 40),
        (Tokens(100, 10, cached=60), 60 * 1 + 40 * 10 + 10 * 40),
        (Tokens(100, 10, cache_creation=60), 60 * 12 + 40 * 10 + 10 * 40),
        (Tokens(100, 10, cached=60, cache_creation=30), 60 * 1 + 30 * 12 + 10 * 10 + 10 * 40),
        (Tokens(100, 10, audio_in=60), 60 * 100 + 40 * 10 + 10 * 40),
        (Tokens(100, 10, reasoning=6), 1000 + 6 * 30 + 4 * 40),
        (Tokens(100, 10, audio_out=6), 1000 + 6 * 200 + 4 * 40),
        (Tokens(100, 10, reasoning=6, audio_out=3), 1000 + 6 * 30 + 3 * 200 + 1 * 40),
        (Tokens(100, 10, cached=100, audio_in=100), 100 * 1 + 10 * 40),
        (Tokens(100, 10, cached=500), 100 * 1 + 10 * 40),
        (Tokens(100, 10, reasoning=500), 1000 + 10 * 30),
    ],
)
def test_each_kind_has_its_price_once(tokens, dollars_per_million) -> None:
    """Parts are charged apart and taken off the whole, which they never exceed."""
    assert cost(tokens, FULL) == dollars_per_million * 1000


@pytest.mark.parametrize("part", ["cached", "cache_creation", "audio_in", "reasoning", "audio_out"])
def test_without_a_price_of_its_own_a_part_costs_what_the_whole_does(part) -> None:
    """A provider without a price for cached tokens bills the full one; so with the other parts."""
    assert cost(Tokens(7, 5, **{part: 3}), Price(2, 3)) == (7 * 2 + 5 * 3) * 1000


@pytest.mark.parametrize(
    ("tokens", "price"),
    [
        (None, FULL),
        (Tokens(1, 1), None),
        (Tokens(None, 1), FULL),
        (Tokens(1, None), FULL),
        (Tokens(1, None), Price(1, 0, reasoning=1)),
    ],
)
def test_unknown_is_unknown(tokens, price) -> None:
    """Tokens or a price that nobody told are no reason to believe that a call was free."""
    assert cost(tokens, price) is None


def test_what_is_free_need_not_be_counted() -> None:
    """Without a price for what is written, it does not matter how much that was."""
    assert cost(Tokens(3, None), Price(1, 0)) == 3000


def test_known_to_be_free_is_zero() -> None:
    """A model of one's own may cost nothing, and then that is what it costs."""
    assert cost(Tokens(3, 4), Price(0, 0)) == 0


@pytest.mark.parametrize(
    ("price", "tokens", "nano"),
    [(0.0005, 1, 1), (0.00049, 1, 0), (0.0005, 3, 2), (0.1, 3, 300), (0.15, 7, 1050)],
)
def test_money_is_rounded_half_up_once(price, tokens, nano) -> None:
    """The sum is exact, and only the sum is rounded."""
    assert cost(Tokens(tokens, 0), Price(price, 0)) == nano


# -- before a call


def test_the_estimate_takes_the_dearest_kind() -> None:
    """Nobody knows before the call what will be cached or spoken."""
    assert estimate(1000, 100, FULL) == (1000 * 100 + 100 * 200) * 1000


@pytest.mark.parametrize(
    ("size", "dollars"), [(200_000, (1.25, 10)), (200_001, (2.5, 15)), (500_001, (2.5, 20))]
)
def test_the_estimate_knows_which_steps_a_prompt_can_reach(size, dollars) -> None:
    """A short body cannot have a long prompt; of the steps in reach the dearest counts."""
    read, written = dollars
    assert estimate(size, 10, LONG) == (size * read + 10 * written) * 1000


def test_the_estimate_of_an_unknown_price_is_unknown() -> None:
    """It is not 0: a budget could not be kept with it."""
    assert estimate(1000, 100, None) is None


def test_the_estimate_is_rounded_up() -> None:
    """A bound must not lie below what it bounds."""
    assert estimate(1, 0, Price(0.0001, 0)) == 1


_RATE = st.floats(0, 1000) | st.integers(0, 1000)
_COUNT = st.none() | st.integers(0, 3000)


@st.composite
def _prices(draw, *, steps: bool = True) -> Price:
    names = ("cached", "cache_creation", "audio_input", "audio_output", "reasoning")
    own = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, _RATE)))
    starts = sorted(draw(st.sets(st.integers(1, 2000), max_size=2))) if steps else []
    above = tuple((start, draw(_prices(steps=False))) for start in starts)
    return Price(draw(_RATE), draw(_RATE), **own, above=above)


@given(price=_prices(), tokens=st.builds(Tokens, *[_COUNT] * 7), slack=st.integers(0, 5))
def test_no_call_costs_more_than_its_estimate(price, tokens, slack) -> None:
    """Whatever is counted, if a byte has at most one token and the answer keeps to its limit."""
    spent = cost(tokens, price)
    bound = estimate((tokens.prompt or 0) + slack, tokens.completion or 0, price)

    assert spent is None or 0 <= spent <= bound


@given(price=_prices(), tokens=st.builds(Tokens, st.integers(0, 3000), st.integers(0, 3000), *[_COUNT] * 5))
def test_a_call_costs_between_its_cheapest_and_its_dearest_kind(price, tokens) -> None:
    """Each token is charged, and none of them twice."""
    at = price.at(tokens.prompt)
    read = [at.rate(kind) for kind in ("input", "cached", "cache_creation", "audio_input")]
    written = [at.rate(kind) for kind in ("output", "reasoning", "audio_output")]
    least, most = (
        (tokens.prompt * bound(read) + tokens.completion * bound(written)) / 10**6 for bound in (min, max)
    )

    assert least - 0.5 <= cost(tokens, price) <= most + 0.5


def test_money_fits_into_64_bits() -> None:
    """The most that a provider is believed, at the highest price there is, can still be kept."""
    most = Price(HIGHEST, HIGHEST)

    assert cost(Tokens(3 * MOST_TOKENS, 2 * MOST_TOKENS), most) < 2**63
    assert estimate(10**30, 10**30, most) < 2**63


@pytest.mark.parametrize(
    ("path", "fields", "expected"),
    [
        (CHAT, {"max_completion_tokens": 5, "max_tokens": 9}, 5),
        (CHAT, {"max_tokens": 9}, 9),
        (CHAT, {"max_tokens": 9, "n": 3}, 27),
        (CHAT, {"n": 3}, 300),
        (CHAT, {"max_output_tokens": 9}, 100),
        (CHAT, {"max_tokens": True, "n": True}, 100),
        (CHAT, {"max_tokens": -1, "n": 0}, 100),
        (CHAT, {"max_tokens": None, "n": None}, 100),
        (CHAT, {"max_tokens": 10**30}, MOST_TOKENS),
        (RESPONSES, {"max_output_tokens": 9}, 9),
        (RESPONSES, {"max_tokens": 9}, 100),
        ("/audio/transcriptions", {}, 100),
        (EMBEDDINGS, {"input": "x"}, 0),
    ],
)
def test_how_long_an_answer_may_be(path, fields, expected) -> None:
    """Each endpoint's own limit, for every choice, or the default where there is none that can be read."""
    assert longest_answer(path, fields, 100) == expected
