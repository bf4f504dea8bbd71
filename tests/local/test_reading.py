"""What the local gateway reads from a request: carriers, their order, and what it refuses."""

from __future__ import annotations

import base64
import json
from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from respan_openai._params import NAMES
from respan_openai.local import reading
from respan_openai.local.contract import ContractError


CHAT, RESPONSES, EMBEDDINGS, SPEECH, TRANSCRIPTIONS = reading.POSTED

#: What must be there besides the model.
NEEDED: dict[str, dict[str, Any]] = {path: {name: []} for path, name in reading.POSTED.items()}


def encoded(value: Any) -> str:
    """*value* as the header carries it."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def read(fields: dict[str, Any], headers: dict[str, str] | None = None, path: str = CHAT) -> reading.Asked:
    """Read a request that has what it must have."""
    body = {"model": "m", **NEEDED[path], **fields}
    return reading.read(path, headers or {}, json.dumps(body).encode())


def own(asked: reading.Asked) -> dict[str, Any]:
    """Fields for the provider besides those that must be there."""
    return {name: value for name, value in asked.fields.items() if name not in {"model", *NEEDED[asked.path]}}


def answer_to(fields: Any, headers: dict[str, str] | None = None, path: str = CHAT) -> tuple[int, Any]:
    """Status and body of the refusal of a request."""
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    with pytest.raises(ContractError) as caught:
        reading.read(path, headers or {}, body)
    return caught.value.reply.status, json.loads(caught.value.reply.chunks[0])


def refusal(fields: Any, headers: dict[str, str] | None = None, path: str = CHAT) -> dict[str, Any]:
    """The error that a request is answered with, which is 400."""
    status, body = answer_to(fields, headers, path)
    assert status == 400
    return body["error"]


def test_request_does_not_show() -> None:
    """Frames of a traceback are collected with their locals; a request holds keys and prompts."""
    own = {"credential_override": {"openai": {"api_key": "key-canary"}}}
    asked = read({"model": "m", "messages": [{"role": "user", "content": "said-canary"}], **own})

    assert "canary" not in repr(asked)
    assert all(name in repr(asked) for name in (CHAT, "credential_override", "messages"))


# -- carriers


#: From the weakest to the strongest; each puts parameters into (fields, headers).
CARRIERS = {
    "legacy header": lambda params, _fields, headers: headers.update(
        {"X-Data-Keywordsai-Params": encoded(params)}
    ),
    "header": lambda params, _fields, headers: headers.update({"X-Data-Respan-Params": encoded(params)}),
    "keywordsai_params": lambda params, fields, _headers: fields.update(keywordsai_params=params),
    "respan_params": lambda params, fields, _headers: fields.update(respan_params=params),
    "top level": lambda params, fields, _headers: fields.update(params),
}


def carried(layers: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Body fields and headers with *layers*, one for each carrier named."""
    fields: dict[str, Any] = {"model": "m", "messages": []}
    headers: dict[str, str] = {}
    for name, params in layers.items():
        CARRIERS[name](params, fields, headers)
    return fields, headers


@pytest.mark.parametrize("carrier", CARRIERS)
def test_each_carrier_is_read(carrier: str) -> None:
    """A parameter arrives through any carrier, and none of them goes upstream."""
    asked = read(*carried({carrier: {"custom_identifier": "c"}}))

    assert asked.params == {"custom_identifier": "c"}
    assert asked.fields == {"model": "m", "messages": []}


@pytest.mark.parametrize(("weaker", "stronger"), list(combinations(CARRIERS, 2)))
def test_stronger_carrier_wins(weaker: str, stronger: str) -> None:
    """Top level over respan_params over header, and a current name over its legacy name."""
    layers = {weaker: {"custom_identifier": "weak"}, stronger: {"custom_identifier": "strong"}}

    assert read(*carried(layers)).params == {"custom_identifier": "strong"}


_TEXT = st.text('ab\u00e9\U0001f600"', max_size=4)
_LAYER = st.fixed_dictionaries(
    {},
    optional={
        "custom_identifier": _TEXT,
        "thread_identifier": _TEXT | st.none(),
        "properties": st.dictionaries(_TEXT, st.integers() | _TEXT, max_size=3),
        "variables": st.dictionaries(_TEXT, _TEXT, max_size=3),
        "retry_params": st.fixed_dictionaries({"retry_enabled": st.booleans()}),
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine breaks no promise
@given(layers=st.fixed_dictionaries({}, optional=dict.fromkeys(CARRIERS, _LAYER)))
def test_documented_winner_whatever_the_carriers_hold(layers: dict[str, dict[str, Any]]) -> None:
    """Key by key the strongest carrier that has a value wins whole; only variables merge inside."""
    expected: dict[str, Any] = {}
    for name in CARRIERS:
        given_here = {key: value for key, value in layers.get(name, {}).items() if value is not None}
        merged = {**expected.get("variables", {}), **given_here.get("variables", {})}
        expected = {**expected, **given_here}
        if "variables" in expected:
            expected["variables"] = merged
    fields, headers = carried(layers)

    assert reading._parameters(CHAT, fields, headers) == expected


def test_legacy_spelling_in_a_weaker_carrier() -> None:
    """An old name is the same parameter: the stronger carrier wins over it."""
    fields = {"fallback_models": ["new"], "respan_params": {"fallback": ["old"]}}

    assert read(fields).params == {"fallback_models": ["new"]}


@pytest.mark.parametrize(
    "value", ["%%%", "e30", encoded([1]), encoded("x"), base64.b64encode(b"{").decode(), ""]
)
@pytest.mark.parametrize("header", ["X-Data-Respan-Params", "X-Data-Keywordsai-Params"])
def test_unreadable_header(header: str, value: str) -> None:
    """A header that is not base64 of an object is an error, not a call without limits."""
    error = refusal({"model": "m"}, {header: value})

    assert error["code"] == "invalid_parameter"
    assert error["param"] == "X-Data-Respan-Params"
    assert "base64" in error["message"]


@pytest.mark.parametrize("value", [[], "{}", 1, True])
@pytest.mark.parametrize("name", ["respan_params", "keywordsai_params"])
def test_container_that_is_no_object(name: str, value: Any) -> None:
    """A container of another type is an error that names it."""
    error = refusal({"model": "m", name: value})

    assert (error["param"], error["code"]) == (name, "invalid_parameter")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"cache_ttl": "1"}, "cache_ttl"),
        ({"retry_params": {"retry_enabled": True, "num_retries": 0}}, "retry_params.num_retries"),
        ({"respan_params": {"customer_identifer": "u"}}, "respan_params.customer_identifer"),
        ({"respan_params": {"temperature": 1}}, "respan_params.temperature"),
        ({"metadata": "text"}, "metadata"),
    ],
)
def test_wrong_parameter_is_named(fields: dict[str, Any], param: str) -> None:
    """400 in OpenAI's shape, with the place of the mistake in ``param``."""
    error = refusal({"model": "m", **fields})

    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["code"] == "invalid_parameter"


# -- what is honoured


HONOURED: dict[str, Any] = {
    "cache_enabled": True,
    "cache_options": {"cache_by_customer": True},
    "cache_ttl": 60,
    "credential_override": {"m": {"api_key": "k"}},
    "customer_api_keys": {"m": "k"},
    "customer_credentials": {"openai": "k"},
    "customer_identifier": "u",
    "customer_params": {"customer_identifier": "u", "period_budget": 1.0, "markup_percentage": 20},
    "disable_fallback": True,
    "disable_log": True,
    "exclude_models": ["a"],
    "exclude_providers": ["a"],
    "fallback_models": ["a"],
    "first_token_timeout": 1.5,
    "is_log_omitted": True,
    "load_balance_group": {"group_id": "g"},
    "load_balance_models": [{"model": "m", "weight": 1}],
    "mock_response": "text",
    "model_name_map": {"a": "azure/b"},
    "models": ["a", "b"],
    "positive_feedback": True,
    "prompt": {"prompt_id": "p"},
    "properties": {"n": 1},
    "request_breakdown": True,
    "retry_params": {"retry_enabled": True},
    "route_provider_override": "azure",
    "trace_unique_id": "t",
    "variables": {"a": "b"},
}

REFUSED: dict[str, Any] = {"delimiter": "|", "field_name": "x", "weight": 1}


@pytest.mark.parametrize("name", HONOURED)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_parameter_is_taken(name: str, carrier: str) -> None:
    """A parameter arrives through whichever carrier, as it was sent, and never at the provider."""
    asked = read(*carried({carrier: {name: HONOURED[name]}}))

    assert asked.params == {name: HONOURED[name]}
    assert own(asked) == {}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_what_nobody_can_honour_is_refused(name: str, carrier: str) -> None:
    """A parameter without a known meaning is an error that names it, and never left out in silence."""
    error = refusal(*carried({carrier: {name: REFUSED[name]}}))

    assert (error["param"], error["code"]) == (name, "not_supported")
    assert f"`{name}`" in error["message"]


@pytest.mark.parametrize("name", sorted(reading._PROVIDERS))
def test_providers_own_fields(name: str) -> None:
    """OpenAI's echo and Perplexity's fields pass at the top level, and are refused where they would be lost."""
    value: Any = {"echo": True, "max_steps": 1, "skills": []}.get(name, "x")

    assert own(read({name: value})) == {name: value}
    error = refusal({"model": "m", "messages": [], "respan_params": {name: value}})
    assert error["code"] == "not_supported"


def test_what_is_refused_is_a_parameter() -> None:
    """Only known parameters are refused, each for a reason; all others are honoured."""
    assert reading.NOT_HONOURED.keys() == REFUSED.keys() | reading._PROVIDERS
    assert reading.NOT_HONOURED.keys() <= NAMES
    assert all(reading.NOT_HONOURED.values())


# -- the headers


def test_headers_of_their_own() -> None:
    """The route and the beta flags, of which empty ones do not count."""
    headers = {"X-Respan-Route-Provider": "azure", "X-Respan-Beta": "token-breakdown-2026-03-26, ,b"}
    asked = read({"route_provider_override": "other"}, headers)

    assert asked.route == "azure"
    assert asked.beta == {"token-breakdown-2026-03-26", "b"}


def test_route_in_the_body() -> None:
    """Without the header there is only the parameter, which the router looks at second."""
    asked = read({"route_provider_override": "azure"})

    assert (asked.route, asked.params) == (None, {"route_provider_override": "azure"})
    assert asked.beta == frozenset()


# -- names with two meanings


@pytest.mark.parametrize(
    ("path", "fields", "goes"),
    [
        (RESPONSES, {"metadata": {"a": "b"}}, True),
        (RESPONSES, {"metadata": {str(n): "" for n in range(16)}}, True),
        (RESPONSES, {"metadata": {str(n): "" for n in range(17)}}, False),
        (RESPONSES, {"metadata": {"k" * 65: ""}}, False),
        (RESPONSES, {"metadata": {"k": "v" * 513}}, False),
        (RESPONSES, {"metadata": {"k": 1}}, False),
        (RESPONSES, {"metadata": None}, False),
        (CHAT, {"metadata": {"a": "b"}}, False),
        (CHAT, {"metadata": {"a": "b"}, "store": False}, False),
        (CHAT, {"metadata": {"a": "b"}, "store": True}, True),
    ],
)
def test_metadata_goes_upstream_if_openai_takes_it(path: str, fields: dict[str, Any], goes: bool) -> None:
    """Metadata is always recorded, and sent on only in OpenAI's shape and where OpenAI allows it."""
    asked = read(fields, path=path)

    assert ("metadata" in asked.fields) is goes
    assert asked.params.get("metadata") == fields["metadata"]


def test_metadata_of_a_weaker_carrier_stays_here() -> None:
    """What is said in respan_params is Respan's, whatever its shape."""
    asked = read({"respan_params": {"metadata": {"a": "b"}}}, path=RESPONSES)

    assert own(asked) == {}


def test_native_prompt_on_responses() -> None:
    """OpenAI's own stored prompt passes through on Responses, and needs no input beside it."""
    asked = read({"prompt": {"id": "pmpt_1"}, "input": None}, path=RESPONSES)

    assert asked.params == {}
    assert asked.fields["prompt"] == {"id": "pmpt_1"}


def test_hint_of_a_transcription() -> None:
    """OpenAI's ``prompt`` of a transcription is a text, and goes to the provider."""
    assert own(read({"prompt": "names"}, path=TRANSCRIPTIONS)) == {"prompt": "names"}


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_prompt_of_respan(path: str) -> None:
    """Respan's prompt stays here, and stands for the messages or the input."""
    asked = reading.read(path, {}, b'{"model": "m", "prompt": {"prompt_id": "p"}}')

    assert asked.params == {"prompt": {"prompt_id": "p"}}
    assert asked.fields == {"model": "m"}


@pytest.mark.parametrize(
    ("path", "prompt", "param"),
    [
        (CHAT, {"id": "p"}, "prompt"),
        (RESPONSES, {"id": "p", "prompt_id": "p"}, "prompt"),
        (RESPONSES, "text", "prompt"),
    ],
)
def test_prompt_of_both(path: str, prompt: Any, param: str) -> None:
    """What is neither the one prompt nor the other is an error that names it."""
    error = refusal({"model": "m", **NEEDED[path], "prompt": prompt}, path=path)

    assert error["code"] == "invalid_parameter"
    assert error["param"].startswith(param)


@pytest.mark.parametrize("path", [EMBEDDINGS, SPEECH, TRANSCRIPTIONS])
def test_prompt_where_there_are_no_messages(path: str) -> None:
    """A stored prompt is for two endpoints (reference 000:47, 002:34), and elsewhere an error instead of nothing."""
    error = refusal(
        {"model": "m", **NEEDED[path]},
        {"X-Data-Respan-Params": encoded({"prompt": {"prompt_id": "p"}})},
        path,
    )

    assert (error["param"], error["code"]) == ("prompt", "not_supported")


def test_hint_is_no_file() -> None:
    """OpenAI's hint does not stand for what is to be transcribed."""
    assert answer_to({"model": "m", "prompt": "names"}, path=TRANSCRIPTIONS)[0] == 422


# -- what must be there


@pytest.mark.parametrize("path", reading.POSTED)
@pytest.mark.parametrize("holds", ["nothing", "null"])
def test_field_that_must_be_there(path: str, holds: str) -> None:
    """422, with the messages by field (contract.md, section 4), if what is to be answered is missing."""
    needed = reading.POSTED[path]
    body = {"model": "m"} if holds == "nothing" else {"model": "m", needed: None}
    status, answer = answer_to(body, path=path)

    assert status == 422
    assert answer["errors"] == {needed: [f"{needed} is required."]}
    assert answer["error"]["param"] == needed


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model": ""}, "model"),
        ({"model": 1}, "model"),
        ({"model": ["m"]}, "model"),
        ({"messages": "hello"}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"messages": ["hello"]}, "messages"),
        ({"stream": 1}, "stream"),
        ({"stream": []}, "stream"),
    ],
)
def test_field_of_another_type(fields: dict[str, Any], field: str) -> None:
    """422 that names the field; a parameter of Respan's that is wrong is 400."""
    status, answer = answer_to({"model": "m", "messages": [], **fields})

    assert (status, list(answer["errors"]), answer["error"]["param"]) == (422, [field], field)


@pytest.mark.parametrize("fields", [{}, {"model": None}, {"models": ["a", "b"]}])
def test_model_may_be_missing(fields: dict[str, Any]) -> None:
    """Then the router chooses (reference 003:79-81)."""
    assert reading.read(CHAT, {}, json.dumps({"messages": [], **fields}).encode()).model is None


def test_model_is_as_asked() -> None:
    """With its prefix, whatever else names models."""
    assert read({"model": "azure/a", "models": ["b"]}).model == "azure/a"


@pytest.mark.parametrize(
    ("stream", "streams"), [(True, True), (False, False), (None, False), ("true", True), ("false", False)]
)
def test_stream(stream: Any, streams: bool) -> None:
    """Said in JSON as a boolean, in a form as a word."""
    assert read({"stream": stream}).streams is streams


# -- body


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"null", b'"m"', b"[" * 100_000, b"\xff"])
def test_body_that_is_no_object(body: bytes) -> None:
    """Anything but a JSON object is 400."""
    assert refusal(body)["param"] is None


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"[1e400]"])
def test_number_that_is_none(number: bytes) -> None:
    """What JSON does not have, or no double holds, is 400: a row with it could not be kept, and the call is billed."""
    body = b'{"model": "m", "messages": [], "seed": %s}' % number

    assert refusal(body)["param"] is None
    assert reading.read(CHAT, {}, body.replace(number, b"1e300")).fields["seed"] == 1e300


def test_untouched_body_stays_byte_for_byte() -> None:
    """A body without parameters is not rewritten, so nothing in it can change."""
    body = b'{ "messages": [],"temperature": 1.0, "model":"m", "text": "\\u00e9" }'
    asked = reading.read(CHAT, {}, body)

    assert asked.body_for("m", asked.fields) == body
    assert asked.body_for("n", asked.fields) == body.replace(b'"m"', b'"n"')


def test_body_without_parameters() -> None:
    """Parameters are taken out, and the rest stays."""
    asked = read({"temperature": 1.5, "custom_identifier": "c"})

    assert json.loads(asked.body_for("n", asked.fields)) == {"model": "n", "messages": [], "temperature": 1.5}


def test_body_with_other_fields() -> None:
    """Fields that the gateway has changed are what is sent, even if the body held OpenAI's only."""
    asked = read({})
    sent = asked.body_for("m", {**asked.fields, "stream_options": {"include_usage": True}})

    assert json.loads(sent) == {"model": "m", "messages": [], "stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    "body",
    [
        '{"model": "m", "messages": [], "custom_identifier": "c", "x": "\\ud800"}',
        '{"messages": [], "x": "\\ud800"}',
        '{"model": "up/\\ud800", "messages": []}',
    ],
)
def test_body_that_cannot_be_rewritten(body: str) -> None:
    """A value that Python reads but JSON cannot carry is 400 as soon as it would have to be rewritten."""
    asked = reading.read(CHAT, {}, body.encode())
    model = (asked.model or "m").removeprefix("up/")

    with pytest.raises(ContractError) as caught:
        asked.body_for(model, asked.fields)
    assert caught.value.reply.status == 400


# -- paths


@pytest.mark.parametrize("path", [*reading.POSTED, reading.MODELS])
@pytest.mark.parametrize("tail", [b"", b"/", b"?format=json"])
def test_paths(path: str, tail: bytes) -> None:
    """What is served, with a slash behind it or not; the query is not looked at."""
    method = "GET" if path == reading.MODELS else "POST"

    assert reading.served(method, b"/api" + path.encode() + tail) == path


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/files", 404),
        ("POST", "/api", 404),
        ("POST", "/api/chat", 404),
        ("POST", "/api/responses/r_1", 404),
        ("GET", "/api/chat/completions", 405),
        ("POST", "/api/models", 405),
    ],
)
def test_paths_that_are_not_served(method: str, path: str, status: int) -> None:
    """404 with a list of those that are, and 405 with the method that is allowed."""
    with pytest.raises(ContractError) as caught:
        reading.served(method, path.encode())
    reply = caught.value.reply

    assert (reply.status, list(json.loads(reply.chunks[0]))) == (status, ["detail"])
    allowed = {"/api/models": "GET", "/api/chat/completions": "POST"}.get(path)
    assert dict(reply.headers).get("Allow") == allowed
