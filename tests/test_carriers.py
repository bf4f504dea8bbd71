"""On the wire each parameter stands in one place, with the documented winner."""

from __future__ import annotations

import base64
import json

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from respan_openai import Gateway, ParamsError, params, wrap
from respan_openai._carriers import Ambient, Placed, place
from respan_openai._wire import HEADER_LIMIT


VALUES = {
    "customer_identifier": st.sampled_from(["a", "b", "c"]),
    "thread_identifier": st.sampled_from(["a", "b", "c"]),
    "disable_log": st.booleans(),
    "metadata": st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from(["1", "\u00f6"]), max_size=2),
    "variables": st.dictionaries(st.sampled_from(["x", "y", "z"]), st.sampled_from(["1", "2"]), max_size=3),
}
LAYER = st.fixed_dictionaries({}, optional=VALUES)


def encoded(layer: dict) -> str:
    return base64.b64encode(json.dumps(layer).encode()).decode()


def expected(*layers: dict) -> dict:
    """The documented merge: later layers win key by key, ``variables`` inside."""
    merged: dict = {}
    for layer in layers:
        for name, value in layer.items():
            merged[name] = {**merged.get(name, {}), **value} if name == "variables" else value
    return merged


def split(body: bytes, header: str | None) -> tuple[dict, dict, dict]:
    top = json.loads(body)
    container = top.pop("respan_params", {})
    return (
        {k: v for k, v in top.items() if k in VALUES},
        container,
        json.loads(base64.b64decode(header or "e30=")),
    )


@given(top=LAYER, container=LAYER, header=LAYER, context=LAYER, legacy=st.booleans())
def test_whatever_the_carriers_hold(top, container, header, context, legacy) -> None:
    """Each key is on the wire once, in one carrier, with the value that the documented order gives it."""
    name = "keywordsai_params" if legacy else "respan_params"
    body = json.dumps({"model": "m", **top, **({name: container} if container else {})}).encode()

    placed = place(Ambient(context) if context else None, body, [encoded(header)] if header else [])

    sent = split(placed.body or body, placed.header)
    names = [key for part in sent for key in part]
    assert len(names) == len(set(names))
    assert {**sent[2], **sent[1], **sent[0]} == expected(context, header, container, top)
    assert json.loads(placed.body or body)["model"] == "m"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(call=LAYER, extra=LAYER, container=LAYER, header=LAYER, context=LAYER, defaults=LAYER)
def test_through_the_real_sdk(library, call, extra, container, header, context, defaults) -> None:
    """The same through a wrapped client: keywords, extra_body, container, header, context and defaults."""
    sent = []

    def answer(request):
        sent.append(split(request.content, request.headers.get("x-data-respan-params")))
        message = {"role": "assistant", "content": "Hi"}
        return library.Response(200, json={"id": "1", "choices": [{"index": 0, "message": message}]})

    with library.Client(transport=library.MockTransport(answer)) as http:
        client = wrap(openai.OpenAI(http_client=http), gateway=Gateway("rk"), defaults=defaults)
        extra = {name: value for name, value in extra.items() if name not in call and name != "metadata"}
        if container:
            extra["respan_params"] = container
        headers = {"X-Data-Respan-Params": encoded(header)} if header else {}
        with params(**context):
            client.chat.completions.create(
                model="m", messages=[], extra_body=extra, extra_headers=headers, **call
            )

    ((top, inner, outer),) = sent
    extra.pop("respan_params", None)
    names = [*top, *inner, *outer]
    assert len(names) == len(set(names))
    assert {**outer, **inner, **top} == expected(defaults, context, header, container, {**extra, **call})


def test_small_parameters_leave_the_body_alone() -> None:
    """The common case: no parse, no copy, one header."""
    assert place(Ambient({"disable_log": True}), b'{"model":"m"}', []) == Placed(
        encoded_compact({"disable_log": True}),
        None,
    )
    assert place(None, b'{"model":"m"}', []) == Placed(None, None)


def encoded_compact(layer: dict) -> str:
    return base64.b64encode(json.dumps(layer, separators=(",", ":")).encode()).decode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m"}',
        b'{"model": "m", "x": {}}',
        b'{"respan_params":{"disable_log":true}}',
        b"{}",
        b"{ }",
        b'{"a":1} \n',
    ],
)
def test_large_parameters_go_into_the_body(body) -> None:
    """Beyond 4 KiB of base64 they stand in respan_params, beside what already does."""
    long = {"metadata": {"text": "\u00f6" * 5000}}

    placed = place(Ambient(long), body, [])

    parsed = json.loads(placed.body)
    assert placed.header is None
    assert parsed.pop("respan_params") == {**json.loads(body).get("respan_params", {}), **long}
    assert parsed == {name: value for name, value in json.loads(body).items() if name != "respan_params"}


@pytest.mark.parametrize("size", [HEADER_LIMIT // 4 * 3 - 30, HEADER_LIMIT // 4 * 3 + 30])
def test_the_header_is_never_larger_than_4_kib(size) -> None:
    """Just below the limit it is the header, just above the body."""
    placed = place(
        Ambient({"custom_identifier": "x" * (size - len('{"custom_identifier":""}'))}), b'{"model":"m"}', []
    )

    assert (placed.header is None) == (size > HEADER_LIMIT // 4 * 3)
    assert len(placed.header or "") <= HEADER_LIMIT


@pytest.mark.parametrize("body", [None, b"", b"[1]", b"not json", b'{"customer_identifier"'])
def test_bodies_without_room(body) -> None:
    """Without a JSON object to put them in, parameters stand in the header, or fail with a reason."""
    assert place(Ambient({"customer_identifier": "u"}), body, []).header == encoded_compact(
        {"customer_identifier": "u"}
    )
    assert place(None, body, []) == Placed(None, None)
    with pytest.raises(ParamsError, match="4096"):
        place(Ambient({"metadata": {"text": "x" * 5000}}), body, [])


def test_a_name_that_only_stands_in_a_prompt() -> None:
    """Text that looks like a parameter is no parameter: it does not push the real one out."""
    body = json.dumps(
        {"messages": [{"content": 'say "customer_identifier": 1', "customer_identifier": 2}]}
    ).encode()

    placed = place(Ambient({"customer_identifier": "u"}), body, [])

    assert (placed.header, placed.body) == (encoded_compact({"customer_identifier": "u"}), None)


@pytest.mark.parametrize("swapped", [False, True])
async def test_two_header_carriers(caller, served, gateway, swapped) -> None:
    """With both headers on one call, the current one wins over the legacy one, in whichever order they stand."""
    client = wrap(caller.client(), gateway=gateway)
    headers = {
        "X-Data-Keywordsai-Params": encoded({"customer_identifier": "old", "disable_log": True}),
        "X-Data-Respan-Params": encoded({"customer_identifier": "new"}),
    }

    await caller.chat(client, extra_headers=dict(reversed(headers.items())) if swapped else headers)

    assert served.seen[0].params == {"customer_identifier": "new", "disable_log": True}


@pytest.mark.parametrize("value", ["[1]", "7", '"text"'])
def test_a_container_of_the_wrong_type(value) -> None:
    """The gateway would silently ignore it, so it is refused."""
    with pytest.raises(ParamsError, match="respan_params") as caught:
        place(None, b'{"respan_params":%s}' % value.encode(), [])

    assert "ignore" in str(caught.value)


async def test_the_legacy_header_is_renamed(caller, served, gateway) -> None:
    """X-Data-Keywordsai-Params of the user leaves as X-Data-Respan-Params."""
    client = wrap(caller.client(), gateway=gateway)

    await caller.chat(client, extra_headers={"X-Data-Keywordsai-Params": encoded({"disable_log": True})})

    (seen,) = served.seen
    assert seen.params == {"disable_log": True}
    assert "x-data-keywordsai-params" not in seen.headers
