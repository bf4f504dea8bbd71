"""``RespanTransport``: the same behaviour where only a transport can be handed in; and records of calls."""

from __future__ import annotations

import gc
import gzip
import json
import pickle
import threading
import weakref

import openai
import pytest
from doubles import chat, chat_events, chunked, reply, stream_head

from respan_openai import (
    AsyncRespanTransport,
    ConfigError,
    Gateway,
    LimitExceeded,
    Limits,
    LocalGateway,
    NotServedError,
    ParamsError,
    Provider,
    RedirectRefused,
    RespanTransport,
    StreamInterrupted,
    health,
    last_call,
    params,
    record_of,
    wrap,
)


def shimmed(caller, **options):
    """An HTTP client of the caller's family whose transport is ours."""
    kind = AsyncRespanTransport if caller.is_async else RespanTransport
    return caller.http(transport=kind(caller.transport(), **options))


async def test_an_http_client_with_the_transport(caller, served, provider, gateway) -> None:
    """A plain OpenAI client over the transport calls the gateway; what is not served passes through."""
    client = caller.client(http_client=shimmed(caller, gateway=gateway), base_url=provider.origin + "/v1")

    with params(customer_identifier="u1"):
        result = await caller.chat(client)
        with pytest.raises(openai.NotFoundError):
            await caller(client.moderations.create, input="Hi")

    assert result.choices[0].message.content == "Hello!"
    assert [(seen.path, seen.params) for seen in served.seen] == [
        ("/api/chat/completions", {"customer_identifier": "u1"})
    ]
    assert [(seen.path, seen.params) for seen in provider.seen] == [("/v1/moderations", {})]


async def test_plain_http_calls_without_the_sdk(caller, served, gateway) -> None:
    """Any framework's own request to a served path is rerouted, and its answer belongs to that request."""
    http = shimmed(caller, gateway=gateway)

    answer = await caller(
        http.post, "https://api.openai.com/v1/chat/completions", json={"model": "m", "messages": []}
    )

    assert answer.json() == chat()
    assert str(answer.request.url) == "https://api.openai.com/v1/chat/completions"
    assert isinstance(answer, caller.library.Response)
    assert served.seen[0].headers["authorization"] == "Bearer rk-gateway-canary"


async def test_a_wrapped_client_over_the_transport_is_rerouted_once(caller, served, gateway) -> None:
    """Both at once do no harm: one request, parameters once."""
    inner = shimmed(caller, gateway=gateway, defaults={"thread_identifier": "t"})
    client = wrap(caller.client(http_client=inner), gateway=gateway, defaults={"customer_identifier": "u"})

    await caller.chat(client)

    assert [seen.params for seen in served.seen] == [{"customer_identifier": "u"}]


def test_module_level_use(library, served, gateway, monkeypatch) -> None:
    """openai.http_client = a client with the transport: module-level calls go to the gateway."""
    with library.Client(transport=RespanTransport(library.HTTPTransport(), gateway=gateway)) as http:
        monkeypatch.setattr(openai, "http_client", http)
        monkeypatch.setattr(openai, "api_key", "sk-provider-canary")
        monkeypatch.setattr(openai, "_client", None, raising=False)

        result = openai.chat.completions.create(model="m", messages=[])

    assert result.choices[0].message.content == "Hello!"
    assert [seen.path for seen in served.seen] == ["/api/chat/completions"]
    monkeypatch.setattr(openai, "_client", None, raising=False)


async def test_errors_of_ours_are_not_repeated(caller, served, provider, gateway) -> None:
    """The SDK's retry loop lets them pass at once; where it cannot (before 2.32) they come as its 400."""
    client = caller.client(
        http_client=shimmed(caller, gateway=gateway),
        base_url=provider.origin + "/v1",
        api_key="rk-gateway-canary",
        max_retries=5,
    )

    with pytest.raises(openai.OpenAIError, match="must not reach a provider") as caught:
        await caller(client.moderations.create, input="Hi")

    assert isinstance(caught.value, NotServedError | openai.BadRequestError)
    assert record_of(caught.value).attempts == ()
    assert served.seen == provider.seen == []


async def test_parameters_that_fit_no_header_on_multipart(caller, served, gateway) -> None:
    """A multipart call has no body to move them to, so it fails before anything is sent, and says so."""
    client = wrap(caller.client(), gateway=gateway)

    with params(metadata={"long": "x" * 5000}), pytest.raises(ParamsError, match="4096"):
        await caller(client.audio.transcriptions.create, model="m", file=("a.wav", b"RIFF"))

    assert served.seen == []


async def test_parameters_of_a_multipart_call_stand_in_the_header(caller, served, gateway) -> None:
    """Transcription takes params() in the header; its own fields stay a form."""
    client = wrap(caller.client(), gateway=gateway)

    with params(customer_identifier="u1"):
        await caller(client.audio.transcriptions.create, model="whisper", file=("a.wav", b"RIFF"))

    (seen,) = served.seen
    assert seen.params == {"customer_identifier": "u1"}
    assert b'name="model"\r\n\r\nwhisper' in seen.body
    assert b"RIFF" in seen.body


async def test_a_body_that_can_be_read_once_is_read_once(caller, served, gateway) -> None:
    """A generator's bytes arrive whole, and parameters stand in the header, because nobody looked into it."""
    http = shimmed(caller, gateway=gateway)

    async def later():
        yield b'{"model":"m",'
        yield b'"messages":[]}'

    parts = later() if caller.is_async else iter([b'{"model":"m",', b'"messages":[]}'])
    with params(customer_identifier="u1"):
        await caller(http.post, "https://api.openai.com/v1/chat/completions", content=parts)

    (seen,) = served.seen
    assert seen.json == {"model": "m", "messages": []}
    assert seen.params == {"customer_identifier": "u1"}


# --- what does not fit -----------------------------------------------------


async def test_a_transport_of_the_other_family(caller) -> None:
    """A mixed pair is named, with what to do, instead of failing on an assertion deep inside."""
    other = pytest.importorskip("httpx" if caller.library.__name__ == "httpx2" else "httpx2")
    inner = other.AsyncHTTPTransport() if caller.is_async else other.HTTPTransport()
    kind = AsyncRespanTransport if caller.is_async else RespanTransport
    http = caller.http(transport=kind(inner))

    with pytest.raises(ConfigError, match=f"Build both from {caller.library.__name__}"):
        await caller(http.post, "https://api.openai.com/v1/chat/completions", json={})


def test_not_a_transport(library) -> None:
    """A client, or the transport of the other colour, is refused where it is handed in."""
    with pytest.raises(ConfigError, match="wrap\\(\\)"), library.Client() as client:
        RespanTransport(client)
    with pytest.raises(ConfigError, match="handle_request"):
        RespanTransport(library.AsyncHTTPTransport())


def test_requests_of_neither_family() -> None:
    """Something that only looks like a request is named."""
    transport = RespanTransport(type("T", (), {"handle_request": print})())

    with pytest.raises(ConfigError, match="neither of httpx nor of httpx2"):
        transport.handle_request(object())


def test_its_repr_hides_the_key(library) -> None:
    """repr shows where calls go, not with which key."""
    shown = repr(RespanTransport(library.HTTPTransport()))

    assert "https://api.respan.ai/api" in shown
    assert "canary" not in shown


async def test_it_opens_and_closes_what_it_wraps(caller) -> None:
    """The HTTP client's context reaches the inner transport."""
    log: list[str] = []

    class Inner:
        def __enter__(self):
            log.append("enter")

        def __exit__(self, *_):
            log.append("exit")

        def handle_request(self, _):
            """Never called."""

        async def __aenter__(self):
            log.append("enter")

        async def __aexit__(self, *_):
            log.append("exit")

        async def handle_async_request(self, _):
            """Never called."""

        def close(self):
            log.append("close")

        async def aclose(self):
            log.append("close")

    if caller.is_async:
        async with AsyncRespanTransport(Inner()) as transport:
            pass
        await transport.aclose()
    else:
        with RespanTransport(Inner()) as transport:
            pass
        transport.close()

    assert log == ["enter", "exit", "close"]


# --- redirects -------------------------------------------------------------


async def test_a_redirect_to_another_origin_is_refused(caller, served, provider, gateway) -> None:
    """Neither the parameters nor the prompt follow it; nothing at all is sent there."""
    served.behave = lambda _seen: reply(307, b"", {"location": provider.origin + "/v1/chat/completions"})
    for client in (
        wrap(caller.client(http_client=caller.http(follow_redirects=True)), gateway=gateway),
        caller.client(http_client=shimmed(caller, gateway=gateway)),
    ):
        with (
            params(customer_identifier="u1"),
            pytest.raises(openai.OpenAIError, match="another origin") as caught,
        ):
            await caller.chat(client)
        assert isinstance(caught.value, RedirectRefused | openai.BadRequestError)

    assert provider.seen == []
    assert len(served.seen) == 2


async def test_a_redirect_inside_the_origin_is_followed(caller, served, gateway) -> None:
    """307 and 308 keep method, body, key and parameters; the record counts both requests."""
    served.behave = lambda seen: (
        reply(200, chat()) if seen.path == "/moved" else reply(308, b"", {"location": "/moved"})
    )
    client = wrap(caller.client(http_client=caller.http(follow_redirects=True)), gateway=gateway)

    with params(customer_identifier="u1"):
        result = await caller.chat(client)

    first, second = served.seen
    assert result.choices[0].message.content == "Hello!"
    assert (second.path, second.body, second.params) == ("/moved", first.body, {"customer_identifier": "u1"})
    assert second.headers["authorization"] == "Bearer rk-gateway-canary"


@pytest.mark.parametrize(
    ("status", "location", "match"),
    [
        (303, "/moved", "into a GET"),
        (302, "/moved", "into a GET"),
        (307, "/api/chat/completions", "more than 3"),
    ],
    ids=["303", "302", "loop"],
)
async def test_redirects_that_lead_nowhere(caller, served, gateway, status, location, match) -> None:
    """A POST is not turned into a GET, and a loop ends after three."""
    served.behave = lambda _seen: reply(status, b"", {"location": location})
    client = wrap(caller.client(http_client=caller.http(follow_redirects=True)), gateway=gateway)

    with pytest.raises(RedirectRefused, match=match) as caught:
        await caller.chat(client)

    assert isinstance(caught.value, openai.APIConnectionError)
    assert caught.value.record.error == "RedirectRefused"
    assert str(caught.value.request.url) == "https://api.openai.com/v1/chat/completions"


async def test_a_client_that_follows_no_redirects(caller, served, gateway) -> None:
    """Its own setting stays in force: the 307 comes back as it would without us."""
    served.behave = lambda _seen: reply(307, b"", {"location": "/moved"})
    client = wrap(caller.client(http_client=caller.http(follow_redirects=False)), gateway=gateway)

    with pytest.raises(openai.APIStatusError) as caught:
        await caller.chat(client)

    assert caught.value.status_code == 307
    assert len(served.seen) == 1


# --- records ---------------------------------------------------------------


async def test_the_record_of_a_result(caller, served, gateway, told) -> None:
    """Reached from the result, the context and the hook: who answered, with what, how fast."""
    served.behave = lambda _seen: reply(200, chat(), {"x-respan-log-id": "log1", "x-respan-cache": "hit"})
    client = wrap(caller.client(), gateway=gateway, on_call=told)

    result = await caller.chat(client)

    (record,) = told.records
    assert record == record_of(result) == last_call()
    assert (record.path, record.target, record.model, record.status) == (
        "/chat/completions",
        "respan",
        "gpt-4o-mini",
        200,
    )
    assert (record.cache_hit, record.log_id, record.error) == (True, "log1", None)
    assert (record.done, record.complete) == (True, True)
    (attempt,) = record.attempts
    assert (attempt.number, attempt.target, attempt.status, attempt.error) == (1, "respan", 200, None)
    assert 0 <= attempt.ms <= record.ms


async def test_response_headers_say_who_answered(caller, served, gateway) -> None:
    """x-respan-target, -model and -attempts stand beside the gateway's own headers."""
    served.behave = lambda _seen: reply(200, chat(), {"x-respan-gateway-request-id": "g1"})
    client = wrap(caller.client(), gateway=gateway)

    raw = await caller(client.chat.completions.with_raw_response.create, model="m", messages=[])

    assert raw.headers["x-respan-target"] == "respan"
    assert raw.headers["x-respan-model"] == "m"
    assert raw.headers["x-respan-attempts"] == "1"
    assert raw.headers["x-respan-gateway-request-id"] == "g1"
    assert record_of(raw).target == "respan"
    assert record_of(raw.http_response).target == "respan"


async def test_an_answer_is_parsed_once_and_belongs_to_who_asks(caller, served, gateway) -> None:
    """Each ``json()`` is a value of its own, as before: nobody sees what others make of theirs, not even the record."""
    answer = chat()
    answer["usage"]["details"] = {"cached": [1]}
    served.behave = lambda _seen: reply(200, answer)
    client = wrap(caller.client(), gateway=gateway)

    raw = await caller(client.chat.completions.with_raw_response.create, model="m", messages=[])
    first = raw.http_response.json()
    first["usage"]["details"]["cached"].clear()
    first["choices"].clear()

    assert raw.http_response.json() == json.loads(raw.http_response.content) == answer
    assert raw.http_response.json(parse_int=str)["usage"]["total_tokens"] == "3"
    assert pickle.loads(pickle.dumps(raw.http_response)).json() == answer  # noqa: S301 -- our own
    assert b"respan_openai" not in pickle.dumps(raw.http_response)
    assert record_of(raw).usage == answer["usage"]
    assert raw.parse().usage.total_tokens == 3


async def test_a_compressed_answer_is_as_a_plain_client_has_it(caller, served, gateway) -> None:
    """Unpacked, its headers and size still those of the wire: what a plain client shows."""
    packed = gzip.compress(json.dumps(chat("Unpacked.")).encode())
    served.behave = lambda _seen: reply(200, packed, {"content-encoding": "gzip"})
    plain = caller.client(base_url=served.origin + "/api")
    client = wrap(caller.client(), gateway=gateway)

    raw, expected = [
        await caller(each.chat.completions.with_raw_response.create, model="m", messages=[])
        for each in (client, plain)
    ]

    assert raw.parse().choices[0].message.content == "Unpacked."
    assert raw.http_response.json() == json.loads(raw.http_response.content) == chat("Unpacked.")
    assert (
        raw.http_response.num_bytes_downloaded == expected.http_response.num_bytes_downloaded == len(packed)
    )
    added = {name: value for name, value in raw.headers.items() if name.startswith("x-respan-")}
    assert {**raw.headers} == {**expected.headers, **added}


EVENTS = b'data: {"choices": [{"index": 0, "delta": {"content": "Mine."}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_of_a_class_of_its_own(
    caller, library, gateway, encoding: str, streamed: bool
) -> None:
    """A transport may answer with whatever is a response of its family: it is read and delivered all the same."""

    class Own(library.Response):
        pass

    body = EVENTS if streamed else json.dumps(chat("Mine.")).encode()
    sent = gzip.compress(body) if encoding == "gzip" else body

    def answer(_request: object) -> Own:
        headers = {"content-type": "application/json", "content-encoding": encoding}
        return Own(200, headers=headers, stream=library.ByteStream(sent))

    http = caller.http(transport=library.MockTransport(answer))
    client = wrap(caller.client(http_client=http), gateway=gateway)

    if streamed:  # under a wrong name
        chunks = await caller.items(await caller.chat(client, stream=True))
        assert [chunk.choices[0].delta.content for chunk in chunks] == ["Mine."]
        return
    raw = await caller(client.chat.completions.with_raw_response.create, model="m", messages=[])
    assert raw.parse().choices[0].message.content == "Mine."
    assert raw.http_response.content == body
    assert record_of(raw).received == len(body)
    assert encoding == "gzip" or isinstance(raw.http_response, Own)


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("is_own", [False, True])
async def test_no_answer_of_any_class_is_larger_than_the_limit(
    caller, library, gateway, encoding: str, is_own: bool
) -> None:
    """``Limits(body=...)`` holds for what was packed and for what was not, whoever reads it."""
    kind = type("Own", (library.Response,), {}) if is_own else library.Response
    body = json.dumps(chat("a" * 5000)).encode()
    sent = gzip.compress(body) if encoding == "gzip" else body

    def answer(_request: object) -> object:
        headers = {"content-type": "application/json", "content-encoding": encoding}
        return kind(200, headers=headers, stream=library.ByteStream(sent))

    http = caller.http(transport=library.MockTransport(answer))
    client = wrap(caller.client(http_client=http), gateway=gateway, limits=Limits(body=4000))

    with pytest.raises(LimitExceeded):
        await caller.chat(client)


async def test_how_long_an_answer_took(caller, served, gateway) -> None:
    """``elapsed`` is there once an answer was read, whole or as a stream, as a plain client has it."""
    client = wrap(caller.client(), gateway=gateway)

    raw = await caller(client.chat.completions.with_raw_response.create, model="m", messages=[])
    stream = await caller.chat(client, stream=True)
    await caller.items(stream)

    assert raw.http_response.elapsed.total_seconds() > 0
    assert stream.response.elapsed.total_seconds() > 0


async def test_an_answer_that_a_hook_has_closed(caller, served, provider, gateway) -> None:
    """It is no failure of the target: nobody else is asked, and what is raised is what a plain client raises."""

    async def aclose(response: object) -> None:
        await response.aclose()

    hook = aclose if caller.is_async else lambda response: response.close()
    http = caller.http(event_hooks={"response": [hook]})
    fallback = Provider("other", base_url=provider.origin + "/v1", api_key="key-of-another-one")
    client = wrap(caller.client(http_client=http), gateway=gateway, fallbacks=[fallback])

    # openai 1 makes a connection error of everything.
    with pytest.raises((caller.library.StreamClosed, openai.APIConnectionError)) as caught:
        await caller.chat(client)

    assert caller.library.StreamClosed in {type(caught.value), type(caught.value.__cause__)}
    assert (len(served.seen), len(provider.seen)) == (1, 0)
    assert [target.failures for target in health() if target.name == "respan"] == [0]


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_the_limit_holds_for_an_answer_that_a_hook_has_read(
    caller, served, gateway, encoding: str
) -> None:
    """``Limits(body=...)`` counts what an answer unpacks to, whoever reads it first."""
    body = json.dumps(chat("a" * 5000)).encode()
    packed = gzip.compress(body) if encoding == "gzip" else body
    served.behave = lambda _seen: reply(200, packed, {"content-encoding": encoding})

    async def aread(response: object) -> None:
        await response.aread()

    hook = aread if caller.is_async else lambda response: response.read()
    http = caller.http(event_hooks={"response": [hook]})
    client = wrap(caller.client(http_client=http), gateway=gateway, limits=Limits(body=1024))

    with pytest.raises(LimitExceeded):
        await caller.chat(client)


async def test_a_streamed_call_is_done_when_the_stream_is(caller, gateway, told) -> None:
    """The hook is told at the end, with the bytes received; before, the record says it is not done."""
    client = wrap(caller.client(), gateway=gateway, on_call=told)

    stream = await caller.chat(client, stream=True)
    before = (record_of(stream).done, list(told.records))
    await caller.items(stream)

    (record,) = told.records
    assert before == (False, [])
    assert (record.done, record.complete, record.status, record.error) == (True, True, 200, None)
    assert record.received > 100


async def test_a_stream_given_up_early(caller, gateway, told) -> None:
    """Closing a stream ends its record at once: not complete, and no error."""
    client = wrap(caller.client(), gateway=gateway, on_call=told)

    stream = await caller.chat(client, stream=True)
    await caller(stream.close)

    (record,) = told.records
    assert (record.done, record.complete, record.error) == (True, False, None)


class Never:
    """What is awaited and does not come."""

    def __await__(self):
        yield


def test_a_call_that_is_thrown_away(library, gateway, told) -> None:
    """Its coroutine is closed while the answer is awaited: the record is finished, and the hook told, once."""

    class Silent(library.AsyncBaseTransport):
        async def handle_async_request(self, _request):
            await Never()

    transport = AsyncRespanTransport(Silent(), gateway=gateway, on_call=told)
    request = library.Request("POST", "https://api.openai.com/v1/chat/completions", json={"model": "m"})
    pending = transport.handle_async_request(request)
    pending.send(None)
    pending.close()

    (record,) = told.records
    assert (record.done, record.complete, record.error) == (True, False, None)


async def test_a_stream_that_breaks(caller, served, gateway, told) -> None:
    """A connection that dies in the middle is an error that knows what arrived, and the record names it."""
    served.behave = lambda _seen: _cut_stream()
    client = wrap(caller.client(), gateway=gateway, on_call=told)

    stream = await caller.chat(client, stream=True)
    with pytest.raises(StreamInterrupted) as caught:
        await caller.items(stream)

    (record,) = told.records
    assert (record.done, record.complete, record.error) == (True, False, "StreamInterrupted")
    assert isinstance(caught.value, openai.APIConnectionError)
    assert caught.value.text == "Hel"
    assert caught.value.record == record == record_of(caught.value)


async def test_the_last_event_in_two_pieces(caller, served, gateway, told) -> None:
    """A stream is complete however its last event was cut on the way."""
    *events, last = chat_events("Hel", "lo!")
    served.behave = lambda _seen: [stream_head(), *chunked(*events, last[:9], last[9:])]
    client = wrap(caller.client(), gateway=gateway, on_call=told)

    await caller.items(await caller.chat(client, stream=True))

    assert told.records[0].complete


async def test_a_stream_that_cannot_be_closed(caller, served, gateway, told) -> None:
    """The hook is told all the same."""

    class Stuck(caller.library.SyncByteStream, caller.library.AsyncByteStream):
        def close(self) -> None:
            raise OSError

        async def aclose(self) -> None:
            raise OSError

    def stick(response) -> None:
        response.stream = Stuck()

    async def astick(response) -> None:
        stick(response)

    hooks = {"response": [astick if caller.is_async else stick]}
    client = wrap(caller.client(http_client=caller.http(event_hooks=hooks)), gateway=gateway, on_call=told)
    speech = client.audio.speech.with_streaming_response.create(model="m", input="x", voice="alloy")

    response = await caller(speech.__aenter__ if caller.is_async else speech.__enter__)
    with pytest.raises(OSError):  # noqa: PT011 -- any will do
        await caller(response.close)

    assert len(told.records) == 1


def _cut_stream():
    role, content, *_ = chat_events("Hel")
    yield stream_head()
    yield from [*chunked(role, content)][:2]
    raise ConnectionAbortedError


async def test_the_first_event_is_not_held_back(caller, served, gateway) -> None:
    """The first content reaches the caller before the server sends the second."""
    may_go_on = threading.Event()

    def slowly(_seen):
        role, content, *rest = chat_events("Hel", "lo!")
        first = role + content
        yield stream_head()
        yield b"%x\r\n%s\r\n" % (len(first), first)
        assert may_go_on.wait(10)
        yield from chunked(*rest)

    served.behave = slowly
    client = wrap(caller.client(), gateway=gateway)

    stream = await caller.chat(client, stream=True)
    iterator = stream.__aiter__() if caller.is_async else iter(stream)
    first = await caller(iterator.__anext__ if caller.is_async else iterator.__next__)
    may_go_on.set()
    rest = await caller.items(stream)

    assert first.choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in rest) == "Hello!"


async def test_no_record_before_a_call_nor_of_strangers(caller, provider, gateway) -> None:
    """record_of() knows only what came through this package; calls that pass through leave no record."""
    client = wrap(caller.client(base_url=provider.origin + "/v1"), gateway=gateway)
    before = last_call()

    page = await caller(client.models.with_raw_response.list)

    assert last_call() == before
    assert record_of(page) is None
    assert record_of("a string") is None
    assert record_of(None) is None


async def test_a_result_that_nothing_can_be_tied_to(caller, served, gateway, told) -> None:
    """A transcription asked for as text is a str: it is returned as ever, and last_call() has its record."""
    served.behave = lambda _seen: reply(200, b"Hello!", {"content-type": "text/plain"})
    client = wrap(caller.client(), gateway=gateway, on_call=told)

    text = await caller(
        client.audio.transcriptions.create, model="m", file=("a.wav", b"RIFF"), response_format="text"
    )

    assert text == "Hello!"
    assert record_of(text) is None
    assert last_call() == told.records[0]


async def test_a_model_name_that_no_header_carries(caller, gateway) -> None:
    """It reaches the record, and is left out of the response's headers."""
    client = wrap(caller.client(), gateway=gateway)

    raw = await caller(client.chat.completions.with_raw_response.create, model="gpt\n4\u00f6", messages=[])

    assert "x-respan-model" not in raw.headers
    assert record_of(raw).model == "gpt\n4\u00f6"


def test_records_do_not_outlive_their_results(library, served) -> None:
    """What ties a record to a result goes with the result."""
    from respan_openai._context import _attached

    client = wrap(openai.OpenAI(http_client=library.Client()), gateway=Gateway(base_url=served.origin))
    result = client.chat.completions.create(model="m", messages=[])
    key = id(result)
    held = key in _attached._held

    del result

    assert held
    assert key not in _attached._held
    client.close()


async def test_an_answer_goes_with_its_reader(caller, served, gateway) -> None:
    """What a plain client leaves to the garbage collector, httpx keeps answers in a circle, and no more than that."""
    plain = caller.client(base_url=served.origin + "/v1")
    answers = []
    gc.collect()
    gc.disable()
    try:
        for client in (plain, wrap(plain, gateway=gateway)):
            raw = await caller.chat(client.with_raw_response)
            answers.append(weakref.ref(raw.http_response))
            del raw
        left = [answer() is not None for answer in answers]
    finally:
        gc.enable()

    assert left == [caller.library.__name__ == "httpx"] * 2


async def test_a_local_gateway_under_the_transport(caller) -> None:
    """In-process gateways answer here as well, and are closed with the client."""
    client = caller.client(http_client=shimmed(caller, gateway=LocalGateway.echo()))

    with params(customer_identifier="u1"):
        result = await caller.chat(client)
    await caller(client.close)

    assert result.choices[0].message.content == "echo: Hi"
    assert last_call().target == "local"
