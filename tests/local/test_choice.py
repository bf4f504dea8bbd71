"""The router's choice: who is left out and why, and in which order the others are."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from respan_openai.exceptions import ParamsError
from respan_openai.local.catalogue import Catalogue, Facts
from respan_openai.local.choice import Chosen, routed
from respan_openai.local.settings import Model, Settings


class Price(NamedTuple):
    """Dollars per million tokens."""

    input: float
    output: float


FASTEST = "router: fastest of the cheapest"

TOOLS = {"tools": [{"type": "function"}]}

#: "a" to "d" at openai, "e" at azure.
MODELS = (
    Model(name="a", vision=True),
    Model(name="b", tools=False),
    Model(name="c", json_schema=False, context=100),
    Model(name="d"),
    Model(name="azure/e", max_output=10),
)
CATALOGUE = Catalogue({"openai": Facts(), "azure": Facts()}, Settings(models=MODELS))


def chosen(
    models: str,
    prices: dict[str, tuple[float, float]] | None = None,
    seconds: dict[str, float] | None = None,
    fields: dict[str, Any] | None = None,
    **params: Any,
) -> list[Chosen]:
    """The order of *models*; prices by provider and name, seconds by the whole slug."""
    priced = {name: Price(*price) for name, price in (prices or {}).items()}
    return routed(
        [CATALOGUE.slug(model) for model in models.split()],
        params,
        fields or {},
        catalogue=CATALOGUE,
        price=lambda provider, model: priced.get(f"{provider}/{model}"),
        measured=(seconds or {}).get,
    )


def names(found: list[Chosen]) -> str:
    """Whom to ask, in order."""
    return " ".join(choice.slug.asked for choice in found)


@pytest.mark.parametrize(
    ("prices", "seconds", "order", "why"),
    [
        ({}, {}, "a b d", "router: first, no price is known"),
        ({}, {"d": 1, "b": 2}, "d b a", "router: fastest, no price is known"),
        ({"a": (3, 3), "b": (2, 2), "d": (1, 1)}, {}, "d b a", "router: cheapest"),
        ({"a": (1, 5), "b": (5, 0.2), "d": (0, 5.8)}, {}, "b d a", "router: cheapest"),
        ({"d": (1, 1)}, {"a": 1}, "d a b", "router: cheapest"),
        ({"a": (5, 5), "b": (5, 5)}, {}, "a b d", "router: cheapest"),
        ({"a": (5, 5), "b": (5, 5), "d": (9, 9)}, {"b": 1}, "b a d", FASTEST),
        ({"a": (5, 5), "b": (5, 5.9), "d": (5, 6.1)}, {"b": 1, "d": 0.1}, "b a d", FASTEST),
        ({"a": (5, 5), "b": (5, 5.9), "d": (5, 6.1)}, {"a": 1, "b": 2}, "a b d", FASTEST),
        ({"a": (1, 1), "b": (1.05, 1.05), "d": (1.14, 1.14)}, {"d": 1, "b": 2, "a": 3}, "b a d",
         FASTEST),
        ({"a": (0, 0), "b": (0, 0.01), "d": (0, 0)}, {"b": 0.1, "d": 1}, "d a b", FASTEST),
        ({"a": (9, 9), "b": (9, 9), "d": (1, 1)}, {"b": 1, "a": 2}, "d b a", "router: cheapest"),
    ],
)  # fmt: skip
def test_order(
    prices: dict[str, tuple[float, float]], seconds: dict[str, float], order: str, why: str
) -> None:
    """By the sum of both prices, unknown ones last; within 10 % of the cheapest by what was measured."""
    found = chosen(
        "a b d",
        {f"openai/{name}": price for name, price in prices.items()},
        {f"openai/{name}": value for name, value in seconds.items()},
    )

    assert names(found) == order
    assert [choice.why for choice in found] == [why, "router: place 2 of 3", "router: place 3 of 3"]


@pytest.mark.parametrize(
    ("fields", "order"),
    [
        ({}, "a b c d azure/e"),
        (TOOLS, "a c d azure/e"),
        ({"messages": [{"content": [{"type": "image_url"}]}]}, "a"),
        ({"response_format": {"type": "json_schema"}}, "a b d azure/e"),
        ({"messages": "x" * 401}, "a b d azure/e"),
        ({"max_tokens": 11}, "a b c d"),
    ],
)
def test_who_can_do_it(fields: dict[str, Any], order: str) -> None:
    """Models that are declared not to be able to do what is needed are left out."""
    assert names(chosen("a b c d azure/e", fields=fields)) == order


def test_why_says_what_was_needed() -> None:
    """What narrowed the choice stands in the record."""
    assert chosen("a d", fields=TOOLS)[0].why == "router: first with tools, no price is known"


def test_one_is_left() -> None:
    """There is nothing to choose then."""
    assert chosen("a b", fields=TOOLS) == [Chosen(CATALOGUE.slug("a"), "only candidate")]


def test_what_is_not_declared_is_taken_to_be_able() -> None:
    """The request named it; nothing speaks against it."""
    assert names(chosen("unknown b", fields=TOOLS)) == "unknown"


@pytest.mark.parametrize(
    ("params", "order"),
    [
        ({"exclude_providers": ["azure"]}, "a d"),
        ({"exclude_providers": ["Azure_OpenAI"]}, "a d"),
        ({"exclude_providers": ["openai"]}, "azure/e"),
        ({"exclude_providers": ["anthropic"]}, "a d azure/e"),
        ({"exclude_models": ["a"]}, "d azure/e"),
        ({"exclude_models": ["openai/a", "e"]}, "d"),
        ({"exclude_models": ["azure/a"]}, "a d azure/e"),
        ({"exclude_models": ["a"], "exclude_providers": ["azure"]}, "d"),
    ],
)
def test_exclusions(params: dict[str, Any], order: str) -> None:
    """Reference 003:83-89: models by slug, with a prefix or without; providers with all their models."""
    assert names(chosen("a d azure/e", **params)) == order


def test_nobody_is_left() -> None:
    """The error says of each model what it was left out for."""
    fields = {**TOOLS, "messages": [{"content": [{"type": "image_url"}]}]}

    with pytest.raises(ParamsError) as caught:
        chosen("a b azure/e", fields=fields, exclude_models=["a"], exclude_providers=["azure"])

    assert caught.value.param == "models"
    assert "a (exclude_models), b (tools, images), azure/e (exclude_providers, images)." in str(caught.value)


def test_nobody_of_many_is_left() -> None:
    """Ten are named, the others counted, keys by mistake not shown."""
    models = " ".join(["sk-canary"] + [f"m{number}" for number in range(12)])

    with pytest.raises(ParamsError) as caught:
        chosen(models, exclude_providers=["openai"])

    assert "m8 (exclude_providers) and 3 more." in str(caught.value)
    assert "canary" not in str(caught.value)
