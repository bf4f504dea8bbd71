"""Names: which provider a model is asked of, and as what."""

from __future__ import annotations

from typing import Any

import pytest

from respan_openai.exceptions import ConfigError, ParamsError
from respan_openai.local.catalogue import Catalogue, Facts, Slug, same_provider
from respan_openai.local.settings import Model, Settings


PROVIDERS = {
    "openai": Facts(base_url="https://api.openai.com/v1"),
    "azure": Facts(azure=True, base_url="https://mine.openai.azure.com"),
    "openrouter": Facts(base_url="https://openrouter.ai/api/v1"),
    "vertex_ai": Facts(),
}


def catalogue(*models: str, **settings: Any) -> Catalogue:
    """With the providers above, the first of which is openai."""
    return Catalogue(PROVIDERS, Settings(models=tuple(Model(name=name) for name in models), **settings))


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("gpt-4o", "openai", "gpt-4o"),
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("OpenAI/gpt-4o", "openai", "gpt-4o"),
        ("azure/gpt-4o", "azure", "gpt-4o"),
        ("azure_openai/gpt-4o", "azure", "gpt-4o"),
        ("google_vertex_ai/gemini", "vertex_ai", "gemini"),
        ("openrouter/anthropic/claude", "openrouter", "anthropic/claude"),
        ("openrouter/openrouter/auto", "openrouter", "openrouter/auto"),
        ("anthropic/claude", "openai", "anthropic/claude"),
        ("azure/", "openai", "azure/"),
        ("azure", "openai", "azure"),
        ("/gpt-4o", "openai", "/gpt-4o"),
    ],
)
def test_the_prefix_names_the_provider(model: str, provider: str, name: str) -> None:
    """Without regard to case, with aliases (params.yaml, customer_credentials); else the first is asked."""
    assert catalogue().slug(model) == Slug(model, provider, name)


@pytest.mark.parametrize(
    ("declared", "model", "provider"),
    [
        (["azure/gpt-4o"], "gpt-4o", "azure"),
        (["azure/gpt-4o"], "gpt-4o-mini", "openai"),
        (["azure/gpt-4o", "openrouter/gpt-4o"], "gpt-4o", "azure"),
        (["azure/gpt-4o", "gpt-4o"], "gpt-4o", "openai"),
        (["azure/gpt-4o"], "openai/gpt-4o", "openai"),
        (["openrouter/meta-llama/llama-3"], "meta-llama/llama-3", "openrouter"),
    ],
)
def test_without_a_prefix_the_declaring_provider(declared: list[str], model: str, provider: str) -> None:
    """Who declares a model of that name is asked for it: without a prefix first, then in order."""
    assert catalogue(*declared).slug(model).provider == provider


@pytest.mark.parametrize(
    ("model", "pinned", "name"),
    [
        ("gpt-4o", "azure", "gpt-4o"),
        ("azure/gpt-4o", "azure", "gpt-4o"),
        ("azure_openai/gpt-4o", "azure", "gpt-4o"),
        ("openai/gpt-4o", "azure", "openai/gpt-4o"),
        ("openai/gpt-4o", "openrouter", "openai/gpt-4o"),
        ("claude-sonnet-4-5-20250929", "vertex_ai", "claude-sonnet-4-5-20250929"),
    ],
)
def test_a_pin_leaves_the_slug_as_it_is(model: str, pinned: str, name: str) -> None:
    """Reference 002:8, "without changing the model slug": only the provider's own prefix is taken off."""
    assert catalogue("openai/gpt-4o").slug(model, pinned) == Slug(model, pinned, name)


@pytest.mark.parametrize(
    ("override", "route", "pinned"),
    [
        (None, None, None),
        (None, "azure", "azure"),
        (None, " Azure\t", "azure"),
        (None, "azure_openai", "azure"),
        ("openrouter", None, "openrouter"),
        (" OpenRouter ", None, "openrouter"),
        ("openrouter", "azure", "azure"),
    ],
)
def test_who_is_pinned(override: str | None, route: str | None, pinned: str | None) -> None:
    """The header (002:8) wins over the parameter; case and white space do not matter (params.yaml)."""
    params = {} if override is None else {"route_provider_override": override}

    assert catalogue().pinned(params, route) == pinned


@pytest.mark.parametrize(
    ("override", "route", "param"),
    [
        (None, "nobody", "X-Respan-Route-Provider"),
        (None, "", "X-Respan-Route-Provider"),
        ("azure", " ", "X-Respan-Route-Provider"),
        ("nobody", None, "route_provider_override"),
        ("", None, "route_provider_override"),
    ],
)
def test_pinned_to_nobody(override: str | None, route: str | None, param: str) -> None:
    """An error that lists the providers there are, and names the header or the parameter."""
    params = {} if override is None else {"route_provider_override": override}

    with pytest.raises(ParamsError, match="it has: openai, azure, openrouter, vertex_ai") as caught:
        catalogue().pinned(params, route)

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("model", "names", "sent"),
    [
        ("azure/gpt-4o", {"azure/gpt-4o": "azure/mine"}, "mine"),
        ("azure/gpt-4o", {"azure/gpt-4o": "mine"}, "mine"),
        ("azure/gpt-4o", {"gpt-4o": "azure/mine"}, "mine"),
        ("azure/gpt-4o", {"gpt-4o": "mine"}, "mine"),
        ("azure/gpt-4o", {"azure_openai/gpt-4o": "azure_openai/mine"}, "mine"),
        ("azure/gpt-4o", {"azure/gpt-4": "azure/mine"}, "gpt-4o"),
        ("azure/gpt-4o", {"openai/gpt-4o": "mine"}, "gpt-4o"),
        ("azure/gpt-4o", {"azure/gpt-4o": "azure/"}, "azure/"),
        ("azure/gpt-4o", {}, "gpt-4o"),
        ("east/gpt-4o", {"azure/gpt-4o": "azure/mine"}, "mine"),
        ("east/gpt-4o", {"east/gpt-4o": "east/mine"}, "mine"),
        ("openai/gpt-4o", {"openai/gpt-4o": "mine", "gpt-4o": "mine"}, "gpt-4o"),
    ],
)
def test_model_name_map(model: str, names: dict[str, str], sent: str) -> None:
    """Reference 003:77-78: Azure only, default name to deployment, each with or without ``azure/``."""
    known = Catalogue({**PROVIDERS, "east": Facts(azure=True)}, Settings())

    assert known.sent(known.slug(model), names) == sent


@pytest.mark.parametrize(
    ("entry", "model", "covered"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "azure/gpt-4o", True),
        ("azure/gpt-4o", "azure/gpt-4o", True),
        ("azure_openai/gpt-4o", "azure/gpt-4o", True),
        ("openai/gpt-4o", "gpt-4o", True),
        ("openai/gpt-4o", "azure/gpt-4o", False),
        ("gpt-4", "gpt-4o", False),
        ("GPT-4o", "gpt-4o", False),
    ],
)
def test_lists_of_models(entry: str, model: str, covered: bool) -> None:
    """An entry without a prefix means the model wherever it is, one with a prefix only there."""
    known = catalogue()

    assert known.matches(entry, known.slug(model)) is covered


def test_what_is_declared() -> None:
    """Found by provider and name, however a model was asked for."""
    known = catalogue("gpt-4o", "azure/gpt-4o")

    assert [slug.full for slug in known.models] == ["openai/gpt-4o", "azure/gpt-4o"]
    assert known.model(known.slug("openai/gpt-4o")) == Model(name="gpt-4o")
    assert known.model(known.slug("gpt-4o", "azure")) == Model(name="azure/gpt-4o")
    assert known.model(known.slug("gpt-5")) is None


@pytest.mark.parametrize(
    ("model", "origins"),
    [
        ("gpt-4o", {"https://listed.example:443", "https://api.openai.com:443"}),
        ("vertex_ai/gemini", {"https://listed.example:443"}),
    ],
)
def test_where_credentials_may_go(model: str, origins: Any) -> None:
    """What the settings list, and the provider's own origin if it has one; not the other providers'."""
    known = catalogue(api_bases=frozenset({"https://listed.example"}))

    assert known.origins(known.slug(model)) == origins


@pytest.mark.parametrize(
    ("providers", "models", "says"),
    [({}, [], "needs a provider"), (PROVIDERS, ["gpt-4o", "openai/gpt-4o"], "'openai/gpt-4o' twice")],
)
def test_catalogues_that_cannot_be(providers: dict[str, Facts], models: list[str], says: str) -> None:
    """Said when a gateway is built, not when it is asked."""
    settings = Settings(models=tuple(Model(name=name) for name in models))

    with pytest.raises(ConfigError, match=says):
        Catalogue(providers, settings)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("azure_openai", "azure"),
        ("google_vertex_ai", "vertex_ai"),
        ("togetherai", "together_ai"),
        ("A ", "a"),
    ],
)
def test_aliases(one: str, other: str) -> None:
    """Ids of credentials and prefixes of models mean the same provider (params.yaml, provider_ids)."""
    assert same_provider(one, other)
    assert same_provider(other, one)
    assert not same_provider(one, "openai")


def test_a_name_wins_over_an_alias() -> None:
    """Two providers may be called by what is elsewhere one's alias."""
    known = Catalogue({"azure_openai": Facts(), "azure": Facts()}, Settings())

    assert known.provider("azure") == "azure"
    assert known.provider("azure_openai") == "azure_openai"


def test_repr_counts() -> None:
    """Providers by name, models by number."""
    assert repr(catalogue("a")) == "<Catalogue of openai, azure, openrouter, vertex_ai; 1 models>"
