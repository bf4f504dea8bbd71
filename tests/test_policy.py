"""The policies: what they hold by default, what they refuse, and how they behave as values."""

from __future__ import annotations

import math
import pickle
from dataclasses import FrozenInstanceError, asdict, fields, replace
from itertools import takewhile

import pytest

from respan_openai import ConfigError, policy
from respan_openai._core.health import LATENCIES, SECONDS
from respan_openai.policy import Breaker, Hedge, Limits, Retry, Streams, Timeouts


DEFAULTS = {
    Retry: {
        "attempts": 3,
        "backoff": 0.2,
        "backoff_throttled": 1.0,
        "backoff_cap": 8.0,
        "retry_after_cap": 10.0,
        "on_ambiguous": "fallback",
        "max_waiters": 16,
    },
    Breaker: {
        "failures": 5,
        "rate": 0.5,
        "minimum": 10,
        "window": 30.0,
        "open_for": 5.0,
        "open_cap": 30.0,
    },
    Timeouts: {"first_content": None, "idle": 120.0},
    Streams: {"incomplete": "raise", "continuation": False},
    Hedge: {"quantile": 0.97, "samples": 50, "floor": 1.0, "budget": 0.05},
    Limits: {"body": 67_108_864, "event": 16_777_216, "held": 65_536},
}
POLICIES = list(DEFAULTS)

WORDS = [(Retry, "on_ambiguous"), (Streams, "incomplete")]
FLAGS = [(Streams, "continuation")]
WHOLE = [
    (Retry, "attempts"),
    (Retry, "max_waiters"),
    (Breaker, "failures"),
    (Breaker, "minimum"),
    (Hedge, "samples"),
    (Limits, "body"),
    (Limits, "event"),
    (Limits, "held"),
]
MAY_BE_NONE = [(Timeouts, "first_content"), (Timeouts, "idle")]
MAY_BE_ZERO = [
    (Retry, "backoff"),
    (Retry, "backoff_throttled"),
    (Retry, "backoff_cap"),
    (Retry, "retry_after_cap"),
    (Retry, "max_waiters"),
    (Hedge, "floor"),
]
EVERY = [(kind, name) for kind, values in DEFAULTS.items() for name in values]
NUMBERS = [field for field in EVERY if field not in WORDS + FLAGS]

NO_NUMBER = [
    True,
    False,
    "3",
    b"3",
    [3],
    3j,
    math.nan,
    math.inf,
    -math.inf,
    -1,
    -0.001,
    1e18,
    10**400,
    10**5000,
]


@pytest.mark.parametrize("kind", POLICIES)
def test_the_defaults(kind) -> None:
    """Without arguments every field holds what its documentation says."""
    assert asdict(kind()) == DEFAULTS[kind]


def documented(kind, name) -> str:
    """What the docstring of *kind* says of the field *name*."""
    lines = kind.__doc__.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith(f"{8 * ' '}{name}: "))
    rest = takewhile(lambda line: line.startswith(12 * " "), lines[first + 1 :])
    return "\n".join([lines[first], *rest])


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_field_is_documented(kind, name) -> None:
    """The class says of each field what it is, and which default it has."""
    assert "default" in documented(kind, name).lower()


def refused(kind, name, value) -> str:
    with pytest.raises(ConfigError) as caught:
        kind(**{name: value})
    assert isinstance(caught.value, ValueError)
    return str(caught.value)


@pytest.mark.parametrize(
    "value", NO_NUMBER, ids=lambda value: repr(value)[:20] if value != 10**5000 else "huge"
)
@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_what_is_no_number_for_a_field(kind, name, value) -> None:
    """A bool, another type, nan, an infinity, a negative or an absurd number: refused when it is written."""
    message = refused(kind, name, value)

    assert message.startswith(f"{kind.__name__}: `{name}` is ")
    assert "must be a" in message


@pytest.mark.parametrize(("kind", "name"), WHOLE)
@pytest.mark.parametrize("value", [2.0, 2.5])
def test_counts_and_sizes_are_whole(kind, name, value) -> None:
    """A float is refused even if it is whole."""
    assert "a whole number from" in refused(kind, name, value)


@pytest.mark.parametrize(("kind", "name"), [field for field in NUMBERS if field not in MAY_BE_ZERO])
def test_what_may_not_be_zero(kind, name) -> None:
    """No attempts, a window of nothing or a limit that every answer breaks."""
    assert f"`{name}` is 0;" in refused(kind, name, 0)


@pytest.mark.parametrize(("kind", "name"), MAY_BE_ZERO)
def test_what_may_be_zero(kind, name) -> None:
    """Not to wait at all is a choice."""
    assert getattr(kind(**{name: 0}), name) == 0


@pytest.mark.parametrize(("kind", "name"), [field for field in EVERY if field not in MAY_BE_NONE])
def test_none_is_no_value(kind, name) -> None:
    """Where None has no meaning it is refused."""
    assert f"`{name}` is None;" in refused(kind, name, None)


@pytest.mark.parametrize(("kind", "name"), MAY_BE_NONE)
def test_none_where_it_means_something(kind, name) -> None:
    """No limit; and the message for other values says so."""
    assert getattr(kind(**{name: None}), name) is None
    assert "or None for" in refused(kind, name, -1)


@pytest.mark.parametrize(("kind", "name"), WORDS)
@pytest.mark.parametrize("value", ["", "rase", "RAISE", b"raise", 1, True, ["raise"]])
def test_words(kind, name, value) -> None:
    """Only the listed ones, exactly; the message lists them."""
    message = refused(kind, name, value)

    assert f"`{name}`" in message
    assert "'raise'" in message


@pytest.mark.parametrize("value", [0, 1, "yes", "False"])
def test_flags(value) -> None:
    """True or False, nothing that only counts as such."""
    assert "True or False" in refused(Streams, "continuation", value)


def test_the_message_in_full() -> None:
    """It names the field, shows what is wrong and says what is accepted."""
    assert refused(Retry, "attempts", 6) == "Retry: `attempts` is 6; it must be a whole number from 1 to 5."


def test_a_message_never_shows_text() -> None:
    """A string in the wrong place may be a key."""
    assert "sk-canary" not in refused(Retry, "on_ambiguous", "sk-canary") + refused(
        Hedge, "floor", "sk-canary"
    )


@pytest.mark.parametrize(
    ("kind", "name", "values", "beyond"),
    [
        (Retry, "attempts", (1, 5), (0, 6)),
        (Retry, "backoff", (0, 86_400), (86_401,)),
        (Breaker, "rate", (1e-9, 1, 1.0), (0.0, 1.0001)),
        (Breaker, "window", (1, SECONDS), (0.99, SECONDS + 1)),
        (Breaker, "open_for", (0.001, 86_400), (0.0, 86_401)),
        (Timeouts, "idle", (0.001, 86_400), (0.0, 86_401)),
        (Hedge, "quantile", (0.001, 0.999), (0.0, 1, 1.0)),
        (Hedge, "samples", (1, LATENCIES), (0, LATENCIES + 1)),
        (Hedge, "budget", (0.001, 1), (0.0, 1.01)),
        (Limits, "held", (1024, 4 * 2**30), (1023, 4 * 2**30 + 1)),
    ],
)
def test_where_the_ranges_end(kind, name, values, beyond) -> None:
    """The ends that the documentation names are accepted, and the next values are not."""
    assert [getattr(kind(**{name: value}), name) for value in values] == list(values)
    for value in beyond:
        assert f"`{name}`" in refused(kind, name, value)


@pytest.mark.parametrize("kind", POLICIES)
def test_they_are_values(kind) -> None:
    """Equal when their fields are, usable as keys, unchanged by a pickle, and read back from their repr."""
    one = kind()

    assert one == kind()
    assert len({one, kind()}) == 1
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 -- our own bytes
    assert eval(repr(one), vars(policy)) == one  # noqa: S307 -- our own repr


def test_they_differ_by_their_fields() -> None:
    """One other field makes another value."""
    assert Retry(attempts=2) != Retry()
    assert repr(Timeouts(idle=None)) == "Timeouts(first_content=None, idle=None)"


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_they_are_frozen(kind, name) -> None:
    """No field can be set afterwards."""
    one = kind()

    with pytest.raises(FrozenInstanceError):
        setattr(one, name, getattr(one, name))


@pytest.mark.parametrize("kind", POLICIES)
def test_they_take_keywords_only(kind) -> None:
    """A number without its name says too little; an unknown name is an error."""
    with pytest.raises(TypeError, match="positional"):
        kind(1)
    with pytest.raises(TypeError, match="unexpected"):
        kind(retries=1)


def test_a_changed_copy_is_checked_too() -> None:
    """``dataclasses.replace`` is no way around."""
    assert replace(Retry(), attempts=5).attempts == 5
    with pytest.raises(ConfigError, match="attempts"):
        replace(Retry(), attempts=0)


def test_every_policy_is_public() -> None:
    """``__all__`` is sorted and names all that is tested here, and each field has a rule."""
    assert policy.__all__ == sorted(kind.__name__ for kind in POLICIES)
    assert {(kind, field.name) for kind in POLICIES for field in fields(kind)} == set(EVERY)
