"""No secret is left in a recorded call, in any form; everything else is left as it was."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from itertools import accumulate, pairwise
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


def traces(secret: str) -> list[str]:
    """What *secret* leaves in a text of which it is a part: the inner characters of each of its base64 forms too."""
    data = secret.encode()
    found = [secret, quote(secret, safe=""), quoted(secret).upper(), escaped(secret).lower(), json.dumps(secret)[1:-1]]
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + data).decode()
        inner = whole[(0, 2, 3)[shift] : (shift + len(data)) * 8 // 6]
        found += inner, inner.translate({43: 45, 47: 95}), base64.b64encode(inner.encode()).decode()[4:-4]
    return found


def holds(text: str | bytes, secret: str) -> bool:
    """Whether one finds *secret* in *text* with nothing but grep."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return any(trace in text or trace.lower() in text.lower().replace("\r\n", "") for trace in traces(secret))


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

    assert not holds(json.dumps(found, ensure_ascii=False), secret)
    assert "{{env:" in str(found) or "base64" in str(form) or in_some_base64(found)
    assert redacting.question(found) is found


def in_some_base64(question: Question) -> bool:
    """Whether there is a placeholder in a form that one has to undo."""
    return question.path != "/chat/completions"


@each_form
def test_what_is_around_a_secret_is_left(form: Any) -> None:
    """Undone, the text is the same but for the placeholder."""
    text = redacted([f"before {form(PLAIN)} behind"])[0]

    assert text.startswith("before ")
    assert text.endswith(" behind")
    assert undone(text) == undone(f"before {form('{{env:ANOTHER_TOKEN}}')} behind")


def undone(text: str) -> str:
    """*text* after undoing what may be base64 in it, twice; spaces and line ends aside."""
    for _ in range(2):
        words = (_undone_word(word) for word in "".join(text.split("\r\n")).split(" "))
        text = " ".join(words)
    return text.replace("%7B", "{").replace("%7D", "}").replace("%3A", ":").replace("%257B", "{").replace("%257D", "}").replace("%253A", ":")


def _undone_word(word: str) -> str:
    try:
        return base64.b64decode(word.translate({45: 43, 95: 47}) + "==").decode()
    except ValueError:
        return word
