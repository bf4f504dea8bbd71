"""Candidates: which models, in which order, asked for by which name, and why."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from respan_openai._params import check
from respan_openai.exceptions import ConfigError
from respan_openai.local.catalogue import Facts
from respan_openai.local.contract import ContractError
from respan_openai.local.credentials import Credential
from respan_openai.local.primary import Ask
from respan_openai.local.router import MOST_FALLBACKS, Candidate, Router
from respan_openai.local.settings import Model, Settings


PROVIDERS = {
    "openai": Facts(base_url="https://api.openai.com/v1"),
    "azure": Facts(azure=True, base_url="https://mine.openai.azure.com"),
    "openrouter": Facts(base_url="https://openrouter.ai/api/v1"),
}
GROUPS = {
    "g": (
        {"model": "a", "weight": 1},
        {"model": "azure/b", "weight": 3, "credentials": {"api_key": "of-b"}},
        {"model": "c", "weight": 1},
    )
}
DRAWS = st.floats(min_value=0, max_value=0.999)


class Price(NamedTuple):
    """Dollars per million tokens."""

    input: float
    output: float


PRICES = {"openai/cheap": Price(1, 1), "openai/dear": Price(9, 9), "azure/middle": Price(5, 5)}


def router(**settings: Any) -> Router:
    """With the providers above, of which openai is the first."""
    return Router(
        PROVIDERS,
        Settings(**settings),
        price=lambda provider, model: PRICES.get(f"{provider}/{model}"),
        measured=lambda _model: None,
    )


def models(*names: str) -> tuple[Model, ...]:
    """As settings declare them."""
    return tuple(Model(name=name) for name in names)


def asked(
    params: dict[str, Any] | None = None,
    model: str | None = None,
    *,
    route: str | None = None,
    draw: float = 0.0,
    fields: dict[str, Any] | None = None,
    **settings: Any,
) -> list[Candidate]:
    """The candidates of a request, its parameters checked as a gateway does."""
    named = {} if model is None else {"model": model}
    gateway = router(**settings)
    return gateway.candidates(check(params or {}), {**named, **(fields or {})}, route, draw=draw)


def names(found: list[Candidate]) -> list[str]:
    """Whom to ask for what, in order."""
    return [f"{candidate.provider}/{candidate.sent}" for candidate in found]


def refusal(params: dict[str, Any], model: str | None = None, **more: Any) -> dict[str, Any]:
    """The error that a request is answered with."""
    with pytest.raises(ContractError) as caught:
        asked(params, model, **more)
    assert caught.value.reply.status == 400
    error: dict[str, Any] = json.loads(caught.value.reply.chunks[0])["error"]
    return error


# -- the first one

LOAD_BALANCE_MODELS = {"load_balance_models": [{"model": "listed", "weight": 1}]}
GROUP = {"load_balance_group": {"group_id": "x", "models": [{"model": "grouped", "weight": 1}]}}


@pytest.mark.parametrize(
    ("params", "model", "first", "why"),
    [
        ({}, "m", "openai/m", "asked for"),
        (LOAD_BALANCE_MODELS, "m", "openai/listed", "load_balance_models, weight 1 of 1"),
        ({"load_balance_models": []}, "m", "openai/m", "asked for"),
        ({"loadbalance_models": LOAD_BALANCE_MODELS["load_balance_models"]}, "m", "openai/listed",
         "load_balance_models, weight 1 of 1"),
        ({**LOAD_BALANCE_MODELS, **GROUP}, None, "openai/listed", "load_balance_models, weight 1 of 1"),
        (GROUP, "m", "openai/m", "asked for"),
        (GROUP, None, "openai/grouped", "group x, weight 1 of 1"),
        ({**GROUP, "models": ["one"]}, None, "openai/grouped", "group x, weight 1 of 1"),
        ({"models": ["one"]}, None, "openai/one", "only candidate"),
        ({"models": ["one", "openai/one"]}, None, "openai/one", "only candidate"),
        ({"models": ["one", "two"]}, "m", "openai/m", "asked for"),
        ({"models": ["dear", "cheap"]}, None, "openai/cheap", "router: cheapest"),
        ({"models": []}, None, "azure/middle", "router: cheapest"),
        ({}, None, "azure/middle", "router: cheapest"),
    ],
)  # fmt: skip
def test_who_names_the_first(params: dict[str, Any], model: str | None, first: str, why: str) -> None:
    """load_balance_models, model (003:3), load_balance_group (contract.md, 3), models, router (003:81)."""
    found = asked(params, model, models=models("dear", "azure/middle"))[0]

    assert (f"{found.provider}/{found.sent}", found.why) == (first, why)


def test_call_that_says_nothing_but_its_model() -> None:
    """It has the same candidates each time, whatever other calls have asked for, and whoever changes the list."""
    gateway = router(fallback_models=["spare"])
    plain = {"model": "m"}
    first = gateway.candidates({}, plain, draw=0.0)
    expected = [*first]
    first.clear()
    routed = gateway.candidates({}, plain, "azure", draw=0.0)
    with_key = gateway.candidates({"customer_api_keys": {"m": "key"}}, plain, draw=0.0)
    labelled = gateway.candidates({"metadata": {"run": 1}, "disable_log": True}, plain, draw=0.9)

    assert names(expected) == ["openai/m", "openai/spare"]
    assert gateway.candidates({}, plain, draw=0.5) == expected == labelled
    assert names(routed) == ["azure/m", "azure/spare"]
    assert [candidate.credential for candidate in with_key] == [Credential("key"), None]


@pytest.mark.parametrize("length", [256, 257, 100_000])
def test_model_with_a_long_name(length: int) -> None:
    """It is asked for as any other; it is not remembered, so that made-up names do not fill the memory."""
    gateway = router()
    found = [gateway.candidates({}, {"model": "m" * length}, draw=0.0) for _ in range(2)]

    assert found == [[Candidate("openai", "m" * length, "m" * length, None, "asked for")]] * 2
    assert (found[0][0] is found[1][0]) is (length <= 256)


@pytest.mark.parametrize(
    "excluded", [{"exclude_models": ["m"]}, {"exclude_providers": ["openai"]}], ids=["model", "provider"]
)
@pytest.mark.parametrize(
    ("params", "model", "expected"),
    [
        ({}, "m", ["openai/m"]),
        ({"models": ["m"]}, None, ["openai/m"]),
        ({"fallback_models": ["m"]}, "azure/x", ["azure/x", "openai/m"]),
        ({"models": ["m", "azure/y"]}, "azure/x", ["azure/x", "openai/m", "azure/y"]),
        ({"models": ["m", "azure/x"]}, None, ["azure/x"]),
        ({"models": ["m", "azure/x"], "fallback_models": ["m"]}, None, ["azure/x", "openai/m"]),
        ({}, None, ["azure/x"]),
    ],
)
def test_exclusions_bind_the_router_only(
    excluded: dict[str, Any], params: dict[str, Any], model: str | None, expected: Any
) -> None:
    """Reference 003:83-89: neither ``model`` nor ``fallback_models`` nor what acts as one of them."""
    found = asked({**params, **excluded}, model, models=models("m", "azure/x"))

    assert names(found) == expected


def test_the_router_knows_the_request() -> None:
    """Models that cannot do what its fields need are no candidates."""
    declared = (Model(name="cheap", tools=False), Model(name="dear"), Model(name="azure/middle"))

    found = asked(fields={"tools": [{"type": "function"}]}, models=declared)

    assert names(found) == ["azure/middle", "openai/dear"]
    assert [candidate.why for candidate in found] == ["router: cheapest with tools", "router: place 2 of 2"]


@pytest.mark.parametrize(
    ("params", "settings", "param", "says"),
    [
        ({}, {}, "model", "there are no models to choose from"),
        ({"exclude_models": ["m"]}, {"models": models("m")}, "models", "Left out"),
        ({}, {"models": models("m"), "dynamic_routing": False}, "model", r"Settings(dynamic_routing=False)"),
        ({"models": ["a", "b"]}, {"dynamic_routing": False}, "model", r"Settings(dynamic_routing=False)"),
        (
            {"load_balance_group": {"group_id": "y"}},
            {"groups": GROUPS},
            "load_balance_group.group_id",
            "there are: g",
        ),
    ],
)
def test_nobody_to_ask(params: dict[str, Any], settings: dict[str, Any], param: str, says: str) -> None:
    """400 in OpenAI's shape, naming the field and what to do."""
    error = refusal(params, **settings)

    assert error["param"] == param
    assert says in error["message"]


def test_one_of_models_needs_no_router() -> None:
    """It counts as ``model`` (003:81), so a gateway that does not route serves it."""
    assert names(asked({"models": ["m"]}, dynamic_routing=False)) == ["openai/m"]


@pytest.mark.parametrize("model", ["", 5, ["m"], {"m": 1}])
def test_a_model_that_is_no_name(model: Any) -> None:
    """Said, not routed."""
    assert refusal({}, fields={"model": model})["param"] == "model"


# -- by weight


@pytest.mark.parametrize(
    ("draw", "order"),
    [
        (0.0, ["openai/a", "azure/b", "openai/c"]),
        (0.3, ["azure/b", "openai/a", "openai/c"]),
        (0.79, ["azure/b", "openai/c", "openai/a"]),
        (0.81, ["openai/c", "openai/a", "azure/b"]),
    ],
)
def test_saved_group(draw: float, order: list[str]) -> None:
    """One draw picks the first by weight, and the order of those that stand in for it."""
    params = {"load_balance_group": {"group_id": "g"}}

    assert names(asked(params, groups=GROUPS, draw=draw)) == order


def test_members_keep_what_is_theirs() -> None:
    """Weight in the record, and credentials for that member alone (003:3, load_balance_group)."""
    found = asked({"load_balance_group": {"group_id": "g"}}, groups=GROUPS, draw=0.3)

    assert found[0] == Candidate("azure", "azure/b", "b", Credential("of-b"), "group g, weight 3 of 5")
    assert found[1].credential is None


@pytest.mark.parametrize("group_id", ["g", "not saved"])
def test_inline_models_replace_the_saved_ones(group_id: str) -> None:
    """Reference 003:3: "will overwrite the load_balance_group you specified"; then nothing need be saved."""
    inline = [{"model": "azure/mine", "weight": 0.5, "credentials": {"api_key": "k"}}]

    found = asked({"load_balance_group": {"group_id": group_id, "models": inline}}, groups=GROUPS)

    assert found == [
        Candidate("azure", "azure/mine", "mine", Credential("k"), f"group {group_id}, weight 0.5 of 0.5")
    ]


def test_an_empty_list_replaces_nothing() -> None:
    """There would be nothing to pick from."""
    assert len(asked({"load_balance_group": {"group_id": "g", "models": []}}, groups=GROUPS)) == 3


def test_weights_by_distribution() -> None:
    """Of 5,000 calls each member gets its share: chi-square below its 99.9 % quantile for two degrees."""
    draws, gateway = random.Random(20261121), router(groups=GROUPS)
    counts = dict.fromkeys("abc", 0)
    for _ in range(5_000):
        found = gateway.candidates({"load_balance_group": {"group_id": "g"}}, {}, draw=draws.random())
        counts[found[0].sent] += 1

    expected = {"a": 1_000, "b": 3_000, "c": 1_000}
    assert sum((counts[name] - mean) ** 2 / mean for name, mean in expected.items()) < 13.82


def test_the_deployment_does_not_depend_on_the_member() -> None:
    """What is left of the draw picks the customer's deployment: both are used with the first member, too."""
    params = {
        "load_balance_group": {"group_id": "g"},
        "customer_credentials": {"openai": [{"api_key": "1"}, {"api_key": "2"}]},
    }
    found = [asked(params, groups=GROUPS, draw=draw)[0] for draw in (0.01, 0.19)]

    assert [candidate.sent for candidate in found] == ["a", "a"]
    assert [candidate.credential for candidate in found] == [Credential("1"), Credential("2")]


def test_two_deployments_of_one_model() -> None:
    """The same model with another key is another candidate (003:107, example with credentials)."""
    items = [{"model": "azure/m", "weight": 1, "credentials": {"api_key": key}} for key in ("1", "2", "2")]

    found = asked({"load_balance_models": items})

    assert [candidate.credential for candidate in found] == [Credential("1"), Credential("2")]


# -- the others


@pytest.mark.parametrize(
    ("params", "model", "expected", "whys"),
    [
        ({"fallback_models": ["b", "azure/c"]}, "a", "a b azure/c", ["fallback 1", "fallback 2"]),
        ({"models": ["b", "c"]}, "a", "a b c", ["models 1", "models 2"]),
        ({"models": ["b"]}, "a", "a b", ["models 1"]),
        ({"models": ["b", "c"], "fallback_models": ["d"]}, "a", "a d b c",
         ["fallback 1", "models 1", "models 2"]),
        ({}, "a", "a default", ["default fallback 1"]),
        ({"fallback_models": []}, "a", "a default", ["default fallback 1"]),
        ({"models": ["one"]}, None, "one default", ["default fallback 1"]),
        ({"fallback_models": ["a", "openai/a", "b"]}, "a", "a b", ["fallback 3"]),
        ({"models": ["b", "a"], "fallback_models": ["b"]}, "a", "a b", ["fallback 1"]),
        ({"fallback_models": ["b", "c", "d", "e", "f"]}, "a", "a b c d e f",
         ["fallback 1", "fallback 2", "fallback 3", "fallback 4", "fallback 5"]),
        ({"fallback_models": ["b", "c", "d"], "models": ["e", "f", "g"]}, "a", "a b c d e f",
         ["fallback 1", "fallback 2", "fallback 3", "models 1", "models 2"]),
        ({"load_balance_group": {"group_id": "g"}, "fallback_models": ["x"]}, None, "a x azure/b c",
         ["fallback 1", "group g, weight 3 of 5", "group g, weight 1 of 5"]),
        ({"load_balance_group": {"group_id": "g"}, "models": ["x", "y"]}, None, "a x y azure/b c",
         ["models 1", "models 2", "group g, weight 3 of 5", "group g, weight 1 of 5"]),
        ({"models": ["dear", "cheap"], "fallback_models": ["x"]}, None, "cheap x dear",
         ["fallback 1", "router: place 2 of 2"]),
    ],
)  # fmt: skip
def test_order_of_fallbacks(
    params: dict[str, Any], model: str | None, expected: str, whys: list[str]
) -> None:
    """Those ranked by the caller (003:53), else the settings'; models (003:81); then who was not picked."""
    found = asked(params, model, groups=GROUPS, fallback_models=("default",))

    assert [candidate.model for candidate in found] == expected.split()
    assert [candidate.why for candidate in found[1:]] == whys


@pytest.mark.parametrize(
    ("params", "settings"),
    [({"disable_fallback": True}, {}), ({}, {"fallback": False})],
    ids=["call", "settings"],
)
@pytest.mark.parametrize(
    "more",
    [{"fallback_models": ["b"]}, {"load_balance_group": {"group_id": "g"}}, {"models": ["a", "b"]}, {}],
)
def test_no_fallbacks(params: dict[str, Any], settings: dict[str, Any], more: dict[str, Any]) -> None:
    """Switched off by the call or the settings, there is one candidate, whatever else could be asked."""
    found = asked(
        {**more, **params}, groups=GROUPS, fallback_models=("c",), models=models("a", "b"), **settings
    )

    assert len(found) == 1


def test_fallbacks_not_disabled() -> None:
    """False is the default."""
    assert len(asked({"disable_fallback": False, "fallback_models": ["b"]}, "a")) == 2


def test_each_has_its_own_credential() -> None:
    """Looked up separately for each fallback (003:53, contract.md section 4)."""
    params = {
        "fallback_models": ["azure/b", "openrouter/c", "d"],
        "credential_override": {"azure/b": {"api_key": "of-b"}, "openrouter": {"api_key": "of-openrouter"}},
        "customer_credentials": {"openai": "of-openai"},
    }

    found = asked(params, "a")

    keys = [candidate.credential and candidate.credential.api_key for candidate in found]
    assert keys == ["of-openai", "of-b", "of-openrouter", "of-openai"]


# -- names


def test_model_name_map_applies_to_every_candidate() -> None:
    """Reference 003:77-78; asked by the deployment's name, recorded by the model's."""
    params = {
        "model_name_map": {"azure/gpt-4o": "azure/mine", "b": "yours"},
        "fallback_models": ["azure/b", "b"],
    }

    found = asked(params, "azure/gpt-4o")

    assert [(candidate.model, candidate.sent) for candidate in found] == [
        ("azure/gpt-4o", "mine"),
        ("azure/b", "yours"),
        ("b", "b"),
    ]


@pytest.mark.parametrize(
    ("params", "route"),
    [
        ({}, " AZURE "),
        ({"route_provider_override": "azure"}, None),
        ({"route_provider_override": "openai"}, "azure"),
    ],
)
@pytest.mark.parametrize(
    ("more", "model", "expected"),
    [
        ({"fallback_models": ["b", "azure/c"]}, "a", ["azure/a", "azure/b", "azure/c"]),
        ({}, None, ["azure/middle"]),
        ({"models": ["a"]}, None, ["azure/a"]),
        ({"load_balance_models": [{"model": "a", "weight": 1}]}, None, ["azure/a"]),
    ],
)
def test_a_pin_binds_all(
    params: dict[str, Any], route: str | None, more: dict[str, Any], model: str | None, expected: Any
) -> None:
    """Reference 002:8: the request stays with that provider; its fallbacks do, and the router's choice."""
    found = asked({**params, **more}, model, route=route, models=models("cheap", "azure/middle"))

    assert names(found) == expected


def test_pinned_to_nobody() -> None:
    """400 that lists the providers."""
    error = refusal({}, "m", route="nobody")

    assert error["param"] == "X-Respan-Route-Provider"
    assert "openai, azure, openrouter" in error["message"]


# -- always


@settings(max_examples=60, deadline=None)
@given(draw=DRAWS, data=st.data())
def test_whatever_is_asked(draw: float, data: st.DataObject) -> None:
    """At least one candidate and at most six, none twice, the same each time, with a reason each."""
    name = st.sampled_from(["a", "b", "openai/a", "azure/b", "azure/c", "openrouter/x/y", "cheap"])
    item = st.fixed_dictionaries({"model": name, "weight": st.floats(0.1, 9) | st.integers(1, 2**1024 - 1)})
    params = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "models": st.lists(name, max_size=4),
                "fallback_models": st.lists(name, max_size=5),
                "load_balance_models": st.lists(item, max_size=4),
                "load_balance_group": st.just({"group_id": "g"}),
                "disable_fallback": st.booleans(),
            },
        )
    )
    model = data.draw(st.none() | name)
    house: dict[str, Any] = {"groups": GROUPS, "models": models("cheap", "dear", "azure/middle")}

    found = asked(params, model, draw=draw, **house)

    assert 1 <= len(found) <= 1 + MOST_FALLBACKS
    assert len(
        {(candidate.provider, candidate.sent, candidate.credential is None) for candidate in found}
    ) == len(found)
    assert all(candidate.why and "\n" not in candidate.why for candidate in found)
    assert asked(params, model, draw=draw, **house) == found


BAD = {"api_key": "canary", "api_base": "http://169.254.169.254"}


@pytest.mark.parametrize(
    ("params", "model"),
    [
        (
            {
                "load_balance_models": [
                    {"model": "a", "weight": 1000},
                    {"model": "b", "weight": 1, "credentials": BAD},
                ]
            },
            None,
        ),
        ({"load_balance_group": {"group_id": "g"}, "credential_override": {"c": BAD}}, None),
        ({"fallback_models": ["azure/b"], "customer_credentials": {"azure": BAD}}, "a"),
        ({"models": ["dear", "cheap"], "credential_override": {"dear": BAD}}, None),
        ({"credential_override": {"a": BAD}}, "a"),
    ],
)
@settings(max_examples=10, deadline=None)
@given(draw=DRAWS)
def test_refusals_do_not_depend_on_the_draw(params: dict[str, Any], model: str | None, draw: float) -> None:
    """A credential that would go where it must not is found in all who could be asked (faults.md, K10)."""
    error = refusal(params, model, draw=draw, groups=GROUPS)

    assert "169.254.169.254" in error["message"]
    assert "canary" not in json.dumps(error)


@pytest.mark.parametrize(
    ("model", "params", "limit"),
    [
        ("m", {}, 10),
        ("openai/m", {}, 10),
        ("OpenAI/m", {}, 10),
        ("azure/m", {}, 20),
        ("AZURE_OPENAI/m", {"model_name_map": {"m": "deployed"}}, 20),
        ("openrouter/m", {}, None),
        ("m", {"route_provider_override": "openrouter"}, None),
        ("x", {}, None),
    ],
)
def test_what_is_declared(model: str, params: dict[str, Any], limit: int | None) -> None:
    """It goes with the model and its provider: another one's model of that name may write more than is declared."""
    declared = (Model(name="m", max_output=10), Model(name="azure/m", max_output=20))
    (found,) = asked(params, model, models=declared)

    assert (None if found.declared is None else found.declared.max_output) == limit


def test_nothing_secret_is_shown() -> None:
    """Neither a candidate, a request nor a router shows a key, a prompt, or an address (faults.md, K5)."""
    params = {
        "credential_override": {"a": {"api_key": "canary"}},
        "customer_credentials": {"azure": "canary"},
    }
    groups = {"g": ({"model": "a", "weight": 1, "credentials": {"api_key": "canary"}},)}

    found = asked(
        {**params, "fallback_models": ["azure/b"]}, "a", fields={"messages": "canary"}, groups=groups
    )

    assert len(found) == 2
    assert "canary" not in repr(found)
    assert "canary" not in repr(Ask(params, {"messages": "canary"}, None, 0.0))
    assert (
        repr(router(groups=groups))
        == "<Router with <Catalogue of openai, azure, openrouter; 0 models> and 1 groups>"
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"groups": {"g": []}}, "group g holds no models"),
        ({"models": models("a", "openai/a")}, "declares 'openai/a' twice"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], says: str) -> None:
    """Said when the router is made, not when it is asked."""
    with pytest.raises(ConfigError, match=says):
        router(**settings)
