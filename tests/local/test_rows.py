"""Rows of the call log: what is in them, and what never is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai._core.trace import Trace, Tried
from respan_openai._params import check
from respan_openai.local.reading import Asked
from respan_openai.local.rendering import Rendered
from respan_openai.local.router import Candidate
from respan_openai.local.rows import LONGEST, Row, coerced
from respan_openai.local.usage import Tokens
from respan_openai.stores.protocol import FIELDS


CANARY = "canary-0123456789"
HELLO = [{"role": "user", "content": "hello"}]


def row(params: Any = None, fields: Any = None, *, keeps_text: bool = True, raw: bytes = b"{}") -> Row:
    """A row of a request with these parameters and fields."""
    made = Row(12.5, "test", "/chat/completions")
    fields = {"model": "m", "messages": HELLO} if fields is None else fields
    asked = Asked("/chat/completions", None, frozenset(), check(params or {}), fields, raw, untouched=True)
    made.asked(asked, "u", keeps_text=keeps_text)
    return made


def text_of(made: Row) -> str:
    """The row as a store writes it."""
    return json.dumps(made.finished())


def test_what_a_request_says() -> None:
    """Identifiers have columns of their own, metadata are strings, properties keep their types."""
    params = {
        "custom_identifier": "c",
        "thread_identifier": 7,
        "metadata": {"run": 1},
        "properties": {"run": 1},
        "positive_feedback": False,
    }
    found = row(params).finished()

    assert set(FIELDS) | {"id", "at"} <= set(found)
    assert (found["at"], found["environment"], found["model"], found["customer_identifier"]) == (
        12.5,
        "test",
        "m",
        "u",
    )
    assert (found["custom_identifier"], found["metadata"], found["properties"]) == (
        "c",
        {"run": "1"},
        {"run": 1},
    )
    assert found["positive_feedback"] is False
    assert found["input"] == {"model": "m", "messages": HELLO}
    assert found["stream"] is False


def test_rows_are_told_apart() -> None:
    """Each has an id of its own; what is not known is ``None``."""
    one, other = row(), row()

    assert one["id"] == one.id != other.id
    assert one["nothing"] is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (1, "1"),
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
        (["ä"], '["ä"]'),
        ({"a": 1}, '{"a": 1}'),
    ],
)
def test_coerced(value: Any, text: str) -> None:
    """Metadata become strings (reference 002:27, 32): a string stays, anything else is its JSON."""
    assert coerced({"name": value}) == {"name": text}


# -- credentials


KEYS = st.fixed_dictionaries(
    {"api_key": st.just(CANARY)}, optional={"api_base": st.just("https://a.example")}
)
CREDENTIALS = st.fixed_dictionaries(
    {},
    optional={
        "credential_override": st.dictionaries(st.sampled_from(["openai", "azure/d", "m"]), KEYS),
        "customer_api_keys": st.dictionaries(st.sampled_from(["m", "n"]), st.just(CANARY)),
        "customer_credentials": st.one_of(
            st.dictionaries(st.sampled_from(["openai", "azure"]), st.one_of(st.just(CANARY), KEYS)),
            st.lists(
                st.fixed_dictionaries(
                    {"credentials": st.dictionaries(st.just("openai"), KEYS, min_size=1)},
                    optional={"weight": st.just(1.0)},
                )
            ),
        ),
        "load_balance_group": st.fixed_dictionaries(
            {"group_id": st.just("g"), "models": st.lists(st.fixed_dictionaries(
                {"model": st.just("m"), "weight": st.just(1)}, optional={"credentials": KEYS}
            ))}
        ),
        "loadbalance_models": st.lists(
            st.fixed_dictionaries({"model": st.just("m"), "weight": st.just(1), "credentials": KEYS}), min_size=1
        ),
        "custom_identifier": st.just("c"),
    },
)  # fmt: skip


@given(CREDENTIALS, st.booleans())
def test_no_credential_ever(params: dict[str, Any], keeps_text: bool) -> None:
    """Whatever its carrier, no key of a request is in its row."""
    assert CANARY not in text_of(row(params, keeps_text=keeps_text))


def test_balanced_models_stay_visible() -> None:
    """Only the credentials of a group's members are left out."""
    members = [{"model": "m", "weight": 1, "credentials": {"api_key": CANARY}}]
    found = row({"load_balance_group": {"group_id": "g", "models": members}, "load_balance_models": members})

    assert found["params"]["load_balance_group"] == {"group_id": "g", "models": [{"model": "m", "weight": 1}]}
    assert found["params"]["load_balance_models"] == [{"model": "m", "weight": 1}]


#: Where a request hands a secret to what its provider asks on its behalf.
HANDED_OVER: list[dict[str, Any]] = [
    {"tools": [{"type": "mcp", "server_url": "https://a.example", "authorization": CANARY}]},
    {"tools": [{"type": "mcp", "headers": {"Authorization": f"Bearer {CANARY}", "type": CANARY}}]},
    {"tools": [{"type": "mcp", "authorization": CANARY, "properties": {}}]},
    {"tools": [{"type": "mcp", "properties": {"authorization": CANARY, "a": {"token": CANARY}}}]},
    {"tools": [{"type": "mcp", "server_url": f"https://a.example/sse?token={CANARY}"}]},
    {"tools": [{"type": "mcp", "server_url": f"https://{CANARY}@a.example/sse"}]},
    {"tools": [{"type": "mcp", "server_url": f"https://a.example/s/{CANARY}/mcp"}]},
    {"tools": [{"type": "mcp", "server_url": f"https://[{CANARY}"}]},
    {"tools": [{"type": "mcp", "server_url": f"a.example?token={CANARY}"}]},
    {"tools": [{"container": {"network_policy": {"domain_secrets": [{"name": "n", "value": CANARY}]}}}]},
    {"data_sources": [{"parameters": {"authentication": {"type": "api_key", "key": CANARY}}}]},
    {"plugins": [{"id": "web", "api_key": [CANARY]}]},
    {"tools": [{"type": "http", "apiKey": CANARY}]},
    {"plugins": [{"type": "own", "key": CANARY, "value": 1}]},
    {"data_sources": [{"type": "azure_search", "parameters": {"index_name": "i", "key": CANARY}}]},
    {"tools": [{"type": "http", "Authorization": CANARY}, {"type": "http", "x-api-key": CANARY}]},
    {"mcp_servers": [{"type": "url", "authorization_token": CANARY}]},
    {"input": [{"type": "tool_search_output", "tools": [{"type": "mcp", "authorization": CANARY}]}]},
]


@pytest.mark.parametrize("fields", HANDED_OVER)
def test_keys_that_a_tool_takes(fields: dict[str, Any]) -> None:
    """What a provider's tools prove themselves with is masked in the input; the fields themselves are not touched."""
    before = json.dumps(fields)
    logged = text_of(row(fields=fields))

    assert (CANARY in logged, json.dumps(fields)) == (False, before)


@pytest.mark.parametrize("place", [{"override_params": ...}, {"schema_version": 2, "patch": ...}])
@pytest.mark.parametrize("fields", [fields for fields in HANDED_OVER if "input" not in fields])
def test_keys_that_come_with_a_prompt(place: dict[str, Any], fields: dict[str, Any]) -> None:
    """A prompt's ``override_params`` and ``patch`` are fields like those of the request; the rest of it stays."""
    prompt = {"prompt_id": "p", **{name: fields if value is ... else value for name, value in place.items()}}
    made = row({"prompt": prompt})

    assert CANARY not in text_of(made)
    assert list(made["params"]["prompt"]) == list(prompt)
    assert made["params"]["prompt"]["prompt_id"] == "p"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example:8443/", "https://a.example:8443/"),
        ("https://u:p@a.example/", "https://a.example/…"),
        ("https://a.example/sse", "https://a.example/…"),
        ("a.example", "…"),
    ],
)
def test_who_a_tool_asks_is_shown(url: str, shown: str) -> None:
    """Scheme, host and port; many such servers know their callers by the path."""
    tools = [{"type": "mcp", "server_url": url}]

    assert row(fields={"model": "m", "tools": tools})["input"]["tools"][0]["server_url"] == shown


def test_what_a_search_looks_for() -> None:
    """The ``key`` of a filter is the name of an attribute (openai/types/shared/comparison_filter.py)."""
    tools = [{"type": "file_search", "filters": {"type": "eq", "key": "region", "value": "us"}}]

    assert row(fields={"model": "m", "tools": tools})["input"]["tools"] == tools


def test_tools_without_an_end() -> None:
    """What lies deeper than a value may be nested is not looked at, and so not shown."""
    tools: Any = {"authorization": CANARY}
    for _ in range(900):
        tools = [tools]
    logged = text_of(row(fields={"model": "m", "tools": tools}))

    assert CANARY not in logged


@pytest.mark.parametrize("place", ["properties", "patternProperties", "$defs", "definitions"])
def test_schemas_stay(place: str) -> None:
    """A tool may well take something that is called ``key``."""
    named = {"key": {"type": "string"}, "token": {"type": "string"}, "headers": {"type": "object"}}
    parameters = {"type": "object", place: named, "required": ["key"]}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]

    assert row(fields={"model": "m", "tools": tools})["input"]["tools"] == tools


# -- inputs and outputs


def test_without_texts() -> None:
    """``disable_log`` keeps metrics and leaves out what was said, filled in, or made up (reference 000:51, 003:75)."""
    secret = "what was said"
    params = {
        "prompt": {"prompt_id": "p", "variables": {"a": secret}},
        "variables": {"a": secret},
        "mock_response": secret,
        "eval_params": {"eval_inputs": {"a": secret}},
        "custom_identifier": "c",
    }
    made = row(params, {"model": "m", "messages": [{"role": "user", "content": secret}]}, keeps_text=False)
    made.answered({"role": "assistant", "content": secret})
    made.prompted("p", Rendered({}, [], 3, {"a": secret}))

    assert secret not in text_of(made)
    assert (made["custom_identifier"], made["prompt"]) == ("c", {"prompt_id": "p", "version": 3})


def test_with_texts() -> None:
    """Else they are there, as JSON."""
    made = row({"variables": {"a": "b"}, "prompt": {"prompt_id": "p"}})
    made.answered({"role": "assistant", "content": "hi"})
    made.answered(None)
    made.prompted("p", Rendered({}, [], 3, {"a": "b"}))

    assert made["output"] == {"role": "assistant", "content": "hi"}
    assert made["variables"] == {"a": "b"}
    assert made["params"]["variables"] == {"a": "b"}


def test_long_texts_are_cut() -> None:
    """Beyond ``LONGEST`` characters only the beginning is kept, and how much there was."""
    fields = {"model": "m", "input": "x" * LONGEST}
    made = row(fields=fields, raw=json.dumps(fields).encode())
    made.answered("y" * LONGEST)

    assert made["input"].startswith('{"model": "m", "input": "xxx')
    assert made["input"].endswith(f"… ({len(json.dumps(fields))} characters)")
    assert len(made["output"]) < LONGEST + 50


# -- figures


def test_metered() -> None:
    """Cost in USD, tokens by kind; what is not known is ``None``, not 0."""
    made = row()
    made.metered(Tokens(prompt=1, completion=2), 1_500_000_000)
    assert made["cost"] == 1.5
    assert made["tokens"]["prompt"] == 1
    made.metered(None, None)

    assert (made["tokens"], made["cost"]) == (None, None)


def test_attempts() -> None:
    """Who was asked, what came of it, and when, in milliseconds from the request on."""
    trace = Trace("/chat/completions", 100.0)
    trace.tried += [
        Tried("Up", "m", 503, "overload", 100.001, 100.25, 0.0),
        Tried("up2", "n", None, "not_sent", 100.25, 100.5, 0.1, error="ConnectError"),
    ]
    made = row()
    made.attempted(trace, [Candidate("up", "Up/m", "m", None, "asked for")], 100.0)

    first, second = made["attempts"]
    assert (first["provider"], first["status"], first["start"], first["ms"], first["why"]) == (
        "Up",
        503,
        1.0,
        249.0,
        "asked for",
    )
    assert (second["error"], second["wait"], second["why"]) == ("ConnectError", 0.1, None)
