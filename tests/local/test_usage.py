"""What a call took, from any provider's usage, and the names that it is told under."""

from __future__ import annotations

import copy
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.local.usage import MOST_TOKENS, Tokens, tokens_of, with_cache_counters


CHAT, RESPONSES, EMBEDDINGS = "/chat/completions", "/responses", "/embeddings"

#: The answer in reference 003:3, "Response".
DOCUMENTED = {
    "completion_tokens": 20,
    "prompt_tokens": 2619,
    "total_tokens": 2639,
    "completion_tokens_details": {
        "accepted_prediction_tokens": 0,
        "audio_tokens": 0,
        "reasoning_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
    "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 2601, "cache_creation_tokens": 0},
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 2601,
}

USAGES = {
    "chat, as documented": (DOCUMENTED, Tokens(2619, 20, 2601, 0, 0, 0, 0)),
    "chat, plain": ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, Tokens(3, 4)),
    "chat, OpenAI's cache writes": (
        {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cache_write_tokens": 5}},
        Tokens(9, 1, cache_creation=5),
    ),
    "chat, sound": (
        {
            "prompt_tokens": 9,
            "completion_tokens": 8,
            "prompt_tokens_details": {"audio_tokens": 5},
            "completion_tokens_details": {"audio_tokens": 4, "reasoning_tokens": 2},
        },
        Tokens(9, 8, reasoning=2, audio_in=5, audio_out=4),
    ),
    "chat, Anthropic's names only": (
        {
            "prompt_tokens": 9,
            "completion_tokens": 1,
            "cache_read_input_tokens": 6,
            "cache_creation_input_tokens": 2,
        },
        Tokens(9, 1, 6, 2),
    ),
    "chat, zero under one of two names": (
        {
            "prompt_tokens": 9,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 0},
            "cache_read_input_tokens": 6,
        },
        Tokens(9, 1, 6),
    ),
    "Responses": (
        {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 3},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 80},
            "total_tokens": 123,
        },
        Tokens(36, 87, 6, 3, 80),
    ),
    "Responses, counted by both names": (
        {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 6},
            "cache_read_input_tokens": 6,
            "output_tokens": 8,
        },
        Tokens(36, 8, 6),
    ),
    "embeddings": ({"prompt_tokens": 8, "total_tokens": 8}, Tokens(8, 0)),
    "embeddings without a total": ({"prompt_tokens": 8}, Tokens(8)),
    "a total below its part": ({"prompt_tokens": 8, "total_tokens": 5}, Tokens(8)),
    "transcription": (
        {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
            "output_tokens": 45,
            "total_tokens": 59,
        },
        Tokens(14, 45, audio_in=10),
    ),
    "Anthropic's own API": (
        {
            "input_tokens": 18,
            "cache_read_input_tokens": 2601,
            "cache_creation_input_tokens": 100,
            "output_tokens": 5,
        },
        Tokens(2719, 5, 2601, 100),
    ),
    "Anthropic's own API without a cache": ({"input_tokens": 18, "output_tokens": 5}, Tokens(18, 5)),
    "xAI, reasoning on top": (
        {
            "prompt_tokens": 10120,
            "completion_tokens": 1499,
            "total_tokens": 14428,
            "prompt_tokens_details": {"cached_tokens": 128},
            "completion_tokens_details": {"reasoning_tokens": 2809},
        },
        Tokens(10120, 4308, 128, reasoning=2809),
    ),
    "reasoning within": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 20,
            "total_tokens": 30,
            "completion_tokens_details": {"reasoning_tokens": 15},
        },
        Tokens(10, 20, reasoning=15),
    ),
    "Anthropic's names without a prompt": (
        {"input_tokens": None, "output_tokens": 5, "cache_read_input_tokens": 6},
        Tokens(None, 5, 6),
    ),
    "an answer only": ({"output_tokens": 5, "total_tokens": 5}, Tokens(None, 5)),
}


@pytest.mark.parametrize("name", USAGES)
def test_each_providers_usage(name) -> None:
    """The same names for all of them, with cached tokens in the prompt and reasoning in the completion."""
    usage, expected = USAGES[name]
    before = copy.deepcopy(usage)

    assert tokens_of(usage) == expected
    assert usage == before


@pytest.mark.parametrize(
    "usage", [None, {}, [], "seven", 7, {"type": "duration", "seconds": 9}, {"total_tokens": 9}]
)
def test_a_usage_without_tokens_is_none(usage) -> None:
    """What is billed by something else, or not told, is not 0 tokens."""
    assert tokens_of(usage) is None


@pytest.mark.parametrize(
    "junk", [-1, True, False, "12", 1.5, 12.0, math.nan, None, [], {}, MOST_TOKENS + 1, 10**40], ids=str
)
def test_junk_is_no_count(junk) -> None:
    """A number that cannot be one is as if it had not been told; the others hold."""
    usage = {"prompt_tokens": 3, "completion_tokens": junk, "prompt_tokens_details": {"cached_tokens": junk}}

    assert tokens_of(usage) == Tokens(3)


@pytest.mark.parametrize("junk", [None, [], "x", 7])
def test_details_that_are_no_object(junk) -> None:
    """They tell nothing, and do no harm."""
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": junk}

    assert tokens_of(usage) == Tokens(3, 4)
    assert with_cache_counters(usage, CHAT) is usage


_ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=2)
_NAMES = [*DOCUMENTED, "input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"]
_DETAILS = st.dictionaries(st.sampled_from(["cached_tokens", "audio_tokens", "reasoning_tokens"]), _ANY)


@given(st.dictionaries(st.sampled_from(_NAMES), _ANY | _DETAILS))
def test_no_usage_breaks_a_call(usage) -> None:
    """Whatever a provider sends, there are counts or there is nothing."""
    tokens = tokens_of(usage)

    assert tokens is None or all(count is None or (type(count) is int and count >= 0) for count in tokens)
    assert isinstance(with_cache_counters(usage, CHAT), dict)


# -- cache counters


@pytest.mark.parametrize(
    ("path", "holder"),
    [
        (CHAT, "prompt_tokens_details"),
        (EMBEDDINGS, "prompt_tokens_details"),
        (RESPONSES, "input_tokens_details"),
    ],
)
@pytest.mark.parametrize(
    "told",
    [
        lambda holder: {holder: {"cached_tokens": 6, "cache_creation_tokens": 2, "audio_tokens": 1}},
        lambda holder: {holder: {"cached_tokens": 6, "cache_write_tokens": 2}},
        lambda holder: {"cache_read_input_tokens": 6, "cache_creation_input_tokens": 2, holder: None},
        lambda holder: {"cache_read_input_tokens": 6, holder: {"cache_creation_tokens": 2}},
    ],
    ids=["OpenAI's names", "OpenAI's writes", "Anthropic's names", "mixed"],
)
def test_a_counter_is_told_under_both_names(path, holder, told) -> None:
    """Clients of either provider find what they look for (reference 003:3, notes on ``cache_options``)."""
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10, **told(holder)}
    before = copy.deepcopy(usage)

    found = with_cache_counters(usage, path)

    details = {**(before[holder] or {}), "cached_tokens": 6, "cache_creation_tokens": 2}
    counters = {"cache_read_input_tokens": 6, "cache_creation_input_tokens": 2}
    assert found == {**before, **counters, holder: details}
    assert usage == before


def test_the_documented_answer_lacks_nothing() -> None:
    """It comes out as the same object, so that nothing has to be written anew."""
    assert with_cache_counters(DOCUMENTED, CHAT) is DOCUMENTED


def test_a_counter_that_was_not_told_is_not_invented() -> None:
    """One of two caches' counters does not bring the other, and no usage brings neither."""
    plain = {"prompt_tokens": 3, "completion_tokens": 4}
    read = {**plain, "cache_read_input_tokens": 0}

    assert with_cache_counters(plain, CHAT) is plain
    assert with_cache_counters(read, CHAT) == {**read, "prompt_tokens_details": {"cached_tokens": 0}}


def test_a_counter_that_is_there_is_not_changed() -> None:
    """Two that differ are the provider's, and stay."""
    usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0}, "cache_read_input_tokens": 6}

    assert with_cache_counters(usage, CHAT) is usage


def test_anthropics_own_usage_keeps_its_meaning() -> None:
    """Its prompt is counted without the cache, which details would deny."""
    usage, tokens = USAGES["Anthropic's own API"]

    assert with_cache_counters(usage, RESPONSES) is usage
    assert tokens_of(with_cache_counters(usage, RESPONSES)) == tokens


@pytest.mark.parametrize("name", USAGES)
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_counters_change_no_count(name, path) -> None:
    """What was told before is told afterwards, and there is nothing to add a second time."""
    usage, tokens = USAGES[name]
    counted = with_cache_counters(usage, path)

    assert tokens_of(counted) == tokens
    assert with_cache_counters(counted, path) is counted
