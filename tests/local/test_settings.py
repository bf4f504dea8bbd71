"""Settings: what they accept, and what they say about anything else."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from respan_openai.exceptions import ConfigError
from respan_openai.local.settings import THIRTY_DAYS, Model, Settings


MODEL = Model(name="openai/gpt-4o-mini")

FLAGS = ["fallback", "cache_enabled", "omit_log_on_hit", "disable_log", "dynamic_routing"]

WRONG: list[tuple[str, Any, str]] = [
    *((name, value, "must be True or False") for name in FLAGS for value in (1, "yes", None)),
    *(
        ("models", value, "must be a list of Model values")
        for value in ("m", ["m"], MODEL, None, [MODEL, 1], {"m": 1})
    ),
    *(("fallback_models", value, "must be a list of names") for value in ("m", [1], None, b"bytes")),
    *(("groups", value, "must be a mapping from a group's id") for value in ("g", None, [("g", ())])),
    *(("retries", value, "must be a whole number from 0 to 4") for value in (-1, 5, 1.0, True, "1", None)),
    *(
        ("retry_after", value, "must be a number of seconds above 0 and at most 60")
        for value in (0, -1, 60.1, math.nan, math.inf, True, "1", None)
    ),
    *(
        ("cache_ttl", value, "must be a number of seconds above 0")
        for value in (0, -1, math.nan, math.inf, True, "1", None)
    ),
    *(("limits", value, "must be 'block' or 'warn'") for value in ("Block", None, True, 1)),
    *(("budget_failure", value, "must be 'refuse' or 'allow'") for value in ("block", None)),
    *(("api_bases", value, "must be a list of origins") for value in ("https://a.example", None, [1])),
    *(
        ("api_bases", [value], "api_bases ")
        for value in ("a.example", "ftp://a.example", "https://u:p@a.example")
    ),
    *(
        ("reserve_output_tokens", value, "must be a whole number from 1")
        for value in (0, -1, 1.5, True, None)
    ),
]

WRONG_MODEL: list[tuple[str, Any, str]] = [
    *(("name", value, "must be a non-empty string") for value in ("", None, 1)),
    *(
        (name, value, "must be True or False")
        for name in ("tools", "vision", "json_schema")
        for value in (1, None)
    ),
    *(
        (name, value, "must be a whole number from 1, or None")
        for name in ("context", "max_output")
        for value in (0, -1, 1.0, True, "8k")
    ),
]


@pytest.mark.parametrize(("name", "value", "says"), WRONG)
def test_wrong_setting(name: str, value: Any, says: str) -> None:
    """A wrong value is told when it is written, with what is accepted."""
    with pytest.raises(ConfigError, match=says):
        Settings(**{name: value})


@pytest.mark.parametrize(("name", "value", "says"), WRONG_MODEL)
def test_wrong_model(name: str, value: Any, says: str) -> None:
    """The same for what is declared about a model."""
    with pytest.raises(ConfigError, match=rf"Model: `{name}` is .*; it {says}"):
        Model(**{"name": "m", name: value})


def test_values_do_not_show() -> None:
    """A misplaced value may be a key, so a message tells its type only."""
    with pytest.raises(ConfigError) as caught:
        Settings(limits="canary-key")  # type: ignore[arg-type]  # what is tested

    assert "canary" not in str(caught.value)
    assert "of type str" in str(caught.value)


def test_defaults() -> None:
    """Thirty days of cache, which is off; limits block; fallback is on (reference 000:40, 002:23)."""
    settings = Settings()

    assert (settings.cache_ttl, settings.cache_enabled) == (THIRTY_DAYS, False)
    assert (settings.limits, settings.budget_failure, settings.fallback) == ("block", "refuse", True)


def test_keys_of_groups_do_not_show() -> None:
    """Their members may have credentials, and settings are printed by frameworks that collect locals."""
    members = ({"model": "m", "weight": 1, "credentials": {"api_key": "canary"}},)
    settings = Settings(groups={"g": members}, retries=2)

    assert "canary" not in repr(settings)
    assert "retries=2" in repr(settings)


def test_collections_are_copied() -> None:
    """What the caller changes afterwards changes nothing, and nobody changes what is frozen."""
    models, names = [MODEL], ["a"]
    groups: dict[str, Any] = {"g": ({"model": "m", "weight": 1},)}
    settings = Settings(models=models, fallback_models=names, groups=groups)  # type: ignore[arg-type]  # lists do too
    models.clear()
    names.clear()
    groups.clear()

    assert (settings.models, settings.fallback_models, [*settings.groups]) == ((MODEL,), ("a",), ["g"])
    with pytest.raises(TypeError):
        settings.groups["h"] = ()  # type: ignore[index]  # what is tested
    with pytest.raises(FrozenInstanceError):
        settings.retries = 1  # type: ignore[misc]  # what is tested


def test_origins_have_one_form() -> None:
    """A path, a capital letter or a port that goes without saying makes no other origin."""
    bases = ["https://A.example/openai/", "https://a.example:443", "http://b.example"]

    assert Settings(api_bases=frozenset(bases)).api_bases == {"https://a.example:443", "http://b.example:80"}


def test_change_is_checked() -> None:
    """``dataclasses.replace`` checks again."""
    assert replace(Settings(), retries=4).retries == 4
    with pytest.raises(ConfigError):
        replace(Settings(), retries=5)
