"""Nothing is written, or passes a check, that holds a secret in any form."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.testing.format import dumps
from respan_openai.testing.gate import Leak, leaks
from respan_openai.testing.recording import Answer, Chunk, Json, Question, Recorded, Tape
from respan_openai.testing.redact import Redactor
from respan_openai.testing.secrets import Secrets


KEY = "sk-canary-Zq8/wXv4+1LmP0"
PLAIN = "Qp7RtYw2Zx9L"
ENVIRON = {"OPENAI_API_KEY": KEY, "ANOTHER_TOKEN": PLAIN}
KEYS_LEAK = "the environment variable OPENAI_API_KEY"
PLAINS_LEAK = "the environment variable ANOTHER_TOKEN"


def found_in(text: str | bytes) -> list[Leak]:
    """What the gate finds in *text*."""
    return leaks(text, Secrets(ENVIRON))


def in_base64(text: str, before: str = "") -> str:
    """Behind *before*, which shifts it."""
    return base64.b64encode((before + text).encode()).decode()


FORMS = {
    "plain": str,
    "URL": lambda text: quote(text, safe=""),
    "URL, small letters": lambda text: "".join(f"%{ord(char):02x}" for char in text),
    "JSON": lambda text: json.dumps({"a": [text]}),
    "JSON, escaped": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "JSON of JSON": lambda text: json.dumps(json.dumps({"a": [text.replace("-", "\\u002d")]})),
    "base64, first": in_base64,
    "base64, second": lambda text: in_base64(text, "x"),
    "base64, third": lambda text: in_base64(text, "xx"),
    "base64, no padding": lambda text: in_base64(text, "x").rstrip("="),
    "base64, for URLs": lambda text: in_base64(text, "???>>>").translate({43: 45, 47: 95}),
    "base64, in a path": lambda text: f"/a/{in_base64(text)}/b",
    "base64 of JSON": lambda text: in_base64(json.dumps({"a": text.replace("-", "\\u002d")})),
    "base64 in a URL": lambda text: quote(in_base64(text, ">>>"), safe=""),
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


# -- where, and what


def test_places_in_a_document() -> None:
    """As a path, for each secret once."""
    document = {"calls": [{"request": {"json": {"a": ["x", f"{KEY} {KEY} {PLAIN}"]}}}, {"b": PLAIN}]}

    assert found_in(json.dumps(document)) == [
        Leak("calls[0].request.json.a[1]", KEYS_LEAK),
        Leak("calls[0].request.json.a[1]", PLAINS_LEAK),
        Leak("calls[1].b", PLAINS_LEAK),
    ]


def test_places_in_other_text() -> None:
    """As the number of a line; bytes need not be text."""
    assert found_in(f"a\n{KEY}\n\n{PLAIN}") == [Leak("line 2", KEYS_LEAK), Leak("line 4", PLAINS_LEAK)]
    assert found_in(b"\xff\x00" + PLAIN.encode()) == [Leak("line 1", PLAINS_LEAK)]


def test_a_secret_that_no_line_holds_alone() -> None:
    """It is in the whole."""
    stream = "".join(f"data: {json.dumps({'delta': part})}\n\n" for part in (PLAIN[:5], PLAIN[5:]))

    assert found_in(stream) == [Leak("the whole", PLAINS_LEAK)]


@each_form
def test_no_leak_shows_a_secret(form: Any) -> None:
    """Neither what it is nor where: names may hold one as well."""
    document = {f"a{form(KEY)}": {form(PLAIN): form(KEY)}, KEY: 1}
    found = found_in(json.dumps(document))

    assert found
    assert not any(part in str(found) for part in (KEY[3:], PLAIN, KEY[3:9], PLAIN[:6]))
    assert Leak("…", KEYS_LEAK) in found


@each_form
@pytest.mark.parametrize("secret", [KEY, PLAIN])
def test_every_form(form: Any, secret: str) -> None:
    """In a document, as a name and as a value, in a file of lines, and in bytes."""
    hidden = form(secret)

    assert found_in(json.dumps([hidden]))[0].place == "[0]"
    assert found_in(json.dumps({hidden: 1}))
    assert found_in(f"first\n{hidden}\n")[0].place == "line 2"
    assert found_in(b"\xfe" + hidden.encode() + b"\xff")


def test_shapes_that_nobody_told_of() -> None:
    """By a kind, once for each place; a known key is not one of these, too."""
    assert found_in(json.dumps(["AKIAIOSFODNN7EXAMPLE", KEY])) == [
        Leak("[0]", "an AWS access key id"),
        Leak("[1]", KEYS_LEAK),
    ]


# -- fields


def test_fields_for_secrets_must_be_redacted() -> None:
    """Whatever they hold, also in text that is JSON itself."""
    document = {"a": {"password": "x", "api_key": "{{redacted}}"}, "b": json.dumps({"client_secret": "x"})}
    what = "a field for secrets that is not redacted"

    assert sorted(found_in(json.dumps(document))) == [Leak("a.password", what), Leak("b", what)]


@pytest.mark.parametrize("number", [20251121, 90817263548172635481, -90817263])
def test_numbers_that_are_secrets(number: int) -> None:
    """All of their digits; nothing can stand for one in an answer, but it is not written either."""
    secrets = Secrets({"A_PIN_PASSWORD": str(number)})

    assert leaks(json.dumps({"a": [{"n": number}]}), secrets) == [
        Leak("a[0].n", "the environment variable A_PIN_PASSWORD")
    ]


@pytest.mark.parametrize(
    "value", ["{{redacted}}", "{{env:OF_ANOTHER_MACHINE_KEY}}", "{{secret:answer-3}}", "", None, 5]
)
def test_placeholders_in_fields(value: Any) -> None:
    """Whoever made them, and what is no text."""
    assert found_in(json.dumps({"password": value})) == []


# -- texts in parts


@pytest.mark.parametrize(
    "value",
    [
        {"$joined": [PLAIN[:4], PLAIN[4:]]},
        {"$lines": ["-----BEGIN PRIVATE KEY-----", "a" * 64, "b" * 64]},
        [[1, PLAIN[:4]], [2, PLAIN[4:]]],
        [[1, "base64", in_base64(PLAIN[:4])], [2, PLAIN[4:]]],
        [[1, f'data: {{"delta": "{PLAIN[:4]}"}}\n'], [None, f'\ndata: {{"delta": "{PLAIN[4:]}"}}\n\n']],
        [[1, {"delta": PLAIN[:4]}], [None, {"delta": "", "x": 1}], [3, "whole", {"delta": PLAIN[4:]}]],
        [[1, {"choices": [{"index": at, "text": text}]}] for text in (PLAIN[:4], PLAIN[4:]) for at in (0, 1)],
    ],
)
def test_texts_in_parts_are_put_together(value: Any) -> None:
    """Lines, rows of chunks, and rows of events."""
    (leak,) = found_in(json.dumps({"a": [value]}))

    assert leak.place == "a[0]"


def spelt(text: str, size: int = 3) -> list[dict[str, Any]]:
    """Tokens as ``logprobs`` have them, with an alternative to each."""
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    tokens = [{"token": part, "logprob": -0.5, "bytes": list(part.encode())} for part in parts]
    return [{**token, "top_logprobs": [token, {"token": "x", "bytes": [120]}]} for token in tokens]


@pytest.mark.parametrize(
    "value",
    [
        {"content": [{"token": token["token"]} for token in spelt(PLAIN)]},
        {"content": [{"token": "x", "bytes": token["bytes"]} for token in spelt(PLAIN)]},
        {"content": [{"token": "x", "top_logprobs": token["top_logprobs"]} for token in spelt(PLAIN)]},
        {"content": [{"token": ""}, {"bytes": [*PLAIN.encode()]}]},
        {"tokens": [PLAIN[:4], PLAIN[4:]]},
        {"top_logprobs": [{"x": -1.5, PLAIN[:4]: -2.5}, {"y": -1, PLAIN[4:]: -2}]},
        {"words": [{"word": PLAIN[:4], "start": 0.5}, {"word": PLAIN[4:]}]},
        {"segments": [{"id": 0, "text": PLAIN[:4]}, {"id": 1, "text": PLAIN[4:]}]},
        {"content": [{"token": {"$lines": ["", PLAIN[:4]]}}, {"token": PLAIN[4:]}]},
        [[1, {"logprobs": spelt(PLAIN[:8], 2)}], [2, {"logprobs": spelt(PLAIN[8:], 2)}]],
        json.dumps({"words": [{"word": PLAIN[:4]}, {"word": PLAIN[4:]}]}),
        json.dumps({"content": [{"token": "x", "bytes": token["bytes"]} for token in spelt(PLAIN)]}),
    ],
)
def test_texts_in_pieces_are_put_together(value: Any) -> None:
    """Tokens, their bytes and their likeliest alternatives; words and segments of a transcript."""
    found = found_in(json.dumps({"a": [value]}))

    assert {leak.what for leak in found} == {PLAINS_LEAK}


@pytest.mark.parametrize(
    "value",
    [
        [PLAIN[:4], PLAIN[4:]],
        [[1, {"type": "a", "delta": PLAIN[:4]}], [2, {"type": "b", "delta": PLAIN[4:]}]],
        [[1, "base64", "no base64!"], [1, []], []],
        [{"content": PLAIN[:4]}, {"content": PLAIN[4:]}],
        {"top_logprobs": [{"token": PLAIN[:4]}, {"token": PLAIN[4:]}]},
        {"words": [{"word": PLAIN[:4], "text": PLAIN[4:]}]},
        {"bytes": [*PLAIN.encode(), 256]},
        {"numbers": [*PLAIN.encode()]},
    ],
)
def test_other_lists_are_not(value: Any) -> None:
    """What belongs to different texts makes up no secret."""
    assert found_in(json.dumps({"a": value})) == []


# -- what may be written


def test_what_is_clean() -> None:
    """Placeholders, numbers that begin with the digits of a secret, and anything else."""
    secrets = Secrets(ENVIRON | {"PIN_KEY": "20251121", "NAMED_KEY": "redacted"})
    text = '{"a": "{{env:OPENAI_API_KEY}} {{redacted}}", "n": 202511210, "id": "chatcmpl-B9MHDbslfkBeAs8"}'

    assert leaks(text, secrets) == []
    assert leaks(b"", secrets) == []
    assert leaks("[" * 100_000, secrets) == []


# -- together

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def planted(value: Any, canary: str, at: int) -> Any:
    """*value* with *canary* at one of its places: in a string, as a name, or in the place of a value."""
    if isinstance(value, list) and value:
        at, rest = at % len(value), at // len(value)
        return [planted(inner, canary, rest) if number == at else inner for number, inner in enumerate(value)]
    if isinstance(value, dict) and value:
        names = list(value)
        name = names[at % len(names)]
        if at % 3 == 0:
            return {f"{each}{canary}" if each == name else each: inner for each, inner in value.items()}
        return {**value, name: planted(value[name], canary, at // len(names))}
    return f"{value} {canary} {value}" if isinstance(value, str) else canary


@given(VALUES, st.sampled_from([KEY, PLAIN]), st.sampled_from(sorted(FORMS)), st.integers(0, 999))
def test_a_secret_anywhere_is_found_before_and_not_after(value: Any, secret: str, form: str, at: int) -> None:
    """In any form, in any place of a request and of an answer, through to the file that is written."""
    body = planted(value, FORMS[form](secret), at)
    data = json.dumps(body).encode()
    call = Recorded(
        Question("POST", "/responses", body=Json(body)),
        Answer(
            200, chunks=(Chunk(1, data[: at % len(data)] or b" "), Chunk(2, data[at % len(data) :] or b" "))
        ),
    )
    secrets = Secrets(ENVIRON)
    redacted = Redactor(secrets).calls([call])

    assert found_in(data)
    assert leaks(json.dumps(body, ensure_ascii=False), secrets)
    assert in_file([call], secrets)
    assert in_file(redacted, secrets) == []


@given(st.lists(st.integers(1, 40), max_size=6), st.sampled_from(["content", "refusal"]), st.booleans())
def test_a_secret_in_deltas_is_found_before_and_not_after(cuts: list[int], name: str, whole: bool) -> None:
    """In the file as it keeps streams, and in what cannot be kept so."""
    text, pieces = f"The keys are {KEY} and {PLAIN}.", []
    for cut in cuts:
        pieces.append(text[:cut])
        text = text[cut:]
    events = [
        b"data: %b\n\n" % json.dumps({"id": "c", "choices": [{"index": 0, "delta": {name: piece}}]}).encode()
        for piece in (*pieces, text)
    ]
    chunks = tuple(Chunk(at, event) for at, event in enumerate(events if whole else [b": hi\xff\n", *events]))
    call = Recorded(Question("POST", "/chat/completions"), Answer(200, chunks=chunks))
    secrets = Secrets(ENVIRON)

    assert in_file([call], secrets)
    assert in_file(Redactor(secrets).calls([call]), secrets) == []


@given(st.lists(st.integers(1, 12), max_size=12), st.integers(1, 4), st.booleans())
def test_a_secret_in_tokens_is_found_before_and_not_after(cuts: list[int], size: int, whole: bool) -> None:
    """Cut anywhere, in an answer and in events of several tokens each; in text, and in bytes alone."""
    text, content = f"The keys are {KEY} and {PLAIN}.", list[dict[str, Any]]()
    for cut in [*cuts, len(text)]:
        content += spelt(text[:cut], cut or 1)
        text = text[cut:]
    shown = content if whole else [{**token, "token": "?", "top_logprobs": []} for token in content]
    body = {"choices": [{"index": 0, "logprobs": {"content": shown}}]}
    events = [
        {"choices": [{"index": 0, "logprobs": {"content": shown[at : at + size]}}]}
        for at in range(0, len(shown), size)
    ]
    stream = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    secrets = Secrets(ENVIRON)
    kinds = (("application/json", json.dumps(body).encode()), ("text/event-stream", stream))

    for kind, data in kinds:
        answer = Answer(200, (("content-type", kind),), (Chunk(1, data),))
        call = Recorded(Question("POST", "/chat/completions"), answer)
        assert in_file([call], secrets)
        assert in_file(Redactor(secrets).calls([call]), secrets) == []


def in_file(calls: list[Recorded], secrets: Secrets) -> list[Leak]:
    """What the gate finds in the files of a cassette with *calls*."""
    beside: dict[str, bytes] = {}
    text = dumps(Tape(tuple(calls)), beside, name="t")
    return [leak for content in (text, *beside.values()) for leak in leaks(content, secrets)]
