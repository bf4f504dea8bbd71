"""From a request to a question: the same one wherever it was sent, and never the same for another request."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import openai
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from respan_openai.testing._contents import LONGEST_TEXT
from respan_openai.testing._plain import DEEPEST, canonical, writer
from respan_openai.testing.questions import question_of
from respan_openai.testing.recording import Json, Multipart, Part, Question, Raw
from respan_openai.testing.rules import Rules


CHAT = "/v1/chat/completions"
JSON = "application/json"
MESSAGES = [{"role": "user", "content": "hi"}]


def ask(body: Any, path: str = CHAT, *, query: str = "", method: str = "post", **given: Any) -> Question:
    """The question of a JSON request; *given* may hold ``headers`` and what ``question_of`` takes by name."""
    sent = {name.lower(): value for name, value in given.pop("sent", {}).items()}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return question_of(method, path, query, given.pop("type", JSON), content, header=sent.get, **given)


def encoded(params: Any) -> str:
    """*params* as the header carrier has them."""
    return base64.b64encode(json.dumps(params).encode()).decode()


class Captured(list[Question]):
    """A handler of a mock transport: remembers the question of each request, and answers nothing of use."""

    def __init__(self, library: Any) -> None:
        self.library = library

    def __call__(self, request: Any) -> Any:
        target = request.url.raw_path.decode().partition("?")
        kind = request.headers.get("content-type")
        body = request.read()
        header = request.headers.get
        self.append(question_of(request.method, target[0], target[2], kind, body, header=header))
        return self.library.Response(200, json={"id": "1", "choices": [], "text": ""})

    def client(self, kind: Any = openai.OpenAI, **options: Any) -> Any:
        """An SDK client that calls this handler."""
        transport = self.library.MockTransport(self)
        return kind(api_key="k", http_client=self.library.Client(transport=transport), **options)


# -- where


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("/v1/chat/completions", "/chat/completions"),
        ("/api/chat/completions", "/chat/completions"),
        ("/api/openai/v1/responses", "/responses"),
        ("/chat/completions", "/chat/completions"),
        ("/openai/deployments/gpt-x/embeddings", "/embeddings"),
        ("/v1/files", "/files"),
        ("/api/files", "/files"),
        ("/openai/files/f-1", "/files/f-1"),
        ("/proxy/openai/v1/batches/b-1", "/batches/b-1"),
        ("/openai/deployments/gpt-x/images/generations", "/images/generations"),
        ("/files/api/x", "/files/api/x"),
        ("/v1", "/v1"),
        ("", ""),
    ],
)
def test_the_base_of_a_path_is_dropped(sent: str, path: str) -> None:
    """What is asked does not depend on where the API lies."""
    assert ask({}, sent).path == path


def test_a_get_below_a_served_path_keeps_its_id() -> None:
    """Only the base goes: whose response is read stays part of the question."""
    assert ask(b"", "/v1/responses/resp_1", method="GET") == Question("GET", "/responses/resp_1")


def test_azures_deployment_is_kept_aside() -> None:
    """It is for readers, and decoded; the version of Azure's API says nothing about the question."""
    path = "/openai/deployments/my%20model/chat/completions"
    question = ask({"model": "m"}, path, query="api-version=2026-01-01&b=2&a=")

    assert question.deployment == "my model"
    assert question.query == (("a", ""), ("b", "2"))


@pytest.mark.parametrize("query", ["%ff", "%fe", "%", "a=%ff&a=%fe", "&&", "a;b"])
def test_a_strange_query_is_no_error(query: str) -> None:
    """Whatever stands in it, it is kept apart from other queries."""
    assert ask({}, query=query).query != ask({}, query=f"{query}x").query


def test_a_query_says_the_same_in_any_order() -> None:
    """Parameters are sorted."""
    assert ask({}, query="b=1&a=2").query == ask({}, query="a=2&b=1").query


# -- bodies


def test_json_is_parsed_and_null_is_kept() -> None:
    """A field that is null is one that was sent."""
    body = ask({"model": "m", "stop": None, "messages": MESSAGES}).body

    assert body == Json({"model": "m", "stop": None, "messages": MESSAGES})


@pytest.mark.parametrize("kind", [None, "", "application/json; charset=utf-8", "Application/vnd.x+JSON"])
def test_what_counts_as_json(kind: str | None) -> None:
    """Every type of JSON, and no type at all."""
    assert ask([1], type=kind).body == Json([1])


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": -1e999}',
        b"\xff\xfe{",
        b"[" * 5000 + b"]" * 5000,
        b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
        b'{"a":' * DEEPEST + b"[]" + b"}" * DEEPEST,
        b"1" * 5000,
        b"\x00",
    ],
)
def test_json_that_is_none_is_kept_byte_for_byte(body: bytes) -> None:
    """Nothing raises, and nothing is taken for an empty or another body."""
    kept = ask(body).body

    assert isinstance(kept, Raw)
    assert (kept.sha256, kept.size) == (hashlib.sha256(body).hexdigest(), len(body))


@pytest.mark.parametrize(
    "body", [b"[" * DEEPEST + b"]" * DEEPEST, b"[" + b"[]," * DEEPEST + b"{}]", b"null", b'"x"', b"0"]
)
def test_json_of_any_shape_is_json(body: bytes) -> None:
    """Also what is no object, and what has many lists but is not deep."""
    assert ask(body).body == Json(json.loads(body))


def test_an_empty_body_is_none() -> None:
    """Whatever its type says."""
    assert ask(b"").body is None


def test_other_bodies_are_kept_as_text_while_they_are_short() -> None:
    """Short text can be read in the file; all else is a hash."""
    lines = b'{"a": 1}\n{"a": 2}\n'
    long = b"x" * (LONGEST_TEXT + 1)
    kind = "application/jsonl; charset=utf-8"

    assert ask(lines, type=kind).body == Raw(
        "application/jsonl", lines.decode(), hashlib.sha256(lines).hexdigest(), 18
    )
    for body in (long, b"\xff"):
        digest = hashlib.sha256(body).hexdigest()
        assert ask(body, type=kind).body == Raw("application/jsonl", None, digest, len(body))


def test_a_form_says_the_same_in_any_order() -> None:
    """Pairs are sorted, not decoded."""
    kind = "application/x-www-form-urlencoded"

    assert ask(b"b=1&a=%20", type=kind).body == ask(b"a=%20&b=1", type=kind).body
    assert ask(b"b=1&a=%20", type=kind).body != ask(b"b=1&a=+", type=kind).body


# -- multipart


FORM = (
    b'--XX\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/x-wav\r\n\r\n\x00\xff\r\n\r\n--\r\n--XX--\r\n"
)


def form(body: bytes, boundary: str = "XX") -> Question:
    return ask(body, "/v1/audio/transcriptions", type=f"multipart/form-data; boundary={boundary}")


def parts_of(question: Question) -> tuple[Part, ...]:
    assert isinstance(question.body, Multipart)
    return question.body.parts


def test_a_form_is_its_parts() -> None:
    """Text fields are readable, of files there is the hash; content may look like a boundary's begin."""
    content = b"\x00\xff\r\n\r\n--"

    assert form(FORM).body == Multipart((
        Part("model", None, None, "whisper-1", hashlib.sha256(b"whisper-1").hexdigest(), 9),
        Part("file", "a.wav", "audio/x-wav", None, hashlib.sha256(content).hexdigest(), len(content)),
    ))  # fmt: skip


def test_the_boundary_says_nothing() -> None:
    """The SDK draws a new one for every request; quoted or not, it is the same."""
    assert form(FORM.replace(b"--XX", b"--y.z"), '"y.z"') == form(FORM)


@pytest.mark.parametrize(
    ("body", "boundary"),
    [
        (FORM[:-4], "XX"),
        (b"preamble" + FORM, "XX"),
        (FORM + b"epilogue", "XX"),
        (FORM, "YY"),
        (FORM.replace(b"\r\n\r\nwhisper", b"\r\nwhisper"), "XX"),
        (FORM.replace(b'name="model"', b""), "XX"),
        (b"--XX--", "XX"[:0]),
    ],
)
def test_a_form_that_is_none_is_kept_byte_for_byte(body: bytes, boundary: str) -> None:
    """What cannot be taken apart for certain is not taken apart."""
    assert isinstance(form(body, boundary).body, Raw)


def test_a_form_of_nothing_is_one() -> None:
    """It has no parts."""
    assert form(b"--XX--\r\n").body == Multipart(())


def test_names_of_files_in_other_alphabets() -> None:
    """Both ways to write them are read, and a field that is no text has none."""
    body = FORM.replace(b'filename="a.wav"', b"filename*=utf-8''%C3%A4").replace(b"whisper-1", b"\xff")
    parts = parts_of(form(body))

    assert [(part.filename, part.text) for part in parts] == [(None, None), ("utf-8''%C3%A4", None)]


# -- the gateway's parameters


USER = {"customer_identifier": "u1"}


@pytest.mark.parametrize(
    "carried",
    [
        {"body": USER},
        {"body": {"respan_params": USER}},
        {"body": {"keywordsai_params": USER}},
        {"sent": {"X-Data-Respan-Params": encoded(USER)}},
        {"sent": {"X-Data-Keywordsai-Params": encoded(USER)}},
        {"params": USER},
    ],
)
def test_every_carrier_says_the_same(carried: dict[str, Any]) -> None:
    """Moving a parameter from one carrier to another asks the same question."""
    body = {"model": "m", "messages": MESSAGES}

    assert ask({**body, **carried.pop("body", {})}, **carried) == Question(
        "POST", "/chat/completions", body=Json(body), respan=USER
    )


def test_the_order_of_carriers() -> None:
    """Each wins over those below it, key by key; variables alone merge inside."""
    layers: list[dict[str, Any]] = [
        {"variables": {str(at): at, "all": at}, "custom_identifier": at} for at in range(6)
    ]
    for at, layer in enumerate(layers):
        layer.update(
            dict.fromkeys(("group_identifier", "trace_name", "span_name", "log_type", "weight")[at:], at)
        )
    body = {**layers[5], "respan_params": layers[4], "keywordsai_params": layers[3]}
    sent = {"X-Data-Respan-Params": encoded(layers[2]), "X-Data-Keywordsai-Params": encoded(layers[1])}

    assert ask(body, sent=sent, params=layers[0]).respan == {
        "variables": {"0": 0, "1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "all": 5},
        "custom_identifier": 5,
        "group_identifier": 0,
        "trace_name": 1,
        "span_name": 2,
        "log_type": 3,
        "weight": 4,
    }


def test_old_names_are_todays() -> None:
    """In every carrier; where both are given, today's name wins; what is null was not given."""
    body = {"fallback": ["a"], "respan_params": {"loadbalance_models": [1], "load_balance_models": [2]}}

    assert ask(body).respan == {"fallback_models": ["a"], "load_balance_models": [2]}
    assert ask({"fallback": ["a"], "fallback_models": None, "weight": None}).respan == {
        "fallback_models": ["a"]
    }


OPENAIS = [
    ("metadata", {"run": "7"}, {"run": 7}),
    ("metadata", {}, {"k" * 65: "v"}),
    ("metadata", {"k" * 64: "v" * 512}, {"k": "v" * 513}),
    ("metadata", {str(at): "" for at in range(16)}, {str(at): "" for at in range(17)}),
    ("prompt", {"id": "p"}, {"prompt_id": "p"}),
    ("prompt", "a hint", {"id": "p", "prompt_id": "p"}),
    ("models", "m", ["m"]),
]


@pytest.mark.parametrize(("name", "openais", "respans"), OPENAIS)
def test_names_with_two_meanings(name: str, openais: Any, respans: Any) -> None:
    """A value in OpenAI's own form stays in the body, any other is the gateway's."""
    assert ask({name: openais}) == Question("POST", "/chat/completions", body=Json({name: openais}))
    assert ask({name: respans}) == Question(
        "POST", "/chat/completions", body=Json({}), respan={name: respans}
    )


def test_echo_in_the_body_is_openais() -> None:
    """It is a field of completions; the gateway's stands in a prompt."""
    assert ask({"echo": True}).body == Json({"echo": True})


def test_a_field_that_stays_in_the_body_overrules_lower_carriers() -> None:
    """As it does at the gateway."""
    assert ask({"metadata": {"run": "7"}}, params={"metadata": {"run": 8}, **USER}).respan == USER


@pytest.mark.parametrize(
    "value",
    [
        "%%%",
        "",
        encoded([1]),
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b'{"a":' + b"[" * DEEPEST + b"]" * DEEPEST + b"}").decode(),
    ],
)
def test_a_header_that_cannot_be_read_stays_in_sight(value: str) -> None:
    """It is told from no header, and from any other."""
    assert ask({}, sent={"X-Data-Respan-Params": value}).respan == {"x-data-respan-params": value}


def test_a_container_that_is_no_object_stays_in_sight() -> None:
    """In the body, where it came."""
    assert ask({"respan_params": [1]}).body == Json({"respan_params": [1]})


def test_other_paths_have_no_parameters_in_their_body() -> None:
    """What goes to the provider as it is means what it means there; what was sent beside it is told all the
    same."""
    question = ask({"metadata": {"run": 7}, **USER}, "/v1/batches", params={"log_type": "x"})

    assert question.body == Json({"metadata": {"run": 7}, **USER})
    assert question.respan == {"log_type": "x"}


def test_parameters_in_a_form() -> None:
    """Text fields with the gateway's names are parameters; files, repeated fields and a text prompt are
    not."""
    head = b'--XX\r\nContent-Disposition: form-data; name="%s"\r\n\r\nv\r\n'
    names = b"prompt", b"customer_identifier", b"log_type", b"log_type"
    question = form(b"".join(head % name for name in names) + FORM)

    assert [part.name for part in parts_of(question)] == ["prompt", "log_type", "log_type", "model", "file"]
    assert question.respan == {"customer_identifier": "v"}


def test_a_container_leaves_the_body_of_a_question_untouched_otherwise() -> None:
    """Fields keep their order, so that recordings are written in the order of the wire."""
    body = {"z": 1, "customer_identifier": "u", "a": 2, "respan_params": {}}

    assert json.dumps(ask(body).body) == json.dumps([{"z": 1, "a": 2}])


def test_headers_are_there_if_they_are_to_be_compared() -> None:
    """In lower case and sorted, without those that were not sent."""
    question = ask({}, sent={"X-B": "2", "X-A": "1", "X-C": "3"}, headers=("x-b", "X-A", "x-none"))

    assert question.headers == (("x-a", "1"), ("x-b", "2"))


def test_nobody_elses_parameters_are_changed() -> None:
    """What holds for many calls is read only."""
    params = {"variables": {"a": 1}}
    ask({"variables": {"b": 2}}, params=params)

    assert params == {"variables": {"a": 1}}


# -- the SDK's own requests


def test_the_same_call_through_three_clients(library: Any) -> None:
    """OpenAI, the gateway and Azure are asked the same question."""
    captured = Captured(library)
    clients = [
        captured.client(),
        captured.client(base_url="https://api.respan.ai/api"),
        captured.client(
            openai.AzureOpenAI, azure_endpoint="https://x.openai.azure.com", api_version="2026-01-01"
        ),
    ]
    for client in clients:
        client.chat.completions.create(model="m", messages=MESSAGES)

    assert len({Rules().key(question) for question in captured}) == 1
    assert [question.deployment for question in captured] == [None, None, "m"]


def test_the_same_upload_twice(library: Any) -> None:
    """The SDK's random boundary makes no difference; other content does."""
    captured = Captured(library)
    for content in (b"\x00sound", b"\x00sound", b"\x01sound"):
        captured.client().audio.transcriptions.create(
            model="whisper-1", file=("a.wav", content), timestamp_granularities=["word", "segment"]
        )

    first, second, other = captured
    assert isinstance(first.body, Multipart)
    assert first == second
    assert first != other


# -- anything


@example(method="POST", path="/v1/responses", query="", kind=JSON, body=b'{"model": 1')
@given(
    method=st.sampled_from(["GET", "post"]),
    path=st.text(max_size=40) | st.sampled_from([CHAT, "/v1/responses"]),
    query=st.text(max_size=20),
    kind=st.sampled_from(
        [None, JSON, "multipart/form-data; boundary=X", "text/plain", "x", ";;", "multipart/form-data"]
    ),
    body=st.binary(max_size=60)
    | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(json.dumps).map(str.encode),
)
def test_nothing_raises_and_nothing_collapses(
    method: str, path: str, query: str, kind: str | None, body: bytes
) -> None:
    """Any request is a question, and has a key; one with a further byte in its body is another one."""
    question, other = (
        question_of(method, path, query, kind, content, header=lambda _: "{", headers=["x"])
        for content in (body, body + b"~")
    )

    assert question.method == method.upper()
    assert (question.body is None) == (body == b"")
    assert Rules().key(question) != Rules().key(other)


@pytest.mark.parametrize("length", [1, 1000, 2000, 100_000])
def test_keys_of_long_questions(length) -> None:
    """All of a text counts, however long it is, and what is equal is found behind it."""
    text, rules = "x" * length, Rules()

    assert rules.key(ask({"a": text + "a"})) != rules.key(ask({"a": text + "b"}))
    assert rules.key(ask({"a": text, "b": 1})) == rules.key(ask({"b": 1.0, "a": text}))


# -- as text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    )
)
def test_canonical_text_is_that_of_json(value) -> None:
    """Keys in order, no spaces, nothing but ASCII, whichever encoder writes it."""
    assert canonical(value) == json.dumps(value, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize("made", [None, lambda *_: lambda *_: ["?"]])
@pytest.mark.parametrize(
    "options", [{"sort_keys": True}, {"ensure_ascii": False}, {"separators": (",", ":")}]
)
def test_a_python_whose_json_is_another(monkeypatch, made, options) -> None:
    """Where there is no encoder in C, or none as it is known, the documented one writes the same."""
    value = {"b": [1.5, "é"], "a": None}
    with monkeypatch.context() as patch:
        patch.setattr(json.encoder, "c_make_encoder", made)
        other = writer(json.JSONEncoder(**options))

    assert other(value) == writer(json.JSONEncoder(**options))(value) == json.dumps(value, **options)
