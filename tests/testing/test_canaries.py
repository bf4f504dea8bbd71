"""Secrets planted wherever calls have room for them, recorded from a real server: no file holds one in any form."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, quote_plus

import openai
import pytest

from respan_openai import Gateway, params, wrap
from respan_openai.testing import CassetteMismatch, cassette
from tests.local_support import COMPLETION, answer, listening, stream


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.local_support import Upstream

    Steps = tuple[str | int, ...]


#: It looks like nothing, and each form writes it differently.
CANARY = 'zebra/lantern?quartz"mink~~~>>>'
#: Looks like a credential: for fields, where words are common.
CODE = "zebra-lantern-4471-quartz"
#: Looks like words.
PHRASE = "correct-horse-battery-staple"
EVERY = (CANARY, CODE, PHRASE)

NOWHERE = "http://127.0.0.1:9/v1"
HELLO: Any = [{"role": "user", "content": "hello"}]


# -- looking for them


def forms(secret: str) -> Iterator[bytes]:
    """*secret* as it may be written: raw, in URLs, escaped in JSON, and in base64 at each alignment."""
    yield from (each.encode() for each in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret)))
    escaped = json.dumps(secret)[1:-1]
    yield from (escaped.encode(), json.dumps(escaped)[1:-1].encode(), escaped.replace("/", "\\/").encode())
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + secret.encode())
        # The first and last characters also say what is beside the secret.
        yield from (inner := whole[4 if shift else 0 : -4], inner.translate(bytes.maketrans(b"+/", b"-_")))


def traces(content: bytes) -> list[str]:
    """What of the secrets is in a file, and in what it says in parts: strings and bytes in fields alike."""
    texts = [content, *_joined(content)]
    parts = [secret[at : at + 9].encode() for secret in EVERY for at in range(len(secret) - 8)]
    wanted = {*parts, *(form for secret in EVERY for form in forms(secret))}
    return sorted({each.decode() for each in wanted for text in texts if each in text})


def _joined(content: bytes) -> Iterator[bytes]:
    try:
        document = json.loads(content)
    except ValueError:
        return
    found: dict[Steps, list[bytes]] = {}
    _gather((), document, found)
    yield from (b"".join(pieces) for pieces in found.values())


def _gather(steps: Steps, value: Any, found: dict[Steps, list[bytes]]) -> None:
    name = steps[-1:]
    if isinstance(value, dict):
        for inner, each in value.items():
            _gather((*steps, inner), each, found)
    elif name == ("bytes",) and isinstance(value, list):
        found.setdefault(steps, []).append(bytes(value))
    elif isinstance(value, list):
        for at, each in enumerate(value):
            _gather((*steps, at) if name == ("top_logprobs",) else steps, each, found)
    elif isinstance(value, str):
        found.setdefault(steps, []).append(value.encode())


@pytest.mark.parametrize("shift", ["", "x", "xx"])
@pytest.mark.parametrize(
    "form", [str, quote, json.dumps, lambda text: base64.b64encode(text.encode()).decode()]
)
def test_what_is_looked_for(form: Callable[[str], str], shift: str) -> None:
    """Is found in each form, alone and in parts: so the other tests can fail."""
    for secret in EVERY:
        text = form(shift + secret + "behind")
        assert traces(text.encode())
        assert traces(json.dumps([{"a": text[:9]}, {"b": "-"}, {"a": text[9:]}]).encode())
        assert traces(json.dumps({"content": tokens(secret)}).encode())
    assert traces(b'{"a": "{{env:A_PASSWORD}}", "bytes": [1, 2]}') == []


# -- servers


def sent_in(raw: bytes) -> list[str]:
    """The secrets that a request was sent with."""
    return [secret for secret in EVERY if any(form in raw for form in forms(secret))]


def echoes(wfile: Any, raw: bytes) -> None:
    """An error that repeats the whole request, and what it has understood of it."""
    message = f"Not like this: {sent_in(raw)} {raw.decode()}"
    answer(wfile, 401, {"error": {"message": message, "code": "invalid_api_key"}})


def says(value: Any) -> Callable[[Any, bytes], None]:
    """A server that answers *value*."""
    return lambda wfile, _raw: answer(wfile, 200, value)


def streams(*choices: Any) -> Callable[[Any, bytes], None]:
    """A server whose events have *choices*, one each."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    events = [b"data: %b\n\n" % json.dumps({**head, "choices": [choice]}).encode() for choice in choices]
    return lambda wfile, _raw: stream(wfile, *events, b"data: [DONE]\n\n")


def cut(text: str, size: int) -> list[str]:
    """*text* in pieces."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def deltas(**fields: list[Any]) -> list[Any]:
    """Choices whose deltas hold the values of each of *fields* in turn."""
    pieces = [{name: value} for name, values in fields.items() for value in values]
    return [{"index": 0, "delta": piece, "finish_reason": None} for piece in pieces]


def arguments(text: str) -> list[Any]:
    """Tool calls whose arguments are *text*, in pieces."""
    calls = [{"index": 0, "function": {"arguments": piece}} for piece in cut(text, 4)]
    return [
        [{"index": 0, "id": "t", "type": "function", "function": {"name": "f"}}],
        *([call] for call in calls),
    ]


def tokens(text: str) -> list[Any]:
    """The tokens of *text*, as ``logprobs`` have them."""
    told = [{"token": piece, "logprob": -1.0, "bytes": [*piece.encode()]} for piece in cut(text, 3)]
    return [
        {**token, "top_logprobs": [token, {"token": "x", "logprob": -2.0, "bytes": [120]}]} for token in told
    ]


# -- clients and their calls

_OPTIONS: Any = {"api_key": "canary-provider-key-33333", "max_retries": 0}


def client(base_url: str, gateway: Any = None, **options: Any) -> openai.OpenAI:
    """A wrapped client; *gateway* are options of its gateway."""
    made = Gateway(
        **{
            "api_key": "canary-respan-key-22222",
            "base_url": base_url.replace("/v1", "/api"),
            **(gateway or {}),
        }
    )
    return wrap(openai.OpenAI(base_url=base_url, **{**_OPTIONS, **options}), gateway=made)


def ask(asked: openai.OpenAI, text: str = "hello", **more: Any) -> None:
    """One chat completion; a stream is read to its end."""
    messages: Any = [{"role": "user", "content": text}]
    with suppress(openai.AuthenticationError):
        made = asked.chat.completions.create(model="m", messages=messages, **more)
        for _ in made if more.get("stream") else ():
            pass


def look(asked: openai.OpenAI) -> None:
    """A call that passes by the gateway."""
    with suppress(openai.AuthenticationError):
        asked.files.list()


def listen(asked: openai.OpenAI) -> None:
    """A transcription, with a secret in a field, in the file's name and in its type."""
    file = (f"{CODE}.wav", b"RIFF", f"audio/x; token={CODE}")
    asked.audio.transcriptions.create(model="w", file=file, response_format="verbose_json", prompt=CANARY)


def basic(user: str, password: str) -> str:
    """The header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Case(NamedTuple):
    """What the client is made with, what it does, and what it gets."""

    options: dict[str, Any]
    do: Callable[[openai.OpenAI], None]
    respond: Callable[[Any, bytes], None] = echoes


def everywhere(text: str) -> Case:
    """A body that holds *text* in each kind of place."""
    tools = [
        {"type": "function", "function": {"name": "f", "parameters": {"enum": [{"deep": [text]}], text: {}}}}
    ]
    return Case({}, lambda asked: ask(asked, f"It is {text}.", tools=tools, metadata={"a": text}, user=text))


#: With keys that only the client knows.
KEYS = {
    "the gateway's key": Case({"gateway": {"api_key": CANARY}}, ask),
    "a key that is forwarded": Case({"api_key": PHRASE, "gateway": {"forward_credentials": True}}, ask),
    "the provider's key": Case({"api_key": CANARY}, look),
    "a header for keys": Case({"default_headers": {"x-goog-api-key": CANARY}}, look),
    "another header for keys": Case({"default_headers": {"Ocp-Apim-Subscription-Key": CANARY}}, look),
    "a password": Case({"default_headers": {"Authorization": basic("svc", CANARY)}}, look),
    "a query": Case({"default_query": {"key": CANARY, "subscription-key": CODE, "sig": CANARY}}, look),
    "nested fields": Case(
        {}, lambda asked: ask(asked, customer_credentials={"a": {"b": {"api_key": PHRASE}}})
    ),
}

#: With what the environment has.
KNOWN = {
    "a body": everywhere(CANARY),
    "a body, in URLs": everywhere(quote(CANARY, safe="")),
    "a body, as JSON": everywhere(json.dumps({"a": CANARY})),
    "a body, in base64": everywhere(base64.b64encode(CANARY.encode()).decode()),
    "a body, in base64 behind one": everywhere(base64.b64encode(f"x{CANARY}".encode()).decode()),
    "a body, in base64 behind two": everywhere(base64.urlsafe_b64encode(f"xx{CANARY}".encode()).decode()),
    "two deltas": Case({}, lambda asked: ask(asked, stream=True), streams(*deltas(content=cut(CANARY, 16)))),
    "many deltas": Case({}, lambda asked: ask(asked, stream=True), streams(*deltas(content=cut(CANARY, 2)))),
    "arguments of a tool": Case(
        {},
        lambda asked: ask(asked, stream=True),
        streams(*deltas(tool_calls=arguments(json.dumps({"a": CANARY, "password": CODE})))),
    ),
    "tokens": Case(
        {},
        lambda asked: ask(asked, logprobs=True),
        says(
            {**COMPLETION, "choices": [{"index": 0, "logprobs": {"content": tokens(f"A {CANARY}. {CODE}")}}]}
        ),
    ),
    "tokens of a stream": Case(
        {},
        lambda asked: ask(asked, stream=True, logprobs=True),
        streams(
            *(
                {"index": 0, "delta": {}, "logprobs": {"content": tokens(part)}}
                for part in cut(CANARY + CODE, 7)
            )
        ),
    ),
    "words and segments": Case(
        {},
        listen,
        says(
            {
                "text": CANARY,
                "words": [{"word": word} for word in cut(CANARY, 6)],
                "segments": [{"id": at, "text": text} for at, text in enumerate(cut(f"A {CANARY}", 12))],
            }
        ),
    ),
}


# -- recording, and looking


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A gateway and a provider in one, on a loopback socket."""
    with listening() as server:
        yield server


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a cassette; temporary files go below *tmp_path*, too."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "calls.json"


def left_in(folder: Path) -> dict[str, list[str]]:
    """What is left of the secrets in files below *folder*, and in their names."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert folder / "calls.json" in files
    found = {path.name: traces(path.read_bytes()) + traces(path.name.encode()) for path in files}
    return {name: left for name, left in found.items() if left}


def record(case: Case, upstream: Upstream, path: Path) -> None:
    """Record *case*, and play it: with the same client, without a server."""
    upstream.respond = case.respond
    for mode, url in (("rewrite", upstream.base_url), ("none", NOWHERE)):
        with cassette(path, mode=mode), client(url, **case.options) as asked:
            case.do(asked)


@pytest.mark.parametrize("name", KEYS)
def test_keys_that_only_a_client_has(upstream: Upstream, path: Path, name: str) -> None:
    """An error repeats the request with all that it was sent with."""
    record(KEYS[name], upstream, path)

    assert sent_in(upstream.received[0])
    assert left_in(path.parent) == {}


@pytest.mark.parametrize("name", KNOWN)
def test_what_the_environment_has(
    upstream: Upstream, path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In requests and their echoes, in answers, and in what those say in parts."""
    monkeypatch.setenv("TOOL_PASSWORD", CANARY)
    monkeypatch.setenv("OTHER_TOKEN", CODE)
    record(KNOWN[name], upstream, path)

    assert left_in(path.parent) == {}


def test_the_header_that_carries_parameters(
    upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is JSON in base64; what a block says is sent in it."""
    monkeypatch.setenv("TOOL_PASSWORD", CODE)
    upstream.respond = echoes
    for mode, url in (("rewrite", upstream.base_url), ("none", NOWHERE)):
        with cassette(path, mode=mode), params(metadata={"a": f"A {CODE}"}), client(url) as asked:
            ask(asked)

    assert b"x-data-respan-params" in upstream.last_head
    assert left_in(path.parent) == {}


def test_a_key_that_an_http_client_adds(upstream: Upstream, path: Path) -> None:
    """On the way, when the cassette has seen the request already."""
    upstream.respond = echoes
    for mode, url in (("rewrite", upstream.base_url), ("none", NOWHERE)):
        http = openai.DefaultHttpxClient(auth=("svc", CODE))
        with cassette(path, mode=mode), client(url, http_client=http) as asked:
            look(asked)

    assert sent_in(upstream.received[0])
    assert left_in(path.parent) == {}


def test_a_key_in_a_query_may_be_another_one_later(
    upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is recorded with a name in the environment, and played without."""
    monkeypatch.setenv("SOME_API_KEY", CANARY)
    upstream.respond = echoes
    with cassette(path, mode="rewrite"), client(upstream.base_url, default_query={"key": CANARY}) as asked:
        look(asked)
    monkeypatch.delenv("SOME_API_KEY")
    with cassette(path), client(NOWHERE, default_query={"key": "dummy"}) as asked:
        look(asked)

    assert left_in(path.parent) == {}


def test_a_variable_that_a_test_sets(upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the cassette is open already, as ``load_dotenv()`` may."""
    upstream.respond = says(COMPLETION)
    for mode, url in (("rewrite", upstream.base_url), ("none", NOWHERE)):
        with cassette(path, mode=mode), monkeypatch.context() as patch:
            patch.setenv("LATE_TOKEN", CANARY)
            with client(url) as asked:
                ask(asked, f"It is {CANARY}.")

    assert left_in(path.parent) == {}
    assert "{{env:LATE_TOKEN}}" in path.read_text()


def test_a_variable_that_is_set_behind_the_last_call(
    upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer is still to be written then."""
    upstream.respond = says({**COMPLETION, "model": CANARY})
    with cassette(path, mode="rewrite"), client(upstream.base_url) as asked:
        ask(asked)
        monkeypatch.setenv("LATE_TOKEN", CANARY)

    assert left_in(path.parent) == {}


def test_a_number(upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a placeholder in a request; for one in an answer there is none, so nothing is written."""
    monkeypatch.setenv("PIN_PASSWORD", "8675309867")
    upstream.respond = says(COMPLETION)
    with cassette(path, mode="rewrite"), client(upstream.base_url) as asked:
        ask(asked, seed=8675309867)
    assert "8675309867" not in path.read_text()

    path.unlink()
    upstream.respond = says({**COMPLETION, "created": 8675309867})
    place = r"json\.created: the environment variable PIN_PASSWORD"
    with (
        pytest.raises(CassetteMismatch, match=place) as told,
        cassette(path, mode="rewrite"),
        client(upstream.base_url) as asked,
    ):
        ask(asked)

    assert not path.exists()
    assert "8675309867" not in str(told.value)


# -- what becomes known too late

LOGIN = {
    "id": "t",
    "type": "function",
    "function": {"name": "login", "arguments": json.dumps({"password": CODE})},
}


def calls_login(wfile: Any, raw: bytes) -> None:
    """Answer with a tool call that has the secret in a field for passwords, and then with a word."""
    message: Any = {"role": "assistant", "content": None, "tool_calls": [LOGIN]}
    if b"tool_calls" in raw:
        message = {"role": "assistant", "content": "done"}
    answer(wfile, 200, {**COMPLETION, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]})


def test_a_request_that_only_its_answer_explains(upstream: Upstream, path: Path) -> None:
    """Written without the secret it could not be played, so nothing is, and the message says what to do."""
    upstream.respond = calls_login
    text = r"call #1 \(POST /chat/completions\): messages\[0\]\.content holds a credential.*redact="
    with (
        pytest.raises(CassetteMismatch, match=text) as told,
        cassette(path, mode="rewrite"),
        client(upstream.base_url) as asked,
    ):
        ask(asked, f"log in with {CODE}")

    assert traces(str(told.value).encode()) == []
    assert not path.exists()

    for mode, url in (("rewrite", upstream.base_url), ("none", NOWHERE)):
        with cassette(path, mode=mode, redact=[f"~ {CODE}"]), client(url) as asked:
            ask(asked, f"log in with {CODE}")
    assert left_in(path.parent) == {}


def test_a_conversation_that_goes_on_with_an_answer(upstream: Upstream, path: Path) -> None:
    """What an answer has given away may come again: the replayed one brings the placeholder."""
    upstream.respond = calls_login

    def talk(asked: openai.OpenAI) -> None:
        first = asked.chat.completions.create(model="m", messages=HELLO).choices[0].message
        call: Any = first.model_dump(exclude_none=True)
        password = json.loads(call["tool_calls"][0]["function"]["arguments"])["password"]
        later: Any = [*HELLO, call, {"role": "tool", "tool_call_id": "t", "content": f"in with {password}"}]
        asked.chat.completions.create(model="m", messages=later)

    record(Case({}, talk, calls_login), upstream, path)

    assert left_in(path.parent) == {}
