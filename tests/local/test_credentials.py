"""Whose key a call uses: precedence, the shapes of a customer's credentials, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from respan_openai._core.plain import is_list, is_object
from respan_openai._params import check
from respan_openai.exceptions import ParamsError
from respan_openai.local.catalogue import Catalogue, Facts
from respan_openai.local.credentials import Credential, credential_for, read
from respan_openai.local.settings import Model, Settings


CATALOGUE = Catalogue(
    {
        "openai": Facts(base_url="https://api.openai.com/v1"),
        "azure": Facts(azure=True, base_url="https://stored.openai.azure.com"),
        "vertex_ai": Facts(),
        "together_ai": Facts(),
    },
    Settings(
        models=(Model(name="azure/only-there"),), api_bases=frozenset({"https://mine.openai.azure.com"})
    ),
)
OWN_BASE = {"api_key": "k", "api_base": "https://mine.openai.azure.com/"}


def used(
    model: str,
    params: dict[str, Any],
    *,
    draw: float = 0.0,
    pinned: str | None = None,
    member: Credential | None = None,
) -> Credential | None:
    """The credential for *model*, with *params* checked as a request's are."""
    slug = CATALOGUE.slug(model, pinned)
    return credential_for(slug, check(params), CATALOGUE, draw=draw, member=member)


def key(model: str, params: dict[str, Any], **more: Any) -> str | None:
    """Its key; ``None`` for the stored one."""
    credential = used(model, params, **more)
    return None if credential is None else credential.api_key


# -- who wins

#: From the strongest to the weakest (contract.md, section 3), each for the model ``openai/gpt-4o``.
LEVELS: dict[str, dict[str, Any]] = {
    "override by model (000:36, 003:57-59)": {"credential_override": {"openai/gpt-4o": {"api_key": "0"}}},
    "override by provider (001:54, 002:21)": {"credential_override": {"openai": {"api_key": "1"}}},
    "member of a group (003:107)": {},
    "customer_credentials (002:20, 003:55-56)": {"customer_credentials": {"openai": "3"}},
    "customer_api_keys (003:105-106)": {"customer_api_keys": {"openai/gpt-4o": "4"}},
}


@pytest.mark.parametrize("strongest", range(len(LEVELS) + 1), ids=[*LEVELS, "stored"])
def test_precedence(strongest: int) -> None:
    """Of all levels that a request has, the strongest is used; of none, the stored key."""
    params: dict[str, Any] = {}
    for level in list(LEVELS.values())[strongest:]:
        for name, value in level.items():
            params[name] = {**params.get(name, {}), **value}
    member = Credential("2") if strongest <= 2 else None

    expected = None if strongest == len(LEVELS) else str(strongest)
    assert key("openai/gpt-4o", params, member=member) == expected


@pytest.mark.parametrize("name", ["credential_override", "customer_api_keys"])
@pytest.mark.parametrize(
    ("model", "selector", "pinned", "is_used"),
    [
        ("gpt-4o", "gpt-4o", None, True),
        ("gpt-4o", "openai/gpt-4o", None, True),
        ("openai/gpt-4o", "gpt-4o", None, True),
        ("openai/gpt-4o", "OPENAI/gpt-4o", None, True),
        ("azure/gpt-4o", "azure/gpt-4o", None, True),
        ("azure/gpt-4o", "azure_openai/gpt-4o", None, True),
        ("azure/only-there", "only-there", None, True),
        ("gpt-4o", "gpt-4o", "azure", True),
        ("gpt-4o", "azure/gpt-4o", "azure", True),
        ("gpt-4o", "gpt-4", None, False),
        ("openai/gpt-4o", "azure/gpt-4o", None, False),
        ("gpt-4o", "openai/gpt-4o", "azure", False),
        ("azure/gpt-4o", "gpt-4o", None, False),
    ],
)
def test_selected_by_model(name: str, model: str, selector: str, pinned: str | None, is_used: bool) -> None:
    """By the slug with its prefix or without; a name alone means the provider that it would be asked at."""
    entry = {"api_key": "k"} if name == "credential_override" else "k"

    assert key(model, {name: {selector: entry}}, pinned=pinned) == ("k" if is_used else None)


def test_a_key_meant_for_one_provider_is_not_shown_to_another() -> None:
    """A fallback to Azure's gpt-4o does not get the OpenAI key for gpt-4o; one with its own address may."""
    params = {"credential_override": {"gpt-4o": {"api_key": "k"}}}

    assert key("azure/gpt-4o", params) is None
    assert used("azure/gpt-4o", {"credential_override": {"gpt-4o": OWN_BASE}}) == Credential(
        "k", "https://mine.openai.azure.com"
    )


def test_the_whole_slug_wins_over_the_name() -> None:
    """Of several selectors that fit, the one that says more is used."""
    params = {"credential_override": {"gpt-4o": OWN_BASE, "azure/gpt-4o": {"api_key": "whole"}}}

    assert key("azure/gpt-4o", params) == "whole"


@pytest.mark.parametrize("name", ["credential_override", "customer_credentials"])
@pytest.mark.parametrize(
    ("model", "selector", "is_used"),
    [
        ("openai/gpt-4o", "openai", True),
        ("openai/gpt-4o", "OpenAI", True),
        ("azure/gpt-4o", "azure", True),
        ("azure/gpt-4o", "azure_openai", True),
        ("vertex_ai/gemini", "google_vertex_ai", True),
        ("together_ai/llama", "togetherai", True),
        ("azure/gpt-4o", "openai", False),
    ],
)
def test_selected_by_provider(name: str, model: str, selector: str, is_used: bool) -> None:
    """By name or by the id that credentials use (params.yaml, provider_ids), without regard to case."""
    assert key(model, {name: {selector: {"api_key": "k"}}}) == ("k" if is_used else None)


def test_a_name_wins_over_an_alias() -> None:
    """With both in one request, the provider's own name is used."""
    assert key("azure/gpt-4o", {"customer_credentials": {"azure_openai": "alias", "azure": "name"}}) == "name"


# -- a customer's credentials

SHAPES = {
    "key (002:20)": {"openai": "k"},
    "object (003:3, example)": {"openai": {"api_key": "k"}},
    "list of objects": {"openai": [{"api_key": "k"}]},
    "list of deployments": {"openai": [{"credentials": {"api_key": "k"}, "weight": 2}]},
    "list of deployments, named again": {"openai": [{"credentials": {"openai": {"api_key": "k"}}}]},
    "list of deployments, key": {"openai": [{"credentials": {"openai": "k"}}]},
    "outer list": [{"credentials": {"openai": {"api_key": "k"}}, "weight": 2}],
    "outer list, key": [{"credentials": {"azure": "a", "openai": "k"}}],
    "outer list, second": [{"credentials": {"azure": "a"}}, {"credentials": {"openai": "k"}}],
}


@pytest.mark.parametrize("given", SHAPES.values(), ids=SHAPES.keys())
def test_shapes_of_customer_credentials(given: Any) -> None:
    """The same key, however it is written (params.yaml, customer_credentials)."""
    assert used("gpt-4o", {"customer_credentials": given}) == Credential("k")


NOTHING: list[Any] = [
    {},
    [],
    {"openai": {}},
    {"openai": []},
    {"azure": "a"},
    [{"credentials": {"azure": "a"}}],
    {"openai": [{"credentials": {}}]},
]


@pytest.mark.parametrize("given", NOTHING, ids=str)
def test_nothing_for_this_provider(given: Any) -> None:
    """What says nothing leaves the next level in its place."""
    assert key("gpt-4o", {"customer_credentials": given, "customer_api_keys": {"gpt-4o": "next"}}) == "next"


def _deployments(shape: str, *items: dict[str, Any]) -> dict[str, Any]:
    inner = shape == "inner"
    listed = [
        {**item, "credentials": {"api_key": item["key"]} if inner else {"openai": {"api_key": item["key"]}}}
        for item in items
    ]
    listed = [{name: value for name, value in item.items() if name != "key"} for item in listed]
    return {"customer_credentials": {"openai": listed} if inner else listed}


@pytest.mark.parametrize("shape", ["inner", "outer"])
@pytest.mark.parametrize(("draw", "expected"), [(0.0, "a"), (0.24, "a"), (0.26, "b"), (0.99, "b")])
def test_deployments_share_by_weight(shape: str, draw: float, expected: Any) -> None:
    """One of 1 and 3 gets a quarter of the draws; without a weight it counts 1."""
    params = _deployments(shape, {"key": "a"}, {"key": "b", "weight": 3})

    assert key("gpt-4o", params, draw=draw) == expected


@pytest.mark.parametrize("shape", ["inner", "outer"])
@pytest.mark.parametrize(
    ("limits", "serves"),
    [
        ({}, True),
        ({"available_models": ["gpt-4o"]}, True),
        ({"available_models": ["openai/gpt-4o", "other"]}, True),
        ({"available_models": ["other"]}, False),
        ({"available_models": []}, False),
        ({"exclude_models": ["gpt-4o"]}, False),
        ({"exclude_models": ["openai/gpt-4o"]}, False),
        ({"exclude_models": ["other"]}, True),
        ({"exclude_models": []}, True),
        ({"available_models": ["gpt-4o"], "exclude_models": ["gpt-4o"]}, False),
    ],
    ids=str,
)
def test_deployments_are_for_some_models(shape: str, limits: dict[str, Any], serves: bool) -> None:
    """Those that may not serve the model have no share; if none may, the next level is used (params.yaml)."""
    params = _deployments(shape, {"key": "k", "weight": 1000, **limits}, {"key": "other", "weight": 1})

    assert key("openai/gpt-4o", params, draw=0.5) == ("k" if serves else "other")


def test_no_deployment_for_the_model() -> None:
    """Then it is as if the customer had none."""
    assert key("gpt-4o", _deployments("outer", {"key": "k", "exclude_models": ["gpt-4o"]})) is None


# -- what is in one


def test_all_fields() -> None:
    """What Azure needs has its own places; what others need is passed on (000:36, 003:59)."""
    fields = {**OWN_BASE, "api_version": "2024-10-21", "aws_region_name": "eu"}

    assert read(fields, "place", {"https://mine.openai.azure.com:443"}) == Credential(
        "k", "https://mine.openai.azure.com", "2024-10-21", {"aws_region_name": "eu"}
    )


@pytest.mark.parametrize("bad", ["", "2024\r\nX: canary", "2024\u00e9"])
def test_versions_that_no_query_carries(bad: str) -> None:
    """Refused at their place, before a provider is looked at; whoever means the stored one leaves it out."""
    with pytest.raises(ParamsError, match="Leave it out") as caught:
        read({"api_key": "k", "api_version": bad}, "place", None)

    assert caught.value.param == "place.api_version"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("value", [None, {}])
def test_nothing_in_it(value: Any) -> None:
    """No credential is no error."""
    assert read(value, "place", None) is None


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"credential_override": {"gpt-4o": {"api_key": "%"}}}, "credential_override.gpt-4o.api_key"),
        ({"credential_override": {"openai": {"api_key": "%"}}}, "credential_override.openai.api_key"),
        ({"customer_credentials": {"openai": "%"}}, "customer_credentials.openai"),
        ({"customer_credentials": {"openai": [{"api_key": "%"}]}}, "customer_credentials.openai[0].api_key"),
        (
            {"customer_credentials": [{"credentials": {"openai": "%"}}]},
            "customer_credentials[0].credentials.openai",
        ),
        ({"customer_api_keys": {"gpt-4o": "%"}}, "customer_api_keys.gpt-4o"),
    ],
)
@pytest.mark.parametrize("bad", ["", "canary key", "canary\tkey", "canary\u00e9"])
def test_keys_that_no_header_carries(params: dict[str, Any], place: str, bad: str) -> None:
    """An error that names the place, not the value (K12 in faults.md); empty never means the stored one."""
    with pytest.raises(ParamsError, match="a key that no header carries") as caught:
        used("gpt-4o", _filled(params, bad))

    assert caught.value.param == place
    assert "canary" not in str(caught.value)


def _filled(value: Any, with_what: Any) -> Any:
    if is_object(value):
        return {name: _filled(item, with_what) for name, item in value.items()}
    if is_list(value):
        return [_filled(item, with_what) for item in value]
    return with_what if value == "%" else value


IN_ANY_SHAPE = {
    "override by model": {"credential_override": {"gpt-4o": "%"}},
    "override by provider": {"credential_override": {"openai": "%"}},
    "customer's object": {"customer_credentials": {"openai": "%"}},
    "customer's list": {"customer_credentials": {"openai": ["%"]}},
    "customer's deployments": {"customer_credentials": {"openai": [{"credentials": {"openai": "%"}}]}},
    "customer's outer list": {"customer_credentials": [{"credentials": {"openai": "%"}}]},
}


@pytest.mark.parametrize("shape", IN_ANY_SHAPE)
@pytest.mark.parametrize(
    "base", ["http://169.254.169.254/v1", "http://localhost:22", "https://stored.openai.azure.com"]
)
def test_addresses_are_checked_in_every_shape(shape: str, base: str) -> None:
    """An origin that is neither listed nor the provider's own is refused (K10 in faults.md)."""
    with pytest.raises(ParamsError, match="which this gateway sends nothing to"):
        used("gpt-4o", _filled(IN_ANY_SHAPE[shape], {"api_key": "k", "api_base": base}))


@pytest.mark.parametrize("shape", IN_ANY_SHAPE)
@pytest.mark.parametrize("base", ["https://mine.openai.azure.com", "https://api.openai.com/v1"])
def test_listed_and_own_addresses(shape: str, base: str) -> None:
    """Allowed in every shape: an origin in Settings.api_bases, and that of the provider itself."""
    found = used("gpt-4o", _filled(IN_ANY_SHAPE[shape], {"api_key": "k", "api_base": base}))

    assert found == Credential("k", base)


@pytest.mark.parametrize("shape", IN_ANY_SHAPE)
@pytest.mark.parametrize("base", ["https://mine.openai.azure.com", "https://api.openai.com/v1"])
def test_the_stored_key_never_goes_to_an_address_of_the_request(shape: str, base: str) -> None:
    """An address without a key is refused, even one that is allowed."""
    with pytest.raises(ParamsError, match="has an `api_base` but no `api_key`"):
        used("gpt-4o", _filled(IN_ANY_SHAPE[shape], {"api_base": base, "aws_region_name": "eu"}))


@settings(max_examples=20, deadline=None)
@given(draw=st.floats(min_value=0, max_value=0.999))
def test_refusals_do_not_depend_on_the_draw(draw: float) -> None:
    """Every deployment that could have been picked is looked at."""
    params = {
        "customer_credentials": {
            "openai": [{"api_key": "k"}, {"api_key": "k", "api_base": "http://127.0.0.1"}, {"api_key": "k"}]
        }
    }

    with pytest.raises(ParamsError, match="127"):
        used("gpt-4o", params, draw=draw)


@pytest.mark.parametrize("name", ["api_key", "api_base", "api_version"])
def test_fields_that_are_no_text(name: str) -> None:
    """Deployments are open objects; what is read from them is checked here."""
    item = {"credentials": {"api_key": "k", name: {"a": "b"}}}

    with pytest.raises(ParamsError, match="must be a string; got dict") as caught:
        used("gpt-4o", {"customer_credentials": {"openai": [item]}})

    assert caught.value.param == f"customer_credentials.openai[0].credentials.{name}"


def test_a_key_in_the_place_of_a_model_is_not_shown() -> None:
    """Someone who swaps the two in customer_api_keys does not find the key in a log."""
    swapped = "sk-canary0123456789"

    with pytest.raises(ParamsError) as caught:
        used(swapped, {"customer_api_keys": {swapped: "gpt 4o"}})

    assert "canary" not in str(caught.value)


def test_repr_shows_no_value() -> None:
    """Names of fields, so that a log says what came, and nothing of what it holds."""
    credential = Credential("canary", "https://canary.example", None, {"aws_secret_access_key": "canary"})

    assert repr(credential) == "<Credential with api_key, api_base, aws_secret_access_key>"
    assert f"{[credential]}" == "[<Credential with api_key, api_base, aws_secret_access_key>]"
