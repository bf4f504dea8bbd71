"""Promises of ``respan_openai._params``: what is accepted, what is refused, and how it travels."""

from __future__ import annotations

import _thread
import ast
import base64
import collections
import copy
import enum
import importlib
import inspect
import json
import threading
import types
import warnings
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import completion_create_params, embedding_create_params
from openai.types.audio import speech_create_params, transcription_create_params
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params

from respan_openai._params import (
    LEGACY,
    NAMES,
    RespanParams,
    body,
    check,
    check_explicit,
    check_keyword,
    decode_header,
)
from respan_openai._wire import CONTAINERS, HEADER, HEADER_LIMIT, LEGACY_HEADER, dumps, encode_header, merge
from respan_openai.exceptions import ParamsError, RespanWarning


# The package's own ``params`` is the context manager, which hides the module of that name.
module = importlib.import_module("respan_openai._params")

CANARY = "canary-7f3a"
PARENT = {"prompt_id": "parent"}


def prompt(**more: Any) -> dict[str, Any]:
    """A call's parameters with a prompt that has *more* keys."""
    return {"prompt": {**PARENT, **more}}


def composed(prompt_id: str = "child", **more: Any) -> dict[str, Any]:
    """A prompt variable that is a prompt."""
    return {"_type": "prompt", "prompt_id": prompt_id, **more}


def nested(levels: int) -> Any:
    """A list in a list in a list, *levels* in all."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def shared(levels: int) -> Any:
    """A small object in memory whose JSON has 2 to the power of *levels* values."""
    value: Any = []
    for _ in range(levels):
        value = [value, value]
    return value


def cyclic() -> dict[str, Any]:
    """A dict that holds itself, in a list."""
    value: dict[str, Any] = {}
    value["again"] = [value]
    return value


ACCEPTED: dict[str, list[Any]] = {
    "models": [[], ["a", "b"]],
    "exclude_providers": [["openai"]],
    "exclude_models": [["gpt-4o"]],
    "fallback_models": [[], ["a"], ["a", "b", "c", "d", "e"]],
    "load_balance_group": [
        {"group_id": "g"},
        {"group_id": "g", "models": [{"model": "m", "weight": 1, "credentials": {"api_key": CANARY}}]},
    ],
    "load_balance_models": [[], [{"model": "m", "weight": 0.2}, {"model": "n", "weight": 34}]],
    "weight": [0, 0.5],
    "model_name_map": [{"azure/gpt-4o": "azure/mine"}],
    "route_provider_override": ["azure"],
    "disable_fallback": [True],
    "first_token_timeout": [0.5, 30],
    "customer_credentials": [
        {"openai": "key"},
        {"openai": {"api_key": "key"}},
        {"openai": [{"api_key": "a"}, {"credentials": {"api_key": "b"}, "weight": 2}]},
        [{"credentials": {"openai": {"api_key": "a"}}, "weight": 1.5, "exclude_models": ["m"]}],
        [{"credentials": {"openai": "a"}, "available_models": ["m"]}],
        {},
    ],
    "credential_override": [
        {"gpt-4o-mini": {"api_key": "k"}},
        {"azure/gpt-4o": {"api_key": "k", "api_base": "https://a", "api_version": "2024-06-01"}},
        {"": {"api_key": "perplexity needs no slug"}},
        {"vertex_ai/gemini": {"vertex_ai_credentials": {"type": "service_account", "private_key": "a\nb"}}},
        {
            "bedrock/x": {
                "aws_session_token": "t",
                "aws_profile_name": "p",
                "api_type": "a",
                "organization": "o",
            }
        },
    ],
    "customer_api_keys": [{"gpt-4": "key"}],
    "cache_enabled": [True, False],
    "cache_ttl": [1, 0.5, 315_360_000],
    "cache_options": [{}, {"cache_by_customer": True, "is_cached_by_model": False, "omit_log": True}],
    "prompt": [
        PARENT,
        {**PARENT, "version": 3, "echo": True, "prompt_slug": "s", "is_custom_prompt": False},
        {**PARENT, "version": "latest", "schema_version": 2, "patch": {"temperature": 0.9}},
        {**PARENT, "override": True, "override_params": {"temperature": 0.5}, "schema_version": 1},
        {**PARENT, "override_config": {"messages_override_mode": "append"}},
        {
            **PARENT,
            "variables": {"a": "plain\r\ntext {{ 7*7 }} {0.__class__}", "n": 1, "none": None, "l": [1]},
        },
        {**PARENT, "variables": {"a": composed(version="latest", variables={"b": "text", "c": True})}},
        {**PARENT, "variables": {"a": composed(variables={"b": {"_type": "text", "value": "x"}})}},
    ],
    "variables": [
        {"a": {"_type": "text", "value": "x"}, "b": {"_type": "image_url", "value": "data:,"}},
        {"c": {"_type": "json", "value": {"k": [None]}}, "d": composed()},
    ],
    "echo": [True],
    "retry_params": [
        {"retry_enabled": False},
        {"retry_enabled": True, "num_retries": 3, "retry_after": 0.2},
    ],
    "retries": [0, 3],
    "disable_log": [True],
    "request_breakdown": [True],
    "metadata": [{}, {"a": None, "b": [1, 2.5, {"c": "line\nbreak\0"}], "_": True}],
    "properties": [{"a": {"b": [1]}}],
    "custom_identifier": ["a", 1],
    "customer_identifier": ["a" * 254, "日本語 🙂", "a b", 7, ""],
    "customer_params": [
        {"customer_identifier": "c"},
        {
            "customer_identifier": 5,
            "group_identifier": "g",
            "name": "Ada\nLovelace",
            "email": "ada@example.org",
            "period_start": "2026-01-01",
            "period_end": "2026-12-31",
            "budget_duration": "yearly",
            "period_budget": 1.5,
            "total_budget": 0,
            "markup_percentage": 20,
            "metadata": {"k": 1},
            "rate_limit": 60,
        },
    ],
    "thread_identifier": ["t", 2],
    "group_identifier": ["g"],
    "positive_feedback": [False],
    "span_name": ["s" * 255],
    "customer_email": ["a@b"],
    "customer_name": ["Ada"],
    "trace_unique_id": ["x"],
    "trace_name": ["x"],
    "trace_group_identifier": [1, "x"],
    "session_identifier": [1, "x"],
    "span_unique_id": ["x"],
    "span_parent_id": ["x"],
    "span_path": ["a.b"],
    "span_workflow_name": ["x"],
    "span_handoffs": [["a"]],
    "span_tools": [["a"]],
    "evaluation_identifier": [1],
    "log_type": ["chat"],
    "environment": ["test"],
    "prompt_unit_price": [0, 2.5],
    "completion_unit_price": [10],
    "respan_api_controls": [{"block": False}],
    "is_log_omitted": [True],
    "mock_response": ["a\nb"],
    "field_name": ["data: "],
    "delimiter": ["\n\n"],
    "eval_params": [
        {
            "evaluators": [{"evaluator_slug": "e"}],
            "evaluation_identifier": "e",
            "last_n_messages": 0,
            "eval_inputs": {"a": 1},
            "sample_percentage": 100,
        },
    ],
    "preset": ["p"],
    "max_steps": [1],
    "language_preference": ["de"],
    "skills": [[{"a": 1}, "b"]],
}

# Parameters, the place that is named, and words of the message.
REFUSED: dict[str, tuple[dict[Any, Any], str, str]] = {
    "unknown name": ({"fallbak_models": []}, "fallbak_models", "did you mean `fallback_models`"),
    "like a legacy name": ({"fallbacks": []}, "fallbacks", "did you mean `fallback_models`"),
    "unlike any name": ({"zzz": 1}, "zzz", "no parameter of Respan"),
    "unknown name that is None": ({"zzz": None}, "zzz", "no parameter of Respan"),
    "long unknown name": ({"z" * 200 + "\n": 1}, "z" * 3, "no parameter"),
    "name not a string": ({1: 2}, "params", "strings as keys; got int"),
    "model": ({"model": "m"}, "model", "OpenAI's own"),
    "environment switch": ({"env": "test"}, "env", "the key decides"),
    "container": ({"respan_params": {}}, "respan_params", "is a container"),
    "route header": ({"respan_route_provider": "azure"}, "respan_route_provider", "is a header"),
    "internal": ({"is_token_breakdown_enabled": True}, "is_token_breakdown_enabled", "X-Respan-Beta"),
    "both spellings": (
        {"fallback": ["a"], "fallback_models": ["b"]},
        "fallback_models",
        "old and its new name; keep `fallback_models`",
    ),
    "legacy name, wrong type": ({"fallback": "a"}, "fallback", "must be a list; got str"),
    "str for a list": ({"models": "gpt-4o"}, "models", "put it into a list"),
    "set for a list": ({"models": {"a"}}, "models", "got set (pass sorted(value))"),
    "generator for a list": ({"models": (m for m in "ab")}, "models", "got generator"),
    "item of a list": (
        {"models": ["a", 1]},
        "models[1]",
        "must be a string; got int (convert it with str())",
    ),
    "None in a list": ({"models": [None]}, "models[0]", "got NoneType (leave it out instead)"),
    "empty model": ({"models": [""]}, "models[0]", "must not be empty"),
    "model with a line break": ({"models": ["a\nb"]}, "models[0]", "line break"),
    "JSON text for a dict": ({"metadata": "{}"}, "metadata", "pass the dict itself"),
    "list for a dict": ({"metadata": []}, "metadata", "must be a dict; got list"),
    "bool for a number": ({"cache_ttl": True}, "cache_ttl", "True and False are not numbers"),
    "bool for an integer": ({"retries": False}, "retries", "True and False are not numbers"),
    "bool for an identifier": ({"customer_identifier": True}, "customer_identifier", "not numbers"),
    "int for a bool": ({"disable_log": 1}, "disable_log", "must be True or False; got int"),
    "str for a number": ({"cache_ttl": "60"}, "cache_ttl", "convert it with float()"),
    "str for an integer": ({"retries": "2"}, "retries", "convert it with int()"),
    "float for an integer": ({"retries": 2.0}, "retries", "must be an integer; got float"),
    "bytes": ({"customer_identifier": b"a"}, "customer_identifier", "decode it first"),
    "float identifier": ({"custom_identifier": 1.0}, "custom_identifier", "a string or an integer"),
    "UUID": ({"customer_identifier": UUID(int=1)}, "customer_identifier", "convert it with str()"),
    "ttl 0": ({"cache_ttl": 0}, "cache_ttl", "more than 0; got 0"),
    "ttl 1e18": ({"cache_ttl": 1e18}, "cache_ttl", "at most 315360000; got 1e+18"),
    "ttl NaN": ({"cache_ttl": float("nan")}, "cache_ttl", "finite"),
    "ttl infinite": ({"cache_ttl": float("inf")}, "cache_ttl", "finite"),
    "retries negative": ({"retries": -1}, "retries", "at least 0; got -1"),
    "huge integer": ({"retries": 10**5000}, "retries", "readers cannot hold"),
    "timeout 0": ({"first_token_timeout": 0}, "first_token_timeout", "more than 0"),
    "no retry_enabled": ({"retry_params": {}}, "retry_params", "lacks `retry_enabled`"),
    "retry_enabled None": ({"retry_params": {"retry_enabled": None}}, "retry_params", "lacks"),
    "retry key": (
        {"retry_params": {"retry_enabled": True, "num_retrys": 1}},
        "retry_params.num_retrys",
        "did you mean `num_retries`? Accepted are num_retries, retry_after, retry_enabled.",
    ),
    "retry key that is None": (
        {"retry_params": {"retry_enabled": True, "zzz": None}},
        "retry_params.zzz",
        "is not known.",
    ),
    "retry key not a string": ({"retry_params": {1: 1}}, "retry_params", "strings as keys"),
    "no retries": (
        {"retry_params": {"retry_enabled": True, "num_retries": 0}},
        "retry_params.num_retries",
        "at least 1",
    ),
    "retry at once": (
        {"retry_params": {"retry_enabled": True, "retry_after": 0}},
        "retry_params.retry_after",
        "more than 0",
    ),
    "cache option": ({"cache_options": {"omit_logs": True}}, "cache_options.omit_logs", "`omit_log`"),
    "group without id": ({"load_balance_group": {}}, "load_balance_group", "lacks `group_id`"),
    "empty group id": (
        {"load_balance_group": {"group_id": ""}},
        "load_balance_group.group_id",
        "not be empty",
    ),
    "weight 0": (
        {"load_balance_group": {"group_id": "g", "models": [{"model": "m", "weight": 0}]}},
        "load_balance_group.models[0].weight",
        "more than 0",
    ),
    "no weight": ({"loadbalance_models": [{"model": "m"}]}, "loadbalance_models[0]", "lacks `weight`"),
    "no model, no weight": ({"load_balance_models": [{}]}, "load_balance_models[0]", "`model` and `weight`"),
    "credential key": (
        {"credential_override": {"m": {"apikey": "k"}}},
        "credential_override.m.apikey",
        "did you mean `api_key`",
    ),
    "credential as text": ({"credential_override": {"m": "k"}}, "credential_override.m", "must be a dict"),
    "credential with line feed": (
        {"credential_override": {"m": {"api_key": "k\n"}}},
        "credential_override.m.api_key",
        ".strip()",
    ),
    "selector with line feed": (
        {"credential_override": {"m\n": {}}},
        "credential_override.m\\n",
        "line break",
    ),
    "selector not a string": ({"credential_override": {1: {}}}, "credential_override", "strings as keys"),
    "deployment without credentials": (
        {"customer_credentials": [{"weight": 1}]},
        "customer_credentials[0]",
        "lacks `credentials`",
    ),
    "deployment key": (
        {"customer_credentials": {"openai": [{"weight": 1, "credentialz": {}}]}},
        "customer_credentials.openai[0].credentialz",
        "did you mean `credentials`",
    ),
    "deployment weight": (
        {"customer_credentials": [{"credentials": {}, "weight": -1}]},
        "customer_credentials[0].weight",
        "more than 0",
    ),
    "credentials as text": (
        {"customer_credentials": "k"},
        "customer_credentials",
        "a dict or a list; got str",
    ),
    "provider with a number": (
        {"customer_credentials": {"openai": 1}},
        "customer_credentials.openai",
        "a string, a dict or a list; got int",
    ),
    "customer without id": ({"customer_params": {"name": "n"}}, "customer_params", "`customer_identifier`"),
    "duration": (
        {"customer_params": {"customer_identifier": "c", "budget_duration": "hourly"}},
        "customer_params.budget_duration",
        'must be "daily", "weekly", "monthly" or "yearly"; got something else of type str',
    ),
    "date": (
        {"customer_params": {"customer_identifier": "c", "period_start": "2026-1-1"}},
        "customer_params.period_start",
        "YYYY-MM-DD",
    ),
    "no such date": (
        {"customer_params": {"customer_identifier": "c", "period_end": "2026-02-30"}},
        "customer_params.period_end",
        "YYYY-MM-DD",
    ),
    "date without hyphens": (
        {"customer_params": {"customer_identifier": "c", "period_end": "20260228"}},
        "customer_params.period_end",
        "YYYY-MM-DD",
    ),
    "e-mail": (
        {"customer_params": {"customer_identifier": "c", "email": "ada"}},
        "customer_params.email",
        "name@domain",
    ),
    "e-mail with a space": (
        {"customer_params": {"customer_identifier": "c", "email": "a da@x"}},
        "customer_params.email",
        "name@domain",
    ),
    "budget": (
        {"customer_params": {"customer_identifier": "c", "period_budget": -1}},
        "customer_params.period_budget",
        "at least 0",
    ),
    "sample": ({"eval_params": {"sample_percentage": 101}}, "eval_params.sample_percentage", "at most 100"),
    "OpenAI's prompt": ({"prompt": {"id": "p"}}, "prompt", "responses.create(prompt=...)"),
    "prompt without id": ({"prompt": {"echo": True}}, "prompt", "lacks `prompt_id`"),
    "prompt with both ids": (prompt(id="p"), "prompt.id", "is not known"),
    "empty prompt id": ({"prompt": {"prompt_id": ""}}, "prompt.prompt_id", "must not be empty"),
    "version text": (prompt(version="newest"), "prompt.version", 'an integer or "latest"'),
    "version bool": (prompt(version=True), "prompt.version", "not numbers"),
    "version negative": (prompt(version=-1), "prompt.version", "at least 0"),
    "schema version 3": (prompt(schema_version=3), "prompt.schema_version", "must be 1 or 2"),
    "schema version true": (prompt(schema_version=True), "prompt.schema_version", "must be 1 or 2; got bool"),
    "schema version 2.0": (prompt(schema_version=2.0), "prompt.schema_version", "must be 1 or 2; got float"),
    "patch alone": (prompt(patch={}), "prompt.patch", "add `schema_version=2`"),
    "patch in version 1": (
        prompt(patch={}, schema_version=1),
        "prompt.patch",
        "only with `schema_version` 2",
    ),
    "patch messages": (
        prompt(patch={"messages": []}, schema_version=2),
        "prompt.patch",
        "must not hold `messages`",
    ),
    "patch both": (
        prompt(patch={"messages": [], "input": ""}, schema_version=2),
        "prompt.patch",
        "must not hold `messages` or `input`",
    ),
    "override mode": (
        prompt(override_config={"messages_override_mode": "prepend"}),
        "prompt.override_config.messages_override_mode",
        '"append" or "override"',
    ),
    "untyped object": (prompt(variables={"a": {"b": 1}}), "prompt.variables.a", "needs a `_type`"),
    "unknown type": ({"variables": {"a": {"_type": "file"}}}, "variables.a", '"image_url"'),
    "type not a string": ({"variables": {"a": {"_type": ["text"]}}}, "variables.a", "needs a `_type`"),
    "image without value": ({"variables": {"a": {"_type": "image_url"}}}, "variables.a", "lacks `value`"),
    "json with a list": (
        {"variables": {"a": {"_type": "json", "value": []}}},
        "variables.a.value",
        "must be a dict; got list",
    ),
    "composed without id": ({"variables": {"a": {"_type": "prompt"}}}, "variables.a", "lacks `prompt_id`"),
    "three levels": (
        prompt(variables={"a": composed(variables={"b": composed("grandchild")})}),
        "prompt.variables.a.variables.b",
        "composes 2 levels",
    ),
    "cycle": (prompt(variables={"a": composed("parent")}), "prompt.variables.a", "answers 400 to a cycle"),
    "cycle over the top": (
        {**prompt(), "variables": {"a": composed("parent")}},
        "variables.a",
        "answers 400 to a cycle",
    ),
    "metadata NaN": ({"metadata": {"a": [float("nan")]}}, "metadata.a[0]", "finite"),
    "metadata bytes": ({"metadata": {"a": b"x"}}, "metadata.a", "a JSON value; got bytes (decode"),
    "metadata set": ({"metadata": {"a": {1}}}, "metadata.a", "got set"),
    "metadata datetime": ({"metadata": {"a": datetime.now(UTC)}}, "metadata.a", "got datetime (convert"),
    "metadata Decimal": ({"metadata": {"a": Decimal(1)}}, "metadata.a", "got Decimal"),
    "metadata keys": ({"metadata": {"a": {1: 2}}}, "metadata.a", "strings as keys; got int"),
    "metadata surrogate": ({"metadata": {"a": "\ud83d"}}, "metadata.a", "surrogate"),
    "metadata key surrogate": ({"metadata": {"\ud83d": 1}}, "metadata.\\ud83d", "surrogate"),
    "metadata cyclic": ({"metadata": cyclic()}, "metadata.again[0]", "holds itself"),
    "metadata too deep": ({"metadata": {"a": nested(64)}}, "metadata.a", "deeper than 64 levels"),
    "metadata 1000 deep": ({"metadata": {"a": nested(1000)}}, "metadata.a", "deeper than 64 levels"),
    "metadata explodes": ({"metadata": {"a": shared(18)}}, "metadata.a", "more than 100000 values"),
    "metadata 10 MB": ({"metadata": {"a": "x" * 10_000_000}}, "metadata", "at most 1048576 are accepted"),
    "metadata huge integer": ({"metadata": {"a": 10**400}}, "metadata.a", "pass it as a string"),
    "surrogate at the top": ({"customer_name": "\udc00"}, "customer_name", "surrogate"),
}

LINES = [
    "customer_identifier",
    "custom_identifier",
    "thread_identifier",
    "group_identifier",
    "session_identifier",
    "trace_group_identifier",
    "evaluation_identifier",
    "customer_email",
    "span_name",
    "trace_name",
    "trace_unique_id",
    "span_unique_id",
    "span_parent_id",
    "span_path",
    "span_workflow_name",
    "route_provider_override",
    "log_type",
    "environment",
]


def cases(table: dict[str, Any]) -> list[Any]:
    return [pytest.param(*case, id=name) for name, case in table.items()]


# ---------------------------------------------------------------------------------------------- names


def test_names() -> None:
    """Every parameter in Respan's documents has a name here, legacy names included, and no other has."""
    assert ACCEPTED.keys() | LEGACY.keys() == NAMES
    assert set(LEGACY) == {"fallback", "keywordsai_api_controls", "loadbalance_models"}
    assert LEGACY.keys().isdisjoint(RespanParams.__annotations__)
    assert {"model", "extra_body", "extra_headers", "format", *CONTAINERS}.isdisjoint(NAMES)


def test_carriers() -> None:
    """The carriers have the documented names."""
    assert CONTAINERS == ("respan_params", "keywordsai_params")
    assert (HEADER, LEGACY_HEADER) == ("X-Data-Respan-Params", "X-Data-Keywordsai-Params")
    assert HEADER_LIMIT == 4096


def test_exports() -> None:
    """Everything public is exported, documented and listed in order."""
    values = {"FIELDS", "LEGACY", "NAMES", "PromptVariable"}
    made_here = {
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    }

    assert set(module.__all__) == values | made_here
    assert all(inspect.getdoc(getattr(module, name)) for name in made_here)


def shapes() -> list[Any]:
    tree = ast.parse(inspect.getsource(module))
    return [
        pytest.param(node, id=node.name)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and "TypedDict" in {ast.unparse(base) for base in node.bases}
    ]


@pytest.mark.parametrize("shape", shapes())
def test_every_field_is_documented(shape: ast.ClassDef) -> None:
    """Each shape has a docstring, and each of its fields one right below it."""
    fields = [index for index, node in enumerate(shape.body) if isinstance(node, ast.AnnAssign)]
    below = [ast.unparse(shape.body[index + 1]) for index in fields]

    assert ast.get_docstring(shape)
    assert fields
    assert all(text[:1] in "'\"" and text.strip("'\"").endswith(".") for text in below), below


def test_types_are_plain() -> None:
    """What a type checker sees are plain types; limits only stand beside them."""
    hints = get_type_hints(RespanParams)

    assert hints["cache_ttl"] is float
    assert hints["customer_identifier"] == str | int
    assert hints["disable_log"] is bool
    assert get_origin(hints["fallback_models"]) is collections.abc.Sequence
    assert get_args(hints["fallback_models"]) == (str,)
    assert hints["prompt"] is module.Prompt


# ---------------------------------------------------------------------------------------------- check


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, id=f"{name}-{i}")
        for name in ACCEPTED
        for i, value in enumerate(ACCEPTED[name])
    ],
)
def test_accepted(name: str, value: Any) -> None:
    """Every documented shape passes unchanged, through each way in."""
    expected = {name: value}

    assert check(expected) == expected
    assert body(**expected) == expected
    assert check_explicit(expected) == expected
    assert check_explicit({"respan_params": expected}) == {"respan_params": expected}
    assert check(check(expected)) == expected


@pytest.mark.parametrize(("params", "param", "words"), cases(REFUSED))
def test_refused(params: dict[Any, Any], param: str, words: str) -> None:
    """What the gateway could not honour is an error that names the place and says what is accepted."""
    with pytest.raises(ParamsError) as caught:
        check(params)

    assert caught.value.param.startswith(param)
    assert f"`{caught.value.param}`" in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert isinstance(caught.value, ValueError | openai.OpenAIError)


@pytest.mark.parametrize("char", ["\r", "\n", "\0"], ids=["CR", "LF", "NUL"])
@pytest.mark.parametrize("name", LINES)
def test_line_breaks_in_names(name: str, char: str) -> None:
    """What names something holds no line break and no NUL; other characters pass."""
    with pytest.raises(ParamsError, match="line break or NUL"):
        check({name: f"a{char}b"})
    assert check({name: "a\tb\u200b\u2028"}) == {name: "a\tb\u200b\u2028"}


@pytest.mark.parametrize("value", [1, "a", None, [], [("cache_ttl", 1)]], ids=repr)
def test_not_a_mapping(value: Any) -> None:
    """Parameters that are no object are refused, because the gateway would silently ignore them."""
    with pytest.raises(ParamsError, match=r"`params` must be a dict.* The gateway would ignore it"):
        check(value)
    with pytest.raises(ParamsError, match="`extra_body` must be a dict"):
        check_explicit(value)


def test_legacy_names() -> None:
    """Old names are sent under the new ones."""
    models = [{"model": "m", "weight": 1}]

    assert check({"fallback": ["a"], "loadbalance_models": models, "keywordsai_api_controls": {}}) == {
        "fallback_models": ["a"],
        "load_balance_models": models,
        "respan_api_controls": {},
    }
    assert check({"fallback": None, "fallback_models": ["a"]}) == {"fallback_models": ["a"]}


def test_left_out() -> None:
    """``None``, ``omit`` and ``NOT_GIVEN`` count as not given; inside free objects ``None`` is null."""
    omit = getattr(openai, "omit", openai.NOT_GIVEN)

    assert check({"customer_identifier": None, "cache_ttl": omit, "models": openai.NOT_GIVEN}) == {}
    assert check(prompt(version=None)) == prompt()
    assert check({"metadata": {"a": None}}) == {"metadata": {"a": None}}


def test_sentinels_of_others() -> None:
    """A class that is merely called ``Omit`` is not the SDK's."""
    with pytest.raises(ParamsError, match="got Omit"):
        check({"cache_ttl": type("Omit", (), {})()})


def test_plain_types() -> None:
    """Tuples, subclasses and other mappings come out as the plain types of JSON."""

    class Name(enum.StrEnum):
        ADA = "ada"

    class Level(enum.IntEnum):
        HIGH = 3

    class Ratio(float):
        pass

    metadata = types.MappingProxyType(
        {Name.ADA: (Level.HIGH, Ratio(0.5), collections.OrderedDict(a=Name.ADA))}
    )
    checked = check({"metadata": metadata, "customer_identifier": Name.ADA, "models": (Name.ADA,)})

    assert checked == {
        "metadata": {"ada": [3, 0.5, {"a": "ada"}]},
        "customer_identifier": "ada",
        "models": ["ada"],
    }
    (key,) = checked["metadata"]
    assert [type(part) for part in (key, *checked["metadata"]["ada"])] == [str, int, float, dict]
    assert type(checked["customer_identifier"]) is str
    assert check({"prompt": {"prompt_id": Name.ADA, "version": Level.HIGH}})["prompt"]["version"] == 3


def test_copy() -> None:
    """Later changes to what was passed change nothing."""
    inner = {"list": [1]}
    params: dict[str, Any] = {
        "metadata": inner,
        "models": ["a"],
        "prompt": {"prompt_id": "p", "variables": {"v": [inner]}},
    }
    checked = check(params)
    expected = copy.deepcopy(checked)
    inner["list"].append(2)
    params["models"].append("b")

    assert checked == expected


def test_depth() -> None:
    """64 levels pass, as does the same object twice."""
    twice = ["same"]

    assert check({"metadata": {"a": nested(63)}})
    assert check({"metadata": {"a": twice, "b": twice}}) == {"metadata": {"a": ["same"], "b": ["same"]}}


def test_where() -> None:
    """The holder's name stands before the parameter's."""
    with pytest.raises(ParamsError, match=r"^`respan_params\.cache_ttl` must be more than 0; got 0\.$"):
        check({"cache_ttl": 0}, where="respan_params")
    with pytest.raises(ParamsError, match="`respan_params` must have strings as keys"):
        check({0: 0}, where="respan_params")  # type: ignore[dict-item]


def test_error_text_is_whole() -> None:
    """A message says what is wrong, what is accepted and what to do, in one sentence."""
    with pytest.raises(ParamsError) as caught:
        check({"fallback_models": "gpt-4o"})

    assert str(caught.value) == "`fallback_models` must be a list; got str (put it into a list: [value])."


# ---------------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    "params",
    [
        {"customer_api_keys": CANARY},
        {"customer_api_keys": {"gpt-4": [CANARY]}},
        {"customer_api_keys": {"gpt-4": CANARY + "\n"}},
        {"customer_credentials": {"openai": {"api_key": CANARY + "\r"}}},
        {"customer_credentials": {"openai": [CANARY]}},
        {"customer_credentials": {"openai": CANARY + "\0"}},
        {"customer_credentials": [{"credentials": CANARY}]},
        {"credential_override": {"m": CANARY}},
        {"credential_override": {"m": {"api_key": [CANARY]}}},
        {"credential_override": {"m": {"apikey": CANARY}}},
        {"credential_override": {"m": {"api_key": CANARY + "\ud800"}}},
        {"credential_override": {"m": {"vertex_ai_credentials": CANARY}}},
        {"credential_override": {"m": {"token": {CANARY}}}},
        {"load_balance_models": [{"model": "m", "weight": 1, "credentials": CANARY}]},
        {"metadata": {"a": CANARY.encode()}},
        {"prompt": {"prompt_id": "p", "version": CANARY}},
        {"customer_params": {"customer_identifier": "c", "budget_duration": CANARY}},
        {"customer_params": {"customer_identifier": "c", "email": CANARY}},
    ],
    ids=repr,
)
def test_values_stay_secret(params: dict[str, Any]) -> None:
    """No message, and no error behind it, holds a value, whatever is wrong with it."""
    with pytest.raises(ParamsError) as caught:
        check(params)

    assert CANARY not in str(caught.value) + caught.value.param
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "key",
    [f"sk-{CANARY}", f"AIza{CANARY}", "0123456789abcdef" * 2, f"Bearer {CANARY}", "eyJ.a.b"],
)
def test_swapped_keys_stay_secret(key: str) -> None:
    """Someone who swaps model and key does not find the key in the message."""
    with pytest.raises(ParamsError) as caught:
        check({"customer_api_keys": {key: 1}})

    assert key not in str(caught.value)
    assert caught.value.param == f"customer_api_keys.{key[:3]}…"


@pytest.mark.parametrize(
    "value",
    [f"%{CANARY}", base64.b64encode(f'{{"{CANARY}'.encode()).decode(), base64.b64encode(b"\xff").decode()],
)
def test_headers_stay_secret(value: str) -> None:
    """An unreadable header is not repeated, nor kept in an error behind the error."""
    with pytest.raises(ParamsError) as caught:
        decode_header(value)

    assert CANARY not in str(caught.value)
    assert value not in str(caught.value)
    assert caught.value.__context__ is None


# ---------------------------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("params", "expected", "words"),
    [
        pytest.param(
            {"customer_identifier": "a" * 255},
            {"customer_identifier": "a" * 254},
            "`customer_identifier` has 255 characters; the gateway keeps 254",
            id="customer",
        ),
        pytest.param(
            {"customer_params": {"customer_identifier": "ä" * 300}},
            {"customer_params": {"customer_identifier": "ä" * 254}},
            "`customer_params.customer_identifier` has 300 characters",
            id="customer in params",
        ),
        pytest.param({"span_name": "s" * 256}, {"span_name": "s" * 255}, "keeps 255", id="span"),
        pytest.param(
            {"fallback_models": list("aabbccddeeffg")},
            {"fallback_models": list("abcde")},
            "`fallback_models`: only the first 5 are tried, so the last 2 were left out",
            id="fallbacks",
        ),
        pytest.param(
            {"fallback": [f"m{i}" for i in range(500)]},
            {"fallback_models": ["m0", "m1", "m2", "m3", "m4"]},
            "the last 495",
            id="500 fallbacks",
        ),
    ],
)
def test_cut(params: dict[str, Any], expected: dict[str, Any], words: str) -> None:
    """What the gateway would cut is cut with a warning at the caller's line, and only once."""
    with pytest.warns(RespanWarning) as caught:
        checked = check(params)

    assert checked == expected
    assert check(checked) == expected
    assert words in str(caught.pop().message)


def test_warning_points_here() -> None:
    """A warning names the user's line, also through ``body`` and through the frames of context managers."""
    with pytest.warns(RespanWarning) as caught:
        body(customer_identifier="a" * 255)
    line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]

    (warning,) = caught
    assert (warning.filename, warning.lineno) == (__file__, line)


def test_warning_through_the_sdk() -> None:
    """Frames of the SDK and its libraries are not the caller's line."""
    source = "def call(check, params): return check(params)"
    for name in ("openai._client", "httpx2", "wrapt.x", "contextlib"):
        between: dict[str, Any] = {"__name__": name}
        exec(compile(source, "between.py", "exec"), between)  # noqa: S102
        with pytest.warns(RespanWarning) as caught:
            between["call"](check, {"span_name": "s" * 256})

        assert caught.pop().filename == __file__


def run_to_end(run: Any, done: Any) -> None:
    _thread.start_new_thread(run, (check, done))
    assert done.acquire(timeout=10)


def test_warning_without_a_caller() -> None:
    """Where every frame is the SDK's, as in a thread it started, the warning names the outermost."""
    done = threading.Lock()
    done.acquire()
    source = "def run(check, done):\n check({'span_name': 's' * 256})\n done.release()"
    worker: dict[str, Any] = {"__name__": "openai._worker"}
    exec(compile(source, "worker.py", "exec"), worker)  # noqa: S102
    with pytest.warns(RespanWarning) as caught:
        run_to_end(worker["run"], done)

    assert caught.pop().filename == "worker.py"


def test_repetitions_are_dropped() -> None:
    """A fallback that is named twice is tried once, in its first place, without a warning."""
    assert check({"fallback_models": ["b", "a", "b"]}) == {"fallback_models": ["b", "a"]}


# ---------------------------------------------------------------------------------------------- extra_body


def test_explicit_keeps_the_rest() -> None:
    """Keys of the provider pass as they are, in their place; known ones are normalised in theirs."""
    foreign = object()
    given_body = {
        "top_k": 3,
        "loadbalance_models": [],
        "x": foreign,
        5: 6,
        "cache_ttl": 1,
        "disable_log": None,
    }
    before = dict(given_body)
    checked = check_explicit(given_body)  # type: ignore[arg-type]

    assert list(checked.items()) == [
        ("top_k", 3),
        ("load_balance_models", []),
        ("x", foreign),
        (5, 6),
        ("cache_ttl", 1),
    ]
    assert given_body == before


@pytest.mark.parametrize(
    "extra",
    [
        {"metadata": None},
        {"metadata": "x"},
        {"prompt": {"id": "pmpt_1", "version": "2", "variables": {"a": {"type": "input_text"}}}},
        {"prompt": "Complete this"},
        {"prompt": None},
        {"models": None},
        {"echo": None},
    ],
    ids=repr,
)
def test_explicit_two_meanings(extra: dict[str, Any]) -> None:
    """Names that OpenAI and OpenRouter use too stay as written where the value is not ours."""
    assert check_explicit(extra) == extra


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"metadata": {"a": float("nan")}}, "metadata.a"),
        ({"models": [1]}, "models[0]"),
        ({"prompt": {"promt_id": "p"}}, "prompt.promt_id"),
        ({"cache_ttl": 0}, "cache_ttl"),
        ({"fallback": [], "fallback_models": []}, "fallback_models"),
        ({**prompt(), "variables": {"a": composed("parent")}}, "variables.a"),
    ],
    ids=repr,
)
def test_explicit_checks_ours(extra: dict[str, Any], param: str) -> None:
    """What is ours in an extra body is checked."""
    with pytest.raises(ParamsError) as caught:
        check_explicit(extra)

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("customer_identifer", "customer_identifier"),
        ("fallback_model", "fallback_models"),
        ("load_balance_model", "load_balance_models"),
        ("respan_param", "respan_params"),
        ("keywordsai_param", "keywordsai_params"),
        ("loadbalance_model", "load_balance_models"),
        ("cache_enable", "cache_enabled"),
    ],
)
def test_explicit_near_miss(name: str, near: str) -> None:
    """A key that is nearly ours is refused, because the gateway would drop it."""
    with pytest.raises(ParamsError, match=f"did you mean `{near}`"):
        check_explicit({name: "x"})
    with pytest.raises(ParamsError, match=f"did you mean `{near}`"):
        check_keyword(name)


def test_keywords() -> None:
    """Known, foreign and unlike names pass; only the nearly known are refused."""
    refused = []
    for name in (*NAMES, *CONTAINERS, "model", "temperature", "zzz", "disable_logs"):
        try:
            check_keyword(name)
        except ParamsError as exc:
            refused.append(exc.param)

    assert refused == ["disable_logs"]


OPENROUTER = (
    "models provider plugins session_id trace image_config modalities presence_penalty frequency_penalty top_k "
    "stop cache_control debug deferred_tools stop_server_tools_when transforms route min_p top_a "
    "repetition_penalty reasoning include_reasoning usage"
)


def sdk_fields() -> set[str]:
    modules = (
        chat_params,
        completion_create_params,
        embedding_create_params,
        response_create_params,
        speech_create_params,
        transcription_create_params,
    )
    shapes = [value for module in modules for value in vars(module).values()]
    return {name for shape in shapes for name in getattr(shape, "__annotations__", {})}


def test_explicit_knows_the_providers() -> None:
    """No body field of OpenAI or OpenRouter is taken for a slip of the pen."""
    for name in sdk_fields() | set(OPENROUTER.split()):
        if name not in NAMES:
            assert check_explicit({name: CANARY}) == {name: CANARY}


def test_containers_merge() -> None:
    """Containers are checked whole, and the legacy one is merged below the other, in either order."""
    old = ("keywordsai_params", {"cache_ttl": 1, "fallback": ["a"], "variables": {"a": "1", "b": "1"}})
    new = ("respan_params", {"cache_ttl": 2, "variables": {"b": "2"}})
    expected = {"cache_ttl": 2, "fallback_models": ["a"], "variables": {"a": "1", "b": "2"}}

    assert check_explicit(dict([old, new])) == {"respan_params": expected}
    assert check_explicit(dict([new, old])) == {"respan_params": expected}
    assert check_explicit({"respan_params": None, "keywordsai_params": openai.NOT_GIVEN}) == {}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("value", [[], 5, True, "{}", '{"cache_ttl": 1}', b"e30="], ids=repr)
def test_container_not_an_object(container: str, value: Any) -> None:
    """A container that the gateway would ignore is refused with just that reason."""
    with pytest.raises(ParamsError, match=f"`{container}` must be a dict .* would ignore it") as caught:
        check_explicit({container: value})

    assert caught.value.param == container


@pytest.mark.parametrize("container", CONTAINERS)
def test_container_unknown_key(container: str) -> None:
    """Inside a container every key must be known."""
    with pytest.raises(ParamsError, match=rf"`{container}\.top_k` is no parameter of Respan"):
        check_explicit({container: {"top_k": 1}})


# ---------------------------------------------------------------------------------------------- carriers

ident = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=40)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
scalar = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
anything = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
plain_variables = st.dictionaries(text, text | st.integers() | st.booleans(), max_size=4)
some_params = st.fixed_dictionaries(
    {},
    optional={
        "customer_identifier": ident | st.integers(),
        "cache_ttl": st.integers(1, 10**6),
        "disable_log": st.booleans(),
        "fallback_models": st.lists(ident.filter(bool), max_size=5),
        "metadata": st.dictionaries(text, anything, max_size=4),
        "properties": st.dictionaries(text, anything, max_size=4),
        "variables": plain_variables,
    },
)
junk_key = text | st.integers() | st.none() | st.binary(max_size=3)
nested_names = st.sampled_from(
    [
        "_type",
        "prompt_id",
        "variables",
        "version",
        "patch",
        "schema_version",
        "credentials",
        "weight",
        "model",
    ]
)
junk_leaf = (
    scalar
    | st.floats()
    | st.binary(max_size=4)
    | st.sampled_from(
        [
            ...,
            object(),
            {1},
            frozenset(),
            1j,
            Decimal("NaN"),
            cyclic(),
            nested(300),
            shared(6),
            range(3),
            "\ud800",
        ]
    )
)
junk = st.recursive(
    junk_leaf,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(junk_key, inner, max_size=4)
        | st.dictionaries(nested_names, inner, max_size=4)
    ),
    max_leaves=10,
)


@given(some_params)
def test_header_round_trip(params: dict[str, Any]) -> None:
    """What goes into the header comes out of it; what is too long for it is refused, not cut."""
    checked = check(params)
    value = encode_header(checked)

    if value is None:
        assert len(base64.b64encode(dumps(checked))) > HEADER_LIMIT
    else:
        assert len(value) <= HEADER_LIMIT
        assert decode_header(value) == checked
        assert decode_header(value.encode("ascii")) == checked


@given(some_params)
def test_check_is_idempotent(params: dict[str, Any]) -> None:
    """A second check changes nothing, and no check changes what it was given."""
    before = copy.deepcopy(params)
    checked = check(params)

    assert params == before
    assert check(checked) == checked
    assert check_explicit(checked) == checked
    assert json.loads(dumps(checked)) == checked


@given(some_params, some_params, some_params)
def test_merge(first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]) -> None:
    """The last layer that has a key gives it, and variables merge by the same rule."""
    layers = [first, second, third]
    before = copy.deepcopy(layers)
    merged = merge(*layers)

    assert merged.keys() == first.keys() | second.keys() | third.keys()
    for name in merged.keys() - {"variables"}:
        assert merged[name] == [layer[name] for layer in layers if name in layer][-1]
    variables = [layer.get("variables", {}) for layer in layers]
    assert merged.get("variables", {}) == {**variables[0], **variables[1], **variables[2]}
    assert merge(merge(first, second), third) == merged
    assert layers == before


def in_container(params: dict[Any, Any]) -> dict[str, Any]:
    return check_explicit({"respan_params": params})


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(NAMES)) | junk_key, junk, max_size=3))
def test_junk(params: dict[Any, Any]) -> None:
    """Whatever is passed is checked or refused with ``ParamsError``; nothing else is raised."""
    for way in (check, check_explicit, in_container):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RespanWarning)
            try:
                checked = way(params)
            except ParamsError:
                continue
        if way is check:
            assert decode_json(dumps(checked)) == checked


def decode_json(data: bytes) -> Any:
    return json.loads(data, parse_constant=pytest.fail)


@given(st.binary(max_size=60) | st.text(max_size=60) | anything.map(dumps).map(base64.b64encode))  # type: ignore[arg-type]
def test_junk_headers(value: Any) -> None:
    """Whatever stands in a header is read or refused with ``ParamsError``; nothing else is raised."""
    try:
        checked = decode_header(value)
    except ParamsError as error:
        assert error.param.startswith(HEADER)
    else:
        assert check(checked) == checked


def test_merge_needs_two_dicts() -> None:
    """Variables that are no object are replaced, like any other key."""
    assert merge() == {}
    assert merge({"variables": None}, {"variables": {"a": "b"}}) == {"variables": {"a": "b"}}
    assert merge({"variables": {"a": "b"}}, {"cache_ttl": 1}) == {"variables": {"a": "b"}, "cache_ttl": 1}


def test_header_value() -> None:
    """The value is standard base64 of compact JSON in UTF-8."""
    value = encode_header({"customer_identifier": "ü?>", "disable_log": True})

    assert value is not None
    assert base64.b64decode(value) == '{"customer_identifier":"ü?>","disable_log":true}'.encode()
    assert encode_header({}) == "e30="


def test_header_limit() -> None:
    """4096 bytes of base64 still fit; one more byte of JSON does not."""
    overhead = len(dumps({"customer_name": ""}))
    longest = {"customer_name": "x" * (3072 - overhead)}

    assert len(encode_header(longest) or "") == HEADER_LIMIT
    assert encode_header({"customer_name": longest["customer_name"] + "x"}) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "{}",
        '{"cache_ttl": 1}',
        "e30",
        "e30=\n",
        "é",
        "4pyT",
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b"null").decode(),
        base64.b64encode(b'"a"').decode(),
        base64.b64encode(b"\xff\xfe").decode(),
        base64.b64encode('{"customer_name":"ü"}'.encode("utf-16")).decode(),
        base64.b64encode(b"[" * 100_000).decode(),
        base64.b64encode(b'{"retries":' + b"9" * 5000 + b"}").decode(),
        base64.urlsafe_b64encode(b'{"customer_name":"~~~???"}').decode(),
    ],
)
def test_header_unreadable(value: str) -> None:
    """A header that the gateway could not read is refused, because it would ignore all of it."""
    with pytest.raises(ParamsError, match="while ignoring all parameters in it") as caught:
        decode_header(value)

    assert caught.value.param == HEADER


def test_header_is_checked() -> None:
    """Parameters in a header are held to the same rules."""
    with pytest.raises(ParamsError, match=rf"`{HEADER}\.cache_ttl` must be more than 0"):
        decode_header(base64.b64encode(b'{"cache_ttl":0}'))
    with pytest.raises(ParamsError, match="finite"):
        decode_header(base64.b64encode(b'{"cache_ttl":NaN}'))
    assert decode_header(base64.b64encode(b'{"fallback":["a","a"]}')) == {"fallback_models": ["a"]}
