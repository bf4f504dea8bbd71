"""Cassettes of vcrpy and cassetter, as recordings of ours."""

from __future__ import annotations

import base64
import gzip
import json
import sys
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.testing._yaml import MAX_BYTES
from respan_openai.testing.errors import CassetteError
from respan_openai.testing.importing import SOURCES, imported
from respan_openai.testing.recording import Answer, Chunk, Json, Multipart, Recorded
from respan_openai.testing.secrets import Secrets


yaml = pytest.importorskip("yaml")

KEY = "my-very-own-key-4711"

#: As vcrpy 9.4 writes it.
VCR = """\
interactions:
- request:
    body: '{"model":"m","messages":[{"role":"user","content":"hi\\nyes"}]}'
    headers:
      authorization:
      - Bearer my-very-own-key-4711
      content-type:
      - application/json
    method: POST
    uri: https://api.openai.com/v1/chat/completions?b=2&a=1
  response:
    body:
      string: !!binary |
        H4sIABMEAmsC/6tWykxRsjKsBQDF+F1ECAAAAA==
    headers:
      Content-Encoding:
      - gzip
      Content-Type:
      - application/json
      set-cookie:
      - a
    status:
      code: 200
      message: OK
- request:
    body: '{"model":"m","stream":true}'
    headers:
      content-type:
      - application/json
    method: POST
    uri: https://api.openai.com/v1/chat/completions
  response:
    body:
      string: 'data: {"id": "a"}


        data: [DONE]


        '
    headers:
      content-type:
      - text/event-stream
    status:
      code: 200
      message: OK
- request:
    body: null
    headers: {}
    method: GET
    uri: https://api.openai.com/v1/models
  response:
    body:
      string: ''
    headers: {}
    status:
      code: 204
      message: No Content
version: 1
"""

#: As cassetter 0.16 writes it: sorted, not in the order of time, and with dates that are texts.
CASSETTER = """\
version: 1
interactions:
- request:
    method: POST
    uri: https://api.openai.com/v1/audio/speech
    headers:
      content-type:
      - application/json
    body:
      type: json
      content:
        input: 2026-11-21
        speed: 1.0e+1
        "n": 012
        voice: 1:30
        none: null
        yes: yes
  response:
    status: 200
    headers:
      content-type:
      - audio/mpeg
    body:
      type: binary
      content: 00fffe
  recorded_at: 2026-11-21T20:50:27.186530+00:00
- request:
    method: POST
    uri: https://api.openai.com/v1/chat/completions
    headers:
      content-type:
      - application/json
    body:
      type: json
      content:
        model: m
        messages:
        - role: user
          content: |-
            hi
            yes
  response:
    status: 200
    headers:
      content-type:
      - text/event-stream; charset=utf-8
      x-request-id:
      - abc
    body:
      type: text
      content: |+
        data: {"id": "a"}

        data: [DONE]

  recorded_at: 2026-11-21T20:50:27.182420+00:00
- request:
    method: GET
    uri: https://api.openai.com/v1/models
    headers: {}
    body:
      type: none
  response:
    status: 200
    headers:
      content-type:
      - application/json
    body:
      type: json
      content:
        data: []
        big: 12345678901234567890
        at: -1.5
        huge: .inf
  recorded_at: 2026-11-21T20:50:27.190000+00:00
"""


def read(text: str | bytes, source: str = "vcr") -> list[Recorded]:
    return imported(text.encode() if isinstance(text, str) else text, source, Secrets({}))


def interaction(**changes: Any) -> dict[str, Any]:
    """One of vcrpy's; ``request__uri=...`` changes a field."""
    made: dict[str, Any] = {
        "request": {"method": "POST", "uri": "https://a/v1/embeddings", "headers": {}, "body": None},
        "response": {"status": {"code": 200}, "headers": {}, "body": {"string": ""}},
    }
    for path, value in changes.items():
        side, _, name = path.partition("__")
        made[side][name] = value
    return made


def cassette(*interactions: Any) -> str:
    return str(yaml.safe_dump({"version": 1, "interactions": list(interactions)}))


def content(recorded: Recorded) -> bytes:
    return b"".join(chunk.data for chunk in recorded.answer.chunks)


def test_vcr() -> None:
    """Requests are as if they had been recorded here; of an answer what we keep is kept, unpacked."""
    first, second, third = read(VCR)

    assert first.question.path == "/chat/completions"
    assert first.question.query == (("a", "1"), ("b", "2"))
    assert first.question.body == Json({"model": "m", "messages": [{"role": "user", "content": "hi\nyes"}]})
    assert first.answer == Answer(200, (("content-type", "application/json"),), (Chunk(0, b'{"id":1}'),))
    assert [chunk.data for chunk in second.answer.chunks] == [b'data: {"id": "a"}\n\n', b"data: [DONE]\n\n"]
    assert (third.question.body, third.answer) == (None, Answer(204))
    assert {each.origin for each in (first, second, third)} == {"vcr"}


def test_cassetter() -> None:
    """In the order of time; values are those of its writer, whose dates and ``yes`` are texts."""
    chat, speech, models = read(CASSETTER, "cassetter")

    assert chat.question.body == Json({"model": "m", "messages": [{"role": "user", "content": "hi\nyes"}]})
    assert [chunk.data for chunk in chat.answer.chunks] == [b'data: {"id": "a"}\n\n', b"data: [DONE]\n\n"]
    assert dict(chat.answer.headers)["x-request-id"] == "req_1"
    assert speech.question.body == Json(
        {"input": "2026-11-21", "speed": 10.0, "n": 12, "voice": "1:30", "none": None, "yes": "yes"}
    )
    assert content(speech) == b"\x00\xff\xfe"
    assert json.loads(content(models)) == {
        "data": [],
        "big": 12345678901234567890,
        "at": -1.5,
        "huge": float("inf"),
    }
    assert {each.origin for each in (chat, speech, models)} == {"cassetter"}


def test_keys_become_known() -> None:
    """The key that a request was sent with is a secret from then on."""
    secrets = Secrets({})

    imported(VCR.encode(), "vcr", secrets)

    assert any(KEY.encode() in needle for needle, _ in secrets.needles)


def test_the_gateways_parameters_are_found() -> None:
    """Those in the header stand where they stand in recordings of ours."""
    params = base64.b64encode(json.dumps({"customer_identifier": "u1"}).encode()).decode()
    headers = {"X-Data-Respan-Params": [params], "content-type": ["application/json"]}
    text = cassette(interaction(request__headers=headers, request__body='{"input": "x"}'))

    assert read(text)[0].question.respan == {"customer_identifier": "u1"}


def test_multipart() -> None:
    """An upload is read part by part, so that its boundary does not matter."""
    body = b'--abc\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\xff\r\n--abc--\r\n'
    headers = {"content-type": ["multipart/form-data; boundary=abc"]}
    (found,) = read(cassette(interaction(request__headers=headers, request__body=body)))

    assert isinstance(found.question.body, Multipart)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"body": {"string": b"\x00\xff"}, "headers": {}, "status": {"code": 200}}, b"\x00\xff"),
        ({"body": {"string": "h\u00e9"}, "headers": None, "status": {"code": 200}}, "h\u00e9".encode()),
        ({"body": "plain", "headers": {}, "status": 200}, b"plain"),
        ({"content": "old httpx", "headers": {"a": "b"}, "status_code": 200}, b"old httpx"),
        (
            {"parsed_body": {"a": [1, "\u00e9"]}, "headers": {}, "status": {"code": 200}},
            '{"a":[1,"\u00e9"]}'.encode(),
        ),
        ({"body": {}, "headers": {}, "status": {"code": 200}}, b""),
    ],
)
def test_forms_of_a_vcr_response(response, expected) -> None:
    """Its versions and serializers have several; all mean the same bytes."""
    made = interaction()
    made["response"] = response

    assert content(read(cassette(made))[0]) == expected


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
        ("gzip", bytes),
    ],
)
def test_compressed_answers(encoding, pack) -> None:
    """They are unpacked; one that only says it is compressed is as it is."""
    packed = interaction(
        response__headers={"Content-Encoding": [encoding]}, response__body={"string": pack(b"hello " * 9)}
    )

    assert content(read(cassette(packed))[0]) == b"hello " * 9


def test_a_bomb_is_not_unpacked() -> None:
    """An answer that grows beyond the limit when unpacked is refused, not held in memory."""
    bomb = interaction(
        response__headers={"content-encoding": ["gzip"]},
        response__body={"string": gzip.compress(bytes(MAX_BYTES + 1), 1)},
    )

    with pytest.raises(CassetteError, match=r"interactions\[0\].response: larger than"):
        read(cassette(bomb))


WRONG: list[tuple[Any, str]] = [
    ("[]", "the file: expected an object"),
    ("a: [", "no YAML that is plain data (line 1)"),
    ("interactions: {}", "interactions: expected a list"),
    ("version: 1", "interactions: expected a list"),
    ("interactions: [7]", "interactions[0]: expected an object"),
    ("interactions: [{request: {}}]", "interactions[0].response: expected an object"),
    ("interactions: []\nws_interactions: [1]", "holds more than HTTP calls"),
    (interaction(request__uri=7), "interactions[0].request.uri: expected a text"),
    (interaction(request__uri="http://[a"), "interactions[0].request.uri: no URL"),
    (interaction(request__method=None), "interactions[0].request.method: expected a text"),
    (interaction(request__headers=[1]), "interactions[0].request.headers: expected an object"),
    (interaction(request__body=7), "interactions[0].request.body: expected a text"),
    (interaction(response__status={"code": "200"}), "interactions[0].response.status: expected a number"),
    (interaction(response__parsed_body={b"a": b"b"}), "interactions[0].response.body: holds a value"),
    (
        interaction(response__headers={"content-encoding": ["br"]}, response__body={"string": "x"}),
        "interactions[0].response: compressed with a method",
    ),
    ("a: !!python/object/apply:os.system ['echo']", "no YAML that is plain data (line 1). Record it anew"),
    ("a: !custom x", "no YAML that is plain data"),
    ("[" * 1_000, "too deep"),
    ("a: &a [*a]", "more than 200 levels"),
    ("a: 2026-99-99", "with a value that is none"),
    (b"\xff\xfe\x00", "no YAML that is plain data"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_cannot_be_read(text, message) -> None:
    """One line says where and what; no tag makes an object, no depth ends the process, no value is quoted."""
    with pytest.raises(CassetteError) as caught:
        read(cassette(text) if isinstance(text, dict) else text)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{type: odd, content: x}", "body.type: expected json, text, binary or none"),
        ("{type: binary, content: xyz}", "body.content: no bytes in hexadecimal"),
        ("{type: binary, content: [1]}", "body.content: expected a text"),
        ("{type: text, content: [1]}", "body: expected a text"),
        ("[1]", "body: expected an object"),
    ],
)
def test_what_cannot_be_read_of_cassetter(body, message) -> None:
    """Same, for the forms that only its bodies have."""
    text = f"interactions: [{{request: {{method: GET, uri: x, body: {body}}}, response: {{}}}}]"

    with pytest.raises(CassetteError) as caught:
        read(text, "cassetter")

    assert f"interactions[0].request.{message}" in str(caught.value)


@pytest.mark.parametrize("width", [2, 100])
def test_references_cannot_grow(width) -> None:
    """A few lines that stand for many values are refused before anything is made of them."""
    lines = [
        "a0: &a0 [x, x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, 50)),
    ]

    with pytest.raises(CassetteError, match="more than 2000000 values"):
        read("\n".join(lines))


def test_size_is_bounded() -> None:
    """A file beyond the limit is refused before it is parsed."""
    with pytest.raises(CassetteError, match="larger than 64 MiB"):
        read(b"[" * (MAX_BYTES + 1))


def test_pyyaml_is_asked_for(monkeypatch) -> None:
    """Without it one line says what to install."""
    monkeypatch.setitem(sys.modules, "yaml", None)

    with pytest.raises(CassetteError, match=r"pip install 'respan-openai\[cassettes\]'"):
        read(VCR)


@pytest.mark.parametrize("source", sorted(SOURCES))
@given(text=st.text())
def test_no_text_breaks_it(source, text) -> None:
    """Whatever the file holds, it is read or refused in one line."""
    try:
        read(text.encode("utf-8", "surrogatepass"), source)
    except CassetteError as exc:
        assert "\n" not in str(exc)
