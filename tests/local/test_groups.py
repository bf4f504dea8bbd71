"""Load balance groups: saved ones, and lists in a request."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from respan_openai._params import check
from respan_openai.exceptions import ConfigError, ParamsError
from respan_openai.local.catalogue import Catalogue, Facts
from respan_openai.local.credentials import Credential
from respan_openai.local.groups import Member, inline, named, saved
from respan_openai.local.settings import Settings


CATALOGUE = Catalogue(
    {"openai": Facts(base_url="https://api.openai.com/v1"), "azure": Facts(base_url="https://a.example")},
    Settings(),
)


def listed(items: list[dict[str, Any]], pinned: str | None = None) -> tuple[Member, ...]:
    """Members of a list in a request, checked as a request is."""
    group = check({"load_balance_group": {"group_id": "g", "models": items}})["load_balance_group"]
    return inline(group["models"], ("load_balance_group", "models"), CATALOGUE, pinned)


def test_members_in_a_request() -> None:
    """Model, weight, and credentials of their own if they have any (003:3, load_balance_group)."""
    credentials = {"api_key": "k", "api_base": "https://a.example", "api_version": "v"}

    assert listed(
        [
            {"model": "gpt-4o", "weight": 1},
            {"model": "azure/gpt-4", "weight": 0.5, "credentials": credentials},
            {"model": "azure/gpt-4", "weight": 2, "credentials": {}},
        ]
    ) == (
        Member("gpt-4o", 1, None),
        Member("azure/gpt-4", 0.5, Credential("k", "https://a.example", "v")),
        Member("azure/gpt-4", 2, None),
    )


@pytest.mark.parametrize(
    ("credentials", "says"),
    [
        ({"api_key": "k", "api_base": "http://169.254.169.254"}, "sends nothing to"),
        ({"api_key": "k", "api_base": "https://a.example"}, "sends nothing to"),
        ({"api_base": "https://api.openai.com"}, "but no `api_key`"),
        ({"api_key": "a b"}, "no header carries"),
    ],
)
def test_credentials_in_a_request_are_checked(credentials: dict[str, str], says: str) -> None:
    """As all others (faults.md, K10), for the member's own provider; the error says which member."""
    with pytest.raises(ParamsError, match=says) as caught:
        listed([{"model": "m", "weight": 1}, {"model": "m", "weight": 1, "credentials": credentials}])

    assert caught.value.param.startswith("load_balance_group.models[1].credentials")


def test_where_a_pinned_member_may_go() -> None:
    """To the address of the provider that the request is pinned to."""
    credentials = {"api_key": "k", "api_base": "https://a.example"}

    (member,) = listed([{"model": "m", "weight": 1, "credentials": credentials}], pinned="azure")

    assert member.credential == Credential("k", "https://a.example")


def test_saved_groups() -> None:
    """Lists of code, whose credentials may go anywhere."""
    base = "http://10.0.0.1:8080/v1"
    items = ({"model": "m", "weight": 3, "credentials": {"api_key": "k", "api_base": base}},)

    groups = saved({"g": items, "h": [{"model": "n", "weight": 0.1}]})

    assert groups == {"g": (Member("m", 3, Credential("k", base)),), "h": (Member("n", 0.1, None),)}
    assert named("h", groups) == groups["h"]


def test_huge_weights() -> None:
    """An integer that no float holds is the largest float."""
    assert saved({"g": [{"model": "m", "weight": 2**1024 - 1}]})["g"][0].weight == sys.float_info.max


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ([], "must be a mapping"),
        ({"g": []}, "group g holds no models"),
        ({"g": None}, "group g holds no models"),
        ({"g": [{"model": "m"}]}, "group g: .*lacks `weight`"),
        ({"g": [{"weight": 1}]}, "lacks `model`"),
        ({"g": [{"model": "m", "weight": 0}]}, "must be more than 0"),
        ({"g": [{"model": "m", "weight": -1}]}, "must be more than 0"),
        ({"g": [{"model": "m", "weight": "1"}]}, "must be a number"),
        ({"g": [{"model": "", "weight": 1}]}, "must not be empty"),
        ({"g": "m"}, "put it into a list"),
        ({1: [{"model": "m", "weight": 1}]}, "group 1: .*must be a string"),
        ({"g": [{"model": "m", "weight": 1, "credentials": "k"}]}, "must be a dict"),
        ({"g": [{"model": "m", "weight": 1, "credentials": {"api_base": "https://a"}}]}, "but no `api_key`"),
        (
            {"g": [{"model": "m", "weight": 1, "credentials": {"api_key": "k", "api_base": "file:///a"}}]},
            "must be an absolute http or https URL",
        ),
    ],
)
def test_groups_that_cannot_be(groups: Any, says: str) -> None:
    """Said when a gateway is built, naming setting and group."""
    with pytest.raises(ConfigError, match=says) as caught:
        saved(groups)

    assert str(caught.value).startswith("Settings(groups=...)")


@pytest.mark.parametrize(
    ("groups", "says"),
    [({}, "there are: none"), ({"a": (), "b": ()}, "is x, which names no saved group; there are: a, b")],
)
def test_unknown_group(groups: Any, says: str) -> None:
    """The error names those there are, and what to do."""
    with pytest.raises(ParamsError, match=says) as caught:
        named("x", groups)

    assert caught.value.param == "load_balance_group.group_id"
