"""What the local gateway reads from a request: carriers, their order, and what it refuses."""

from __future__ import annotations

import base64
import json
from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from respan_openai._params import LEGACY, NAMES
from respan_openai.local import contract


CHAT, RESPONSES = contract.PATHS


def encoded(value: Any) -> str:
    """*value* as the header carries it."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def read(fields: dict[str, Any], headers: dict[str, str] | None = None, path: str = CHAT) -> contract.Asked:
    """Read a request with a model in it."""
    return contract.read(path, headers or {}, json.dumps({"model": "m", **fields}).encode())


def refusal(fields: Any, headers: dict[str, str] | None = None, path: str = CHAT) -> dict[str, Any]:
    """The error that a body is answered with."""
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    with pytest.raises(contract.ContractError) as caught:
        contract.read(path, headers or {}, body)
    assert caught.value.reply.status == 400
    return json.loads(caught.value.reply.chunks[0])["error"]


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
    fields: dict[str, Any] = {"model": "m"}
    headers: dict[str, str] = {}
    for name, params in layers.items():
        CARRIERS[name](params, fields, headers)
    return fields, headers


@pytest.mark.parametrize("carrier", CARRIERS)
def test_each_carrier_is_read(carrier: str) -> None:
    """A parameter arrives through any carrier, and none of them goes upstream."""
    asked = read(*carried({carrier: {"custom_identifier": "c"}}))

    assert asked.params == {"custom_identifier": "c"}
    assert asked.upstream == {"model": "m"}


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

    assert contract._parameters(CHAT, fields, headers) == expected


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


REFUSED: dict[str, Any] = {
    "cache_enabled": True,
    "credential_override": {"m": {"api_key": "k"}},
    "customer_api_keys": {"m": "k"},
    "customer_credentials": {"openai": "k"},
    "customer_params": {"customer_identifier": "u", "period_budget": 1.0},
    "delimiter": "|",
    "field_name": "x",
    "load_balance_group": {"group_id": "g"},
    "load_balance_models": [{"model": "m", "weight": 1}],
    "loadbalance_models": [{"model": "m", "weight": 1}],
    "mock_response": "text",
    "model_name_map": {"a": "azure/b"},
    "prompt": {"prompt_id": "p"},
    "request_breakdown": True,
    "route_provider_override": "azure",
    "variables": {"a": "b"},
    "weight": 1,
}

ACCEPTED: dict[str, Any] = {
    "cache_enabled": False,
    "cache_options": {"cache_by_customer": True},
    "cache_ttl": 60,
    "customer_identifier": "u",
    "customer_params": {"customer_identifier": "u", "name": "n", "markup_percentage": 20},
    "disable_fallback": True,
    "disable_log": True,
    "exclude_models": ["a"],
    "exclude_providers": ["a"],
    "fallback_models": ["a"],
    "first_token_timeout": 1.5,
    "models": ["a", "b"],
    "positive_feedback": True,
    "properties": {"n": 1},
    "request_breakdown": False,
    "retry_params": {"retry_enabled": True},
    "trace_unique_id": "t",
    "prompt_unit_price": None,
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_what_would_change_the_answer_is_refused(name: str, carrier: str) -> None:
    """A parameter that is not honoured yet is an error that names it, through whichever carrier."""
    error = refusal(*carried({carrier: {name: REFUSED[name]}}))

    assert error["code"] == "not_supported"
    assert error["param"] == LEGACY.get(name, name)
    assert f"`{error['param']}`" in error["message"]


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_changes_nothing_is_accepted(name: str) -> None:
    """Observing and failure-only parameters are taken, and kept from the provider."""
    asked = read({name: ACCEPTED[name]})

    assert asked.upstream == {"model": "m"}


@pytest.mark.parametrize("name", sorted(contract._PROVIDERS))
def test_providers_own_fields(name: str) -> None:
    """OpenAI's echo and Perplexity's fields pass at the top level, and are refused where they would be lost."""
    value: Any = {"echo": True, "max_steps": 1, "skills": []}.get(name, "x")

    assert read({name: value}).upstream == {"model": "m", name: value}
    assert refusal({"model": "m", "respan_params": {name: value}})["code"] == "not_supported"


def test_every_parameter_is_decided() -> None:
    """No parameter can be forgotten: the table has each name once, with a reason."""
    listed = [name for _, _, names in contract._TABLE for name in names.split()]

    assert sorted(listed) == sorted(NAMES - LEGACY.keys())
    assert all(treatment.reason for treatment in contract.PARAMETERS.values())


@pytest.mark.parametrize("name", ["exclude_models", "exclude_providers"])
def test_exclusions_without_a_model(name: str) -> None:
    """Exclusions bind the router only, so they are refused exactly when it would have to choose."""
    assert refusal({"models": ["a", "b"], name: ["a"]})["code"] == "not_supported"


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

    assert ("metadata" in asked.upstream) is goes
    assert asked.params.get("metadata") == fields["metadata"]


def test_metadata_of_a_weaker_carrier_stays_here() -> None:
    """What is said in respan_params is Respan's, whatever its shape."""
    asked = read({"respan_params": {"metadata": {"a": "b"}}}, path=RESPONSES)

    assert asked.upstream == {"model": "m"}


def test_native_prompt_on_responses() -> None:
    """OpenAI's own stored prompt passes through on Responses."""
    asked = read({"prompt": {"id": "pmpt_1"}}, path=RESPONSES)

    assert asked.params == {}
    assert asked.upstream["prompt"] == {"id": "pmpt_1"}


@pytest.mark.parametrize(
    ("path", "prompt", "code"),
    [
        (RESPONSES, {"prompt_id": "p"}, "not_supported"),
        (CHAT, {"prompt_id": "p"}, "not_supported"),
        (CHAT, {"id": "p"}, "invalid_parameter"),
        (RESPONSES, {"id": "p", "prompt_id": "p"}, "invalid_parameter"),
        (RESPONSES, "text", "invalid_parameter"),
    ],
)
def test_prompt_of_respan(path: str, prompt: Any, code: str) -> None:
    """Respan's prompt is refused, and a mixture of both is an error."""
    assert refusal({"model": "m", "prompt": prompt}, path=path)["code"] == code


# -- model and body


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({"model": "a"}, "a"),
        ({"models": ["b"]}, "b"),
        ({"models": ["b", "c"]}, "b"),
        ({"model": "a", "models": ["b"]}, "a"),
        ({"model": None, "respan_params": {"models": ["d"]}}, "d"),
    ],
)
def test_model(fields: dict[str, Any], model: str) -> None:
    """``model`` wins; a single candidate acts as the model; of several the first is asked."""
    assert contract.read(CHAT, {}, json.dumps(fields).encode()).model == model


@pytest.mark.parametrize("fields", [{}, {"models": []}, {"model": ""}, {"model": 1}, {"model": None}])
def test_no_model(fields: dict[str, Any]) -> None:
    """Without a model there is nothing to ask for."""
    assert refusal(fields)["param"] == "model"


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"null", b'"m"', b'{"a": NaN}', b"[" * 100_000, b"\xff"])
def test_body_that_is_no_object(body: bytes) -> None:
    """Anything but a JSON object is 400."""
    assert refusal(body)["param"] is None


def test_untouched_body_stays_byte_for_byte() -> None:
    """A body without parameters is not rewritten, so nothing in it can change."""
    body = b'{ "temperature": 1.0, "model":"m", "text": "\\u00e9" }'
    asked = contract.read(CHAT, {}, body)

    assert asked.body_for("m") == body
    assert asked.body_for("n") == body.replace(b'"m"', b'"n"')


def test_body_without_parameters() -> None:
    """Parameters are taken out, and the rest stays."""
    asked = read({"temperature": 1.5, "custom_identifier": "c"})

    assert json.loads(asked.body_for("n")) == {"model": "n", "temperature": 1.5}


@pytest.mark.parametrize("value", ["1e400", '"\\ud800"'])
def test_body_that_cannot_be_rewritten(value: str) -> None:
    """A value that Python reads but JSON cannot carry is 400 as soon as it would have to be rewritten."""
    body = f'{{"model":"m","custom_identifier":"c","x":{value}}}'.encode()

    with pytest.raises(contract.ContractError):
        contract.read(CHAT, {}, body).body_for("m")
