"""Metering: what a call may cost, what it took, and what its answer says about it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from respan_openai.local.contract import ContractError
from respan_openai.local.messages import Answer
from respan_openai.local.metering import Metering
from respan_openai.local.price import Price
from respan_openai.local.prices import Prices
from respan_openai.local.reading import Asked
from respan_openai.local.router import Candidate
from respan_openai.local.settings import Model
from tests.local.support import USAGE, chat, response


CHAT = "/chat/completions"
M, N = (Candidate("p", name, name, None, "") for name in ("m", "n"))
#: US dollars for a million tokens.
PRICES = {"p/m": Price(1, 2), "p/n": Price(10, 20)}
BETA = frozenset({"token-breakdown-2026-03-26"})


def metering(
    path: str = CHAT, *, beta: frozenset[str] = frozenset(), fields: Any = None, **params: Any
) -> Metering:
    """A call with these parameters."""
    fields = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **(fields or {})}
    asked = Asked(path, None, beta, params, fields, b"{}", untouched=True)
    return Metering(asked, fields, Prices(PRICES), 1_795_000_000.0, 0.0)


def dressed(meter: Metering, answer: Any, path: str = CHAT, *, cached: bool = False) -> Any:
    """What the caller gets of *answer*."""
    return json.loads(meter.dressed(Answer(path, json.dumps(answer).encode()), cached=cached).body)


# -- what it may cost


@pytest.mark.parametrize(
    ("fields", "candidates", "model", "expected"),
    [
        ({"max_tokens": 10}, [M], None, 100 * 1000 + 10 * 2000),
        ({"max_tokens": 10}, [M, N], None, 100 * 10_000 + 10 * 20_000),
        ({"max_tokens": 10}, [N, M], None, 100 * 10_000 + 10 * 20_000),
        ({}, [M], None, 100 * 1000 + 50 * 2000),
        ({}, [M], Model(name="m", max_output=7), 100 * 1000 + 7 * 2000),
        ({}, [M], Model(name="m"), 100 * 1000 + 50 * 2000),
        ({"n": 3}, [M], None, 100 * 1000 + 150 * 2000),
        ({}, [M, M._replace(sent="unknown")], None, None),
        ({}, [], None, 0),
    ],
)
def test_estimate(
    fields: Any, candidates: list[Candidate], model: Model | None, expected: int | None
) -> None:
    """The dearest of those who may answer counts, each byte as a token; one without a price makes it unknown."""
    found = metering(fields=fields).estimate([each._replace(declared=model) for each in candidates], 100, 50)

    assert found == expected


def test_prices_of_the_request_win() -> None:
    """``prompt_unit_price`` and ``completion_unit_price`` hold whoever answers."""
    priced = metering(prompt_unit_price=100.0, completion_unit_price=0.0)
    assert priced.estimate([M, M._replace(sent="unknown")], 10, 50) == 1_000_000
    priced.count(USAGE, N)

    assert priced.cost == 10 * 100_000


def test_price_that_is_none() -> None:
    """It is refused before anybody is asked, not when the answer is there."""
    with pytest.raises(ContractError) as caught:
        metering(prompt_unit_price=1e9)

    assert caught.value.reply.status == 400
    assert b"prompt_unit_price" in caught.value.reply.chunks[0]


# -- what it took


def test_count() -> None:
    """What is not known has no cost; what nobody is paid for costs 0."""
    meter = metering()
    assert (meter.tokens, meter.cost) == (None, None)
    meter.count(None, M)
    assert (meter.tokens, meter.cost) == (None, None)
    meter.count(USAGE, M._replace(sent="unknown"))
    assert (meter.tokens is not None, meter.cost) == (True, None)
    meter.count(USAGE, None)
    assert meter.cost == 0
    meter.count(USAGE, M)
    assert meter.cost == 10 * 1000 + 2 * 2000


# -- what the answer says


@pytest.mark.parametrize("path", [CHAT, "/responses", "/embeddings", "/audio/transcriptions"])
@pytest.mark.parametrize("body", [b"", b"[]", b"no json", b'{ "a" : 1.0 }', b'{"usage": null, "b": 2}'])
def test_nothing_to_add(path: str, body: bytes) -> None:
    """An answer to which nothing is added keeps its very bytes, whatever it is."""
    answer, meter = Answer(path, body), metering(path)

    assert meter.dressed(answer, cached=False) is answer
    assert meter.counted(answer, None) is answer
    assert not meter.adds


def test_counters() -> None:
    """Cache counters have both names (reference 003:3, "Response")."""
    told = {**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}
    answer = Answer(CHAT, json.dumps({"id": 1, "usage": told}).encode())
    counted = metering().counted(answer, told)

    assert json.loads(counted.body) == {"id": 1, "usage": {**told, "cache_read_input_tokens": 4}}
    assert metering().counted(counted, counted.says["usage"]) is counted


def test_counters_of_what_is_not_looked_into() -> None:
    """A transcription stays as it is, whatever it tells."""
    told = {**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}
    answer = Answer("/audio/transcriptions", json.dumps({"usage": told}).encode())

    assert metering("/audio/transcriptions").counted(answer, told) is answer


def test_tokens_by_kind() -> None:
    """The beta flag adds them to the usage."""
    usage = dressed(metering(beta=BETA), chat())["usage"]

    assert usage["token_breakdown"] == {"prompt_tokens": 10, "completion_tokens": 2}


def test_prompt_message() -> None:
    """The messages of a stored prompt are shown if its ``echo`` asks for them."""
    meter = metering()
    meter.prompt_message = [{"role": "user", "content": "filled in"}]

    assert dressed(meter, {"id": 1}) == {"id": 1, "prompt_message": meter.prompt_message}


@pytest.mark.parametrize(("path", "answer"), [(CHAT, chat()), ("/responses", response())])
@pytest.mark.parametrize("cached", [False, True])
def test_summary(path: str, answer: dict[str, Any], *, cached: bool) -> None:
    """``request_breakdown`` stands at the top level and tells what the call took (reference 003:3)."""
    meter = metering(path, request_breakdown=True, metadata={"run": 7})
    meter.count(USAGE, M)
    given = dressed(meter, answer, path, cached=cached)
    summary = given.pop("request_breakdown")

    assert summary["prompt_tokens"] == 10
    assert summary["cost"] == 14e-6
    assert summary["completion_message"]["content"] == "hi"
    assert (summary["cached"], summary["metadata"], summary["timestamp"]) == (
        cached,
        {"run": "7"},
        "2026-11-18T11:06:40.000000Z",
    )
    assert given == answer


@pytest.mark.parametrize("cached", [False, True])
def test_summary_without_secrets(*, cached: bool) -> None:
    """Answers are logged by those who get them, so the summary hides what the log hides, and no field is missing."""
    tools = [{"type": "mcp", "server_label": "a", "authorization": "canary", "headers": {"X": "canary"}}]
    fields = {"tools": tools, "input": [{"type": "tool_search_output", "tools": tools}]}
    meter = metering("/responses", fields=fields, request_breakdown=True)
    summary = dressed(meter, response(), "/responses", cached=cached)["request_breakdown"]

    assert "canary" not in json.dumps(summary)
    assert list(summary["full_request"]) == ["model", "messages", "tools", "input"]
    assert summary["full_request"]["tools"][0]["server_label"] == "a"
    assert fields["tools"][0]["authorization"] == "canary"


@pytest.mark.parametrize("body", [b'{"a": NaN}', b'{"a": "\\ud800"}'])
def test_answer_that_cannot_be_written_anew(body: bytes) -> None:
    """Python reads what JSON and UTF-8 do not have; such an answer is passed on as it is, not lost."""
    assert metering(request_breakdown=True).dressed(Answer(CHAT, body), cached=False).body == body


def test_events_of_a_stream() -> None:
    """The counters get into the event that tells the usage; without one it is the same object."""
    meter = metering()
    silent = b'data: {"usage": null, "choices": []}\n\n'
    (same,) = meter.counts.passed(silent)
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}
    (told,) = meter.counts.passed(b"data: %s\n\n" % json.dumps({"choices": [], "usage": usage}).encode())

    assert same is silent
    assert json.loads(told[6:])["usage"]["cache_read_input_tokens"] == 4
    assert (meter.dressing, meter.summary_events(dict)) == ([], None)


def test_tokens_by_kind_of_a_stream() -> None:
    """The beta flag adds them to the usage that the stream tells."""
    (kinds,) = metering(beta=BETA).dressing
    (told,) = kinds.passed(b"data: %s\n\n" % json.dumps({"choices": [], "usage": USAGE}).encode())

    assert json.loads(told[6:])["usage"]["token_breakdown"] == {"prompt_tokens": 10, "completion_tokens": 2}
