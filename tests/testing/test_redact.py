"""No secret is left in a recorded call, in any form; everything else is left as it was."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from itertools import pairwise
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.testing.errors import CassetteError
from respan_openai.testing.recording import Answer, Chunk, Json, Multipart, Part, Question, Raw, Recorded
from respan_openai.testing.redact import Redactor, kept_headers
from respan_openai.testing.secrets import Secrets


KEY = "sk-canary-Zq8/wXv4+1LmP0"
PHRASE = "correct-horse battery?"
PLAIN = "Qp7RtYw2Zx9L"
MARK = "{{env:OPENAI_API_KEY}}"
ENVIRON = {"OPENAI_API_KEY": KEY, "THE_PASSWORD": PHRASE, "ANOTHER_TOKEN": PLAIN}

#: Answers of the gateway to a request with a wrong key.
ECHO = {"error": {"message": f"Incorrect API key provided: {KEY}.", "code": "invalid_api_key"}}


def redactor(*redact: Any) -> Redactor:
    """One that knows the canaries."""
    return Redactor(Secrets(ENVIRON), redact)


def ask(value: Any = None, **fields: Any) -> Question:
    """A question with a JSON body."""
    return Question("POST", fields.pop("path", "/chat/completions"), body=Json(value), **fields)


def body_of(question: Question) -> Any:
    """The value of its JSON body."""
    assert isinstance(question.body, Json)
    return question.body.value


def redacted(value: Any, *redact: Any) -> Any:
    """*value* as the JSON body of a request, redacted."""
    return body_of(redactor(*redact).question(ask(value)))


def answer(*chunks: bytes, **fields: Any) -> Answer:
    """One that came in *chunks*."""
    return Answer(200, chunks=tuple(Chunk(at, data) for at, data in enumerate(chunks)), **fields)


def answered(*chunks: bytes, **fields: Any) -> list[bytes]:
    """*chunks* of an answer, redacted."""
    return [chunk.data for chunk in redactor().answer(answer(*chunks, **fields)).chunks]


def delta(text: str, index: int = 0, **more: Any) -> bytes:
    """An event of a chat completion."""
    choice = {"index": index, "delta": {"content": text, **more}}
    return b"data: %b\n\n" % json.dumps({"id": "c1", "choices": [choice]}).encode()


def said(stream: bytes, index: int = 0) -> str:
    """What the choice *index* of a chat completion says."""
    events = [json.loads(event[6:]) for event in stream.decode().split("\n\n") if event.startswith("data: {")]
    choices = (choice for event in events for choice in event["choices"])
    return "".join(choice["delta"]["content"] for choice in choices if choice["index"] == index)


# -- forms: how each hides a text, and shows it again


def escaped(text: str) -> str:
    """With every character as JSON may escape it."""
    return "".join(f"\\u{ord(char):04x}" if at % 2 else f"\\u{ord(char):04X}" for at, char in enumerate(text))


def quoted(text: str) -> str:
    """With every byte as in a URL, in capitals and not."""
    digits = (f"%{byte:02x}" if at % 2 else f"%{byte:02X}" for at, byte in enumerate(text.encode()))
    return "".join(digits)


def in_base64(text: str, before: str = "") -> str:
    """Behind *before*, which shifts it."""
    return base64.b64encode(f"{before}{text} and more".encode()).decode()


def wrapped(text: str) -> str:
    """As in a mail."""
    whole = in_base64(json.dumps({"before": "x" * 90, "key": text, "behind": "x" * 90}))
    return "\r\n".join(whole[at : at + 76] for at in range(0, len(whole), 76))


FORMS = {
    "plain": str,
    "in words": lambda text: f"The key is {text}.",
    "URL": lambda text: quote(text, safe=""),
    "URL, each byte": quoted,
    "URL of URL": lambda text: quote(quote(text, safe=""), safe=""),
    "form": lambda text: text.replace(" ", "+"),
    "JSON": lambda text: json.dumps({"a": [text]}),
    "JSON, slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON, escaped": lambda text: text.replace("-", "\\u002d"),
    "JSON, each character": escaped,
    "JSON of JSON": lambda text: json.dumps(json.dumps({"key": escaped(text)})),
    "URL in JSON": lambda text: json.dumps(quoted(text)),
    "base64, first": in_base64,
    "base64, second": lambda text: in_base64(text, "x"),
    "base64, third": lambda text: in_base64(text, "xx"),
    "base64, no padding": lambda text: in_base64(text).rstrip("="),
    "base64, in a path": lambda text: f"/a/{in_base64(text)}/b",
    "base64, for URLs": lambda text: in_base64(text, "\N{THUMBS UP SIGN}?>~").translate({43: 45, 47: 95}),
    "base64, in lines": wrapped,
    "base64, in a URL": lambda text: quote(in_base64(text, ">>>"), safe=""),
    "base64 of JSON": lambda text: in_base64(json.dumps({"a": {"customer": text}})),
    "base64 of escapes": lambda text: in_base64(json.dumps({"a": 1})[:-1] + f', "b": "{escaped(text)}"}}'),
    "base64 of base64": lambda text: in_base64(in_base64(text, "x"), "xx"),
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def traces(secret: str) -> set[str]:
    """What *secret* leaves in a text, in small letters; of base64, what nothing around it changes."""
    found = {secret, quote(secret, safe=""), quoted(secret), escaped(secret), json.dumps(secret)[1:-1]}
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + secret.encode()).decode()
        inner = whole[(0, 2, 3)[shift] : (shift + len(secret)) * 8 // 6]
        found |= {inner, inner.translate({43: 45, 47: 95}), quote(inner, safe="")}
    return {trace.lower() for trace in found}


def holds(text: str, secret: str) -> bool:
    """Whether one finds *secret* in *text* with nothing but grep."""
    whole = text.replace("\\r\\n", "").lower()
    return any(trace in whole for trace in traces(secret))


# -- requests


@each_form
@pytest.mark.parametrize("secret", [KEY, PHRASE, PLAIN])
def test_every_form_of_every_secret_in_a_request(form: Any, secret: str) -> None:
    """In values and names, at any depth, in the path, the query and the gateway's parameters."""
    hidden = form(secret)
    question = ask(
        {"a": [{"b": hidden}], hidden: 1},
        path=f"/files/{hidden}",
        query=(("after", hidden), (hidden, "")),
        respan={"metadata": {"note": hidden, hidden: [hidden]}},
        headers=(("x-tenant", hidden),),
        deployment=hidden,
        via=hidden,
    )
    redacting = redactor()
    found = redacting.question(question)

    assert not holds(json.dumps(found), secret)
    assert redacting.question(found) is found


@each_form
def test_every_form_in_an_answer(form: Any) -> None:
    """In a JSON body, in text, and in the headers that are kept."""
    hidden = form(KEY)
    found = redactor().answer(
        answer(json.dumps({"a": hidden, hidden: [hidden]}).encode(), b" or ", hidden.encode())._replace(
            headers=(("x-more", hidden),)
        )
    )

    assert not holds(repr(found), KEY)


def test_no_trace_is_overlooked() -> None:
    """The tests find the forms before they are redacted, unless nothing there looks like the canary."""
    unlike = {"base64 of escapes", "base64 of base64", "base64, in lines"}
    missed = {
        name
        for name, form in FORMS.items()
        for secret in (KEY, PHRASE, PLAIN)
        if not holds(json.dumps(form(secret)), secret) and not holds(form(secret), secret)
    }

    assert missed <= unlike | {
        "form",
        "URL of URL",
        "JSON of JSON",
        "JSON, escaped",
        "JSON, slashes",
        "base64 of JSON",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a {KEY} b", f"a {MARK} b"),
        (f"{KEY}{KEY}", f"{MARK}{MARK}"),
        (f"a%20{quote(KEY, safe='')}%20b", f"a%20{MARK}%20b"),
        (f'"a\\n{escaped(KEY)}\\u00e9"', f'"a\\n{MARK}\\u00e9"'),
        (f"\N{SNOWMAN}{KEY}\N{SNOWMAN}", f"\N{SNOWMAN}{MARK}\N{SNOWMAN}"),
        ("q=correct-horse+battery%3F&a=+", "q={{env:THE_PASSWORD}}&a=+"),
    ],
)
def test_what_is_around_a_secret_is_left(text: str, expected: str) -> None:
    """Escapes too."""
    assert redacted([text]) == [expected]


@pytest.mark.parametrize("before", ["", "x", "xx", "\N{THUMBS UP SIGN}?>~"])
@pytest.mark.parametrize("url_safe", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_base64_stays_base64(before: str, url_safe: bool, padded: bool) -> None:
    """In its alphabet, and read by whoever read it before; what stands before the secret stays as it was."""
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    decode = base64.urlsafe_b64decode if url_safe else base64.b64decode
    whole = encode(f"{before}???>>>{KEY}???>>>".encode()).decode()
    (found,) = redacted([whole if padded else whole.rstrip("=")])

    assert decode(found + "=" * (-len(found) % 4)).decode() == f"{before}???>>>{MARK}???>>>"
    assert found[: len(before) * 4 // 3] == whole[: len(before) * 4 // 3]
    assert set(found) & set("+/" if url_safe else "-_") == set()


def test_the_header_that_carries_parameters() -> None:
    """Base64 of JSON: what is in its fields for secrets, and a key in another field."""
    carried = {"customer_identifier": KEY, "credential_override": {"openai": {"api_key": "abc", "n": 1}}}
    (found,) = redacted([base64.b64encode(json.dumps(carried).encode()).decode()])

    assert json.loads(base64.b64decode(found)) == {
        "customer_identifier": MARK,
        "credential_override": {"openai": {"api_key": "{{redacted}}", "n": 1}},
    }


# -- fields


def test_fields_for_secrets() -> None:
    """Their strings and numbers at any depth, by exact names; nothing else."""
    value = {
        "max_tokens": 5,
        "logit_bias": {"50256": -100},
        "password": 12345,
        "api_key": "abc",
        "x": [{"Authorization": "abc", "client_secret": ["a", "b", None, True, ""]}],
        "tools": [{"parameters": {"properties": {"password": {"type": "string"}}, "required": ["password"]}}],
    }

    assert redacted(value) == value | {
        "password": "{{redacted}}",
        "api_key": "{{redacted}}",
        "x": [{"Authorization": "{{redacted}}", "client_secret": ["{{redacted}}"] * 2 + [None, True, ""]}],
    }


def test_the_gateways_parameters_that_hold_credentials() -> None:
    """Every leaf of them; the rest is readable."""
    respan = {
        "customer_identifier": "cust_1",
        "customer_credentials": {"openai": {"api_key": "a", "region": "eu"}},
        "customer_api_keys": {"gpt-5.5": "b"},
    }
    found = redactor().question(ask(respan=respan))

    assert found.respan == {
        "customer_identifier": "cust_1",
        "customer_credentials": {"openai": {"api_key": "{{redacted}}", "region": "{{redacted}}"}},
        "customer_api_keys": {"gpt-5.5": "{{redacted}}"},
    }


def test_fields_in_text_that_is_json() -> None:
    """As the arguments of a tool are; only there is something changed."""
    (found,) = redacted(['  {"user": "bob",  "password": "hunter2", "n": 1.0, "k": ["\\u00e9"]}'])

    assert found == '  {"user": "bob",  "password": "{{redacted}}", "n": 1.0, "k": ["\\u00e9"]}'


def test_a_credential_in_a_field_is_looked_for_elsewhere() -> None:
    """An error may show what a field held."""
    redacting = redactor()
    redacting.question(ask(respan={"customer_credentials": {"openai": {"api_key": "abc123def456"}}}))

    assert (
        redacting.answer(answer(b"Wrong key: abc123def456")).chunks[0].data
        == b"Wrong key: {{secret:answer-1}}"
    )


def test_words_in_a_field_are_not_looked_for_elsewhere() -> None:
    """They are words."""
    assert redacted({"authorization": "required", "tool_choice": "required"}) == {
        "authorization": "{{redacted}}",
        "tool_choice": "required",
    }


@pytest.mark.parametrize("later", [{"api_key": "abc123def456"}, {"calls": ['{"password": "abc123def456"}']}])
def test_what_a_later_field_gives_away_is_replaced_in_earlier_ones(later: Any) -> None:
    """At once: a conversation that was loaded must be asked for in the same words whenever it is."""
    redacting = redactor()
    first = redacting.question(ask({"content": "use abc123def456", **later}))

    assert body_of(first)["content"] == "use {{secret:1}}"
    assert redacting.question(ask({"content": "use abc123def456", **later})) == first


def test_a_credential_in_an_answer_can_come_back() -> None:
    """The next request is about it: what is compared is the same when a replayed answer has led to it."""
    recording, replaying = redactor(), redactor()
    first = answer(b'{"access_token": "tok-0123456789ab"}')
    then = ask({"use": "tok-0123456789ab"})
    *_, kept = recording.calls([Recorded(ask("hi"), first), Recorded(then, answer(b"ok"))])
    replayed = recording.answer(first)
    token = json.loads(replayed.chunks[0].data)["access_token"]

    assert token == "{{secret:answer-1}}"
    assert replaying.question(ask({"use": token})) == kept.question


# -- bodies that are no JSON


def test_multipart() -> None:
    """Texts, names and names of files; the hash of a text that was changed tells nothing of the old one."""
    text = f"about {KEY}"
    part = Part("note", None, None, text, hashlib.sha256(text.encode()).hexdigest(), len(text))
    file = Part("file", f"{KEY}.wav", "audio/wav", None, "ab", 2)
    secret = Part("password", None, None, "hunter2", "cd", 7)
    body = redactor().question(Question("POST", "/", body=Multipart((part, file, secret)))).body

    assert isinstance(body, Multipart)
    changed = f"about {MARK}"
    assert body.parts == (
        Part("note", None, None, changed, hashlib.sha256(changed.encode()).hexdigest(), len(changed)),
        file._replace(filename=f"{MARK}.wav"),
        secret._replace(text="{{redacted}}", sha256=hashlib.sha256(b"{{redacted}}").hexdigest(), size=12),
    )


def test_types_of_contents() -> None:
    """A content type may have parameters, and those say anything."""
    parts = (Part("file", "a", f"audio/x; token={KEY}", None, "0", 1), Part("b", None, None, "text", "0", 4))
    bodies = [Multipart(parts), Raw(f"text/x; token={KEY}", None, "0", 1)]
    multipart, raw = (redactor().question(Question("POST", "/a", body=body)).body for body in bodies)

    assert isinstance(multipart, Multipart)
    assert multipart.parts == (parts[0]._replace(type=f"audio/x; token={MARK}"), parts[1])
    assert raw == Raw(f"text/x; token={MARK}", None, "0", 1)


def test_numbers_in_a_request() -> None:
    """One that is a secret has a placeholder; others, and those that only contain its digits, are left."""
    redact = Redactor(Secrets({"A_PIN_PASSWORD": "8675309867"}))
    value = {"a": [8675309867, 86753098670, -1.5, True, None], "b": {"c": -8675309867}}

    assert body_of(redact.question(ask(value))) == {
        "a": ["{{env:A_PIN_PASSWORD}}", 86753098670, -1.5, True, None],
        "b": {"c": -8675309867},
    }


def test_forms() -> None:
    """Fields for secrets by name, and secrets in others."""
    text = f"client%5Fsecret=hunter2&grant_type=x%20y&code={quote(KEY, safe='')}&password=&flag"
    asked = Question("POST", "/", body=Raw("application/x-www-form-urlencoded; charset=utf-8", text, "ab", 2))
    body = redactor().question(asked).body

    assert isinstance(body, Raw)
    assert body.text == f"client%5Fsecret={{{{redacted}}}}&grant_type=x%20y&code={MARK}&password=&flag"
    assert body.size == len(body.text)


def test_other_text() -> None:
    """Text is looked through; of what has none, nothing is known."""
    lines = Raw("application/jsonl", f'{{"a": 1}}\n{{"key": "{KEY}"}}\n', "ab", 2)
    large = Raw(None, None, "ab", 2)
    found = redactor().question(Question("POST", "/", body=lines)).body

    assert isinstance(found, Raw)
    assert found.text == f'{{"a": 1}}\n{{"key": "{MARK}"}}\n'
    assert redactor().question(Question("POST", "/", body=large)).body is large


# -- what is left alone

CLEAN = {
    "model": "gpt-5.5",
    "messages": [
        {"role": "user", "content": '100 % of \\u0041 {"a": 1}\ndata: none'},
        {"content": '{"a": []}'},
    ],
    "embedding": [0.12345678901234567, 1e-05, 12345678901234567890, float("nan")],
    "image": base64.b64encode(bytes(range(256)) * 8).decode(),
    "half": "\ud83d",
}


def test_a_clean_call_is_the_same_object() -> None:
    """So it is cheap to find that nothing was done."""
    part = Part("a", "b", None, None, "ab", 2)
    for question in (
        ask(CLEAN, query=(("a", "b"),), respan={"metadata": {"a": 1}}),
        ask(CLEAN),
        ask(CLEAN, respan=MappingProxyType({"metadata": {"a": 1, "b": None}})),
        Question("GET", "/models"),
        Question("GET", "/models", query=(("limit", "5"),)),
        Question("POST", "/", body=Multipart((part,))),
        Question("POST", "/", body=Raw("application/x-www-form-urlencoded", "a=%20b&c", "ab", 2)),
    ):
        call = Recorded(question, answer(b'data: {"a"', b": 1}\n\n", b"\xff\x00%zz\\"))
        redacting = redactor()

        assert redacting.recorded(call) is call
        assert redacting.recorded(call) is call


#: Characters that forms are made of, and no words, so that none of what is drawn is a secret.
PIECES = st.text('ab01{}[]()"\\/%+=-_:,.*\n\r\0 é\ud83d')
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | PIECES,
    lambda inner: st.lists(inner) | st.dictionaries(PIECES, inner),
)


@given(VALUES)
def test_values_without_secrets_are_left(value: Any) -> None:
    """Whatever they are."""
    question = ask(value, query=(("a", "b"),))

    assert redactor().question(question) is question


@given(
    st.lists(
        PIECES.map(lambda text: text.encode("utf-8", "surrogatepass") + b"\xff") | st.just(b"\n\ndata: ")
    )
)
def test_bytes_without_secrets_are_left(chunks: list[bytes]) -> None:
    """Whatever they are."""
    came = answer(*chunks)

    assert redactor().answer(came) is came


def test_numbers_with_the_digits_of_a_secret_stay_numbers() -> None:
    """In an answer, or it would be of another type; in strings they are replaced."""
    redacting = Redactor(Secrets({"PIN_KEY": "20251121"}))
    body = b'{"created": 20251121, "text": "of 20251121"}'

    assert (
        redacting.answer(answer(body)).chunks[0].data
        == b'{"created": 20251121, "text": "of {{env:PIN_KEY}}"}'
    )
    assert body_of(redacting.question(ask([202511210, "20251121"]))) == [202511210, "{{env:PIN_KEY}}"]


# -- what nobody told of


def test_shapes_are_replaced_by_counted_placeholders() -> None:
    """The same value by the same, wherever it is, in requests and answers."""
    one, two = "sk-unknown-1111111111", "ghp_2222222222222222222222"
    redacting = redactor()
    question = redacting.question(ask([one, two, f"Bearer {one}", one]))
    (chunk,) = redacting.answer(answer(f"{two} and AKIAIOSFODNN7EXAMPLE".encode())).chunks

    assert body_of(question) == ["{{secret:1}}", "{{secret:2}}", "Bearer {{secret:1}}", "{{secret:1}}"]
    assert chunk.data == b"{{secret:2}} and {{secret:answer-1}}"


@pytest.mark.parametrize("one", ["sk-unknown-1111111111", "sk-unknown-a-much-longer-one-1"])
@pytest.mark.parametrize("two", ["sk-other-222222", "ghp_2222222222222222222222"])
def test_counting_does_not_depend_on_values(one: str, two: str) -> None:
    """Other keys in another run, longer or shorter, have the same placeholders."""
    assert redacted({"a": f"{one} {two}", "b": two}) == {
        "a": "{{secret:1}} {{secret:2}}",
        "b": "{{secret:2}}",
    }


def test_a_replayed_placeholder_keeps_its_number() -> None:
    """A request that repeats one from an answer does not make the next secret look like it."""
    replayed, recorded = redactor(), redactor()
    recorded.question(ask(["sk-unknown-1111111111"]))
    replayed.question(ask(["{{secret:1}}"]))

    assert replayed.question(ask(["sk-unknown-2222222222"])) == recorded.question(
        ask(["sk-unknown-2222222222"])
    )


def test_a_key_with_something_attached_is_that_key() -> None:
    """Not another one that looks like it."""
    assert redacted([f"{KEY}-suffix"]) == [f"{MARK}-suffix"]


def test_what_a_later_call_gives_away_is_replaced_in_earlier_ones() -> None:
    """When they are written together."""
    first = Recorded(ask({"note": "abc123def456"}), answer(b"abc123def456"))
    later = Recorded(ask({"api_key": "abc123def456"}), answer(b"ok"))
    found = redactor().calls([first, later])

    assert body_of(found[0].question) == {"note": "{{secret:1}}"}
    assert found[0].answer.chunks[0].data == b"{{secret:1}}"


def test_braces_hide_nothing() -> None:
    """What only looks like a placeholder is looked into."""
    assert redacted([f"{{{{secret:{PLAIN}}}}}"]) == ["{{secret:{{env:ANOTHER_TOKEN}}}}"]


# -- what users name


def test_patterns_places_and_functions() -> None:
    """In requests, in answers, and in events."""
    hooks = (
        r"~ cust-(\d{4,})",
        "metadata.customer",
        "choices[*].delta.name",
        lambda text: ["Ada L"] if "Ada L" in text else [],
    )
    value = {"metadata": {"customer": "Bob", "run": 7}, "input": "Ada L is cust-12345"}
    stream = b'data: {"choices": [{"delta": {"name": "Bob", "content": "12345"}}]}\n\n'
    redacting = redactor(*hooks)

    assert body_of(redacting.question(ask(value))) == {
        "metadata": {"customer": "{{redacted}}", "run": 7},
        "input": "{{secret:1}} is cust-{{secret:2}}",
    }
    assert redacting.answer(answer(stream)).chunks[0].data == (
        b'data: {"choices": [{"delta": {"name": "{{redacted}}", "content": "{{secret:2}}"}}]}\n\n'
    )


def test_a_hook_that_cannot_be_read_is_refused() -> None:
    """When the cassette is made, not when it is written."""
    with pytest.raises(CassetteError, match="no regular expression"):
        redactor("~ (")


# -- streams


@pytest.mark.parametrize("cut", range(1, len(KEY)))
def test_a_secret_cut_into_two_deltas(cut: int) -> None:
    """Anywhere: the first one has the placeholder, the second loses its part, and nothing else is changed."""
    found = answered(delta("Hi " + KEY[:cut]), delta(KEY[cut:] + " there"), b"data: [DONE]\n\n")

    assert found == [delta(f"Hi {MARK}"), delta(" there"), b"data: [DONE]\n\n"]


def test_a_secret_cut_into_single_characters() -> None:
    """Events are left, with nothing to say."""
    found = answered(*map(delta, KEY), delta("."))

    assert found == [delta(MARK), *[delta("")] * (len(KEY) - 1), delta(".")]


def test_choices_are_put_together_each_for_itself() -> None:
    """By their index, though they take turns; so are calls of tools."""
    one, two = f"a {KEY} b", f"c {KEY} d"
    chunks = [
        delta(half, index)
        for at in (0, 9)
        for index, text in enumerate((one, two))
        for half in (text[at : at + 9 or 9],)
    ]
    rest = [delta(text[18:], index) for index, text in enumerate((one, two))]
    found = b"".join(answered(*chunks, *rest))

    assert [said(found, index) for index in (0, 1)] == [f"a {MARK} b", f"c {MARK} d"]


def test_arguments_of_a_tool() -> None:
    """The whole is JSON, so its fields count too."""
    text = json.dumps({"user": "bob", "password": "hunter2", "note": KEY})
    events = [
        b"data: %b\n\n"
        % json.dumps(
            {"type": "response.function_call_arguments.delta", "item_id": "i", "delta": piece}
        ).encode()
        for piece in (text[:12], text[12:31], text[31:33], text[33:60], text[60:])
    ]
    found = b"".join(answered(*events)).decode().split("\n\n")[:-1]

    assert "".join(json.loads(event[6:])["delta"] for event in found) == json.dumps(
        {"user": "bob", "password": "{{redacted}}", "note": MARK}
    )


def test_events_of_different_things_are_kept_apart() -> None:
    """A half in one text and a half in another are no secret."""
    halves = [
        {"type": "response.output_text.delta", "item_id": "1", "delta": PLAIN[:6]},
        {"type": "response.output_text.delta", "item_id": "2", "delta": PLAIN[6:]},
        {"type": "response.refusal.delta", "item_id": "1", "delta": PLAIN[6:]},
    ]
    came = answer(*(b"data: %b\n\n" % json.dumps(half).encode() for half in halves))

    assert redactor().answer(came) is came


def tokens(*texts: str) -> list[dict[str, Any]]:
    """As ``logprobs`` have them."""
    told = [{"token": text, "logprob": -0.5, "bytes": [*text.encode()]} for text in texts]
    return [{**token, "top_logprobs": [token, {"token": " x", "bytes": None}]} for token in told]


def spelling(text: str) -> list[dict[str, Any]]:
    """Tokens of three characters that spell *text*."""
    return tokens(*(text[at : at + 3] for at in range(0, len(text), 3)))


def without(token: dict[str, Any], text: str) -> dict[str, Any]:
    """*token*, with *text* in the place of what it said."""
    said = {"token": text, "logprob": -0.5, "bytes": []}
    return {**said, "top_logprobs": [said, *token["top_logprobs"][1:]]}


def test_tokens_of_an_answer() -> None:
    """What they and their likeliest alternatives spell, and their bytes, which spell it once more."""
    around, secret = tokens("It is", " a"), spelling(KEY)
    body = {"choices": [{"logprobs": {"content": [*around, *secret, *tokens(" ok")], "refusal": None}}]}
    (data,) = answered(json.dumps(body).encode())

    expected = [
        *around,
        without(secret[0], MARK),
        *(without(each, "") for each in secret[1:]),
        *tokens(" ok"),
    ]
    assert json.loads(data)["choices"][0]["logprobs"] == {"content": expected, "refusal": None}


@pytest.mark.parametrize("size", [1, 2, 5])
def test_tokens_of_a_stream(size: int) -> None:
    """However many of them an event has; two choices at the same time."""
    said, events = spelling(KEY), list[dict[str, Any]]()
    for at in range(0, len(said), size):
        content = said[at : at + size]
        events += ({"choices": [{"index": index, "logprobs": {"content": content}}]} for index in (0, 1))
    stream = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    (data,) = answered(stream)

    new = [json.loads(event[6:])["choices"][0] for event in data.split(b"\n\n") if event]
    found = [token for choice in new if choice["index"] == 1 for token in choice["logprobs"]["content"]]
    assert found == [without(said[0], MARK), *(without(each, "") for each in said[1:])]


def test_bytes_alone() -> None:
    """In numbers, of whatever size; what is no list of bytes is left."""
    spaced = b'{ "token": "x", "bytes" : [ %b ] }' % b" ,\n".join(b"%d" % byte for byte in KEY.encode())
    others = b'{"bytes": [1, 256], "numbers": [%b]}' % b",".join(b"%d" % byte for byte in KEY.encode())

    assert answered(spaced) == [b'{ "token": "x", "bytes" : [] }']
    assert answered(others) == [others]


def test_words_and_segments_of_a_transcript() -> None:
    """Each kind is one text; what it has besides stays."""
    words = [{"word": word, "start": 1.5, "end": 2} for word in ("My", KEY[:6], KEY[6:], "end")]
    segments = [{"id": 0, "text": f"My {KEY[:9]}"}, {"id": 1, "text": f"{KEY[9:]} end"}]
    (data,) = answered(json.dumps({"text": f"My {KEY} end", "words": words, "segments": segments}).encode())

    told = json.loads(data)
    assert told["text"] == f"My {MARK} end"
    assert [word["word"] for word in told["words"]] == ["My", MARK, "", "end"]
    assert told["segments"] == [{"id": 0, "text": f"My {MARK}"}, {"id": 1, "text": " end"}]


def test_tokens_of_a_completion() -> None:
    """The older form has them as strings."""
    (data,) = answered(json.dumps({"choices": [{"logprobs": {"tokens": ["a ", KEY[:3], KEY[3:]]}}]}).encode())

    assert json.loads(data)["choices"][0]["logprobs"]["tokens"] == ["a ", MARK, ""]


def test_a_stream_of_plain_text() -> None:
    """Data that is no JSON goes on from event to event as well."""
    found = answered(b"data: Hi %b\n\n" % PLAIN[:5].encode(), b"data: %b!\r\r" % PLAIN[5:].encode())

    assert found == [b"data: Hi {{env:ANOTHER_TOKEN}}\n\n", b"data: !\r\r"]


def test_events_in_an_unusual_form() -> None:
    """Several data lines, comments, names and ids: data is read as the standard says, and the rest too."""
    stream = (
        f': {KEY}\nevent: x\ndata: {{"delta":\ndata:  "a{PLAIN[:3]}"}}\nid: {KEY}\n\n'
        f'data:{{"delta":"{PLAIN[3:]}z"}}\r\n\r\n'
    )
    (found,) = answered(stream.encode())

    assert found.decode() == (
        f': {MARK}\nevent: x\ndata: {{"delta":\ndata:  "a{{{{env:ANOTHER_TOKEN}}}}"}}\nid: {MARK}\n\n'
        'data:{"delta":"z"}\r\n\r\n'
    )


def test_a_key_in_base64_cut_into_deltas() -> None:
    """Put together, undone, and made again; all of it moves to where it began to change."""
    text = base64.b64encode(f"x{KEY}".encode()).decode()
    found = b"".join(answered(delta(text[:10]), delta(text[10:20]), delta(text[20:])))

    assert base64.b64decode(said(found)).decode() == f"x{MARK}"


@given(
    st.lists(st.sampled_from([KEY, PLAIN, "word ", '"', "\\", "\n", "é", "{", "%41"]), max_size=8),
    st.lists(st.integers(0, 200), max_size=8),
    st.lists(st.integers(0, 2000), max_size=8),
)
def test_any_deltas_in_any_chunks(words: list[str], cuts: list[int], borders: list[int]) -> None:
    """Wherever a text is cut into deltas, and these into chunks, the text is right, and events are JSON."""
    text = "".join(words)
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    stream = b"".join(delta(text[begin:end]) for begin, end in pairwise(edges)) + b"data: [DONE]\n\n"
    ends = sorted({0, len(stream), *(border for border in borders if border < len(stream))})
    found = answered(*(stream[begin:end] for begin, end in pairwise(ends)))

    assert said(b"".join(found)) == text.replace(KEY, MARK).replace(PLAIN, "{{env:ANOTHER_TOKEN}}")
    assert len(found) <= len(ends) - 1
    assert all(found)


# -- chunks


def test_a_secret_across_chunks() -> None:
    """It is replaced in the first; a chunk that was nothing else is left out, and the others keep times."""
    body = f"{KEY[:5]}|{KEY[5:11]}|{KEY[11:]} it was".encode().split(b"|")
    found = redactor().answer(answer(b"Wrong: ", *body, b"."))

    assert found.chunks == (
        Chunk(0, b"Wrong: "),
        Chunk(1, MARK.encode()),
        Chunk(3, b" it was"),
        Chunk(4, b"."),
    )


def test_error_echoes() -> None:
    """What a provider says about a wrong key, in whole or masked."""
    body = json.dumps(ECHO | {"hint": "sk-canar***************LmP0"}).encode()
    (found,) = answered(body)

    assert json.loads(found) == {
        "error": {"message": f"Incorrect API key provided: {MARK}.", "code": "invalid_api_key"},
        "hint": "{{secret:answer-1}}",
    }


def test_a_secret_that_was_cut_off() -> None:
    """Half of it at the end of an answer, or of a text in a stream, is replaced too; less may be chance."""
    assert answered(b"The key is ", KEY[:12].encode(), end="closed") == [b"The key is ", MARK.encode()]
    assert answered(delta("It is " + KEY[:14]), end="closed") == [delta(f"It is {MARK}")]
    assert answered(KEY[:11].encode(), end="closed") == [KEY[:11].encode()]


def test_answers_without_a_body() -> None:
    """Nothing to redact is no error."""
    came = Answer(None, end="failed")

    assert redactor().answer(came) is came


# -- headers


def test_headers_that_are_kept() -> None:
    """In order, in lower case; ids do not change with every recording."""
    headers = [
        ("Content-Type", "application/json"),
        ("Set-Cookie", "a=b"),
        ("openai-organization", "org"),
        ("Retry-After", "1"),
        ("retry-after-ms", "900"),
        ("X-Should-Retry", "true"),
        ("x-request-id", "0f1e2d"),
        ("X-More", "a"),
        ("x-more", "b"),
    ]

    assert kept_headers(headers, ["X-MORE"], request_id="req_3") == (
        ("content-type", "application/json"),
        ("retry-after", "1"),
        ("retry-after-ms", "900"),
        ("x-should-retry", "true"),
        ("x-request-id", "req_3"),
        ("x-more", "a"),
        ("x-more", "b"),
    )
    assert kept_headers([("x-request-id", "0f1e2d"), ("date", "now")]) == (("x-request-id", "req_1"),)


def test_headers_with_credentials_are_never_kept() -> None:
    """Not even when asked for."""
    with pytest.raises(CassetteError, match="set-cookie carries credentials"):
        kept_headers([], ["Set-Cookie"])


# -- hostile text

MEGABYTE, LESS = 1_000_000, 200_000
HOSTILE = {
    "sk-": MEGABYTE,
    "eyJ": MEGABYTE,
    "\\": MEGABYTE,
    "eyJab.cdefg.": LESS,
    "\\u005c": LESS,
    "%25": LESS,
    "-----BEGIN PRIVATE KEY-----": LESS,
    "Bearer ": LESS,
    "xox-": LESS,
    "sk-*": LESS,
    "A": LESS,
    "0": LESS,
    '{"a":': LESS,
    f"data: {'x' * 50}\n\n": LESS,
    "{{secret:1}}": LESS,
    KEY[:-1]: LESS,
}


@pytest.mark.parametrize(("unit", "size"), HOSTILE.items(), ids=HOSTILE)
def test_hostile_text_costs_in_proportion_to_its_length(unit: str, size: int) -> None:
    """Twice the text is twice the calls at most; and a large one ends, as it would not if a call did more."""
    one, two = (calls_for(unit * (length // len(unit))) for length in (20_000, 40_000))
    redactor().answer(answer((unit * (size // len(unit))).encode()))

    assert two < 2.2 * one + 200


def test_many_chunks_cost_in_proportion_to_their_number() -> None:
    """However many secrets are in them, and cut by them."""
    one, two = (calls_for((PLAIN + ".") * times, chunk=1) for times in (200, 400))

    assert two < 2.2 * one + 200


def calls_for(text: str, chunk: int = 1_000_000) -> int:
    """How many functions are called to redact *text* in chunks of some bytes, built in ones too."""
    data, calls = text.encode(), 0
    came, redacting = answer(*(data[at : at + chunk] for at in range(0, len(data), chunk))), redactor()

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        redacting.answer(came)
    finally:
        sys.setprofile(before)
    return calls


def test_text_that_is_nested_too_deep_is_text() -> None:
    """It is looked through all the same."""
    deep = "[" * 100_000 + f'"{KEY}"' + "]" * 100_000

    assert KEY not in redacted([deep])[0]
    assert MARK in redacted([deep])[0]
