"""The head of an answer: missing, slow, broken, or pointing elsewhere: rows H1 to H14."""

from __future__ import annotations

import logging
from typing import Any

import openai
import pytest
from doubles import chat, reply
from faults.answers import respan_error
from faults.standing import standing
from faults.steps import Answer, Drip, Garbage, Hangup, Ok, Raw, Reset, Silence, Sse, Steps
from faults.stories import duplicates, faults_of, said, story

from respan_openai import DIRECT, CallFailed, CallTimedOut, RedirectRefused, Retry


both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])

ANSWER = reply(200, chat())


# --- H1 and H2: none at all --------------------------------------------------


@both_ways
@pytest.mark.parametrize("step", [Hangup(), Reset()], ids=["h1_eof", "h2_rst"])
async def test_h1_h2_no_answer_is_ambiguous(world, told, step, stream) -> None:
    """The request was read, so it may be billed: asked elsewhere, not there again, and marked as a duplicate."""
    provider, gateway, second = world.provider(), world.gateway(step), world.server("p2", Ok("From p2."))
    client = world.wrapped(provider, gateway, second, on_call=told)

    async with standing({provider: 0, gateway: 1, second: 1}, client):
        assert await said(world, client, stream=stream) == "From p2."

    (record,) = told.records
    assert story(record) == [("respan", "ambiguous"), ("p2", None)]
    assert duplicates(record) == [False, True]
    assert faults_of("respan") == 1


@both_ways
@pytest.mark.parametrize("step", [Hangup(), Reset()], ids=["h1_eof", "h2_rst"])
async def test_h1_h2_without_another_target_it_is_the_end(world, told, step, stream) -> None:
    """One request, where the SDK alone would make three."""
    provider, gateway = world.provider(), world.gateway(step)
    client = world.wrapped(provider, gateway, on_call=told)

    async with standing({provider: 0, gateway: 1}, client):
        with pytest.raises(CallFailed, match=r"^respan broke the connection before the answer was whole"):
            await said(world, client, stream=stream)

    assert [story(record) for record in told.records] == [[("respan", "ambiguous")]]


@pytest.mark.parametrize("step", [Hangup(), Reset()], ids=["h1_eof", "h2_rst"])
async def test_h1_h2_who_wants_no_duplicates_gets_the_error(world, told, step) -> None:
    """``on_ambiguous="raise"``."""
    provider, gateway, second = world.provider(), world.gateway(step), world.server("p2")
    client = world.wrapped(provider, gateway, second, retry=Retry(on_ambiguous="raise"), on_call=told)

    async with standing({provider: 0, gateway: 1, second: 0}, client):
        with pytest.raises(CallFailed):
            await world.call(client)

    assert [story(record) for record in told.records] == [[("respan", "ambiguous")]]


async def test_h1_a_target_that_never_answered_has_no_old_connections(world, told) -> None:
    """Its connections are fresh, in the second call as in the first: each asks it once."""
    provider, gateway, second = world.provider(), world.gateway(Hangup()), world.server("p2")
    client = world.wrapped(provider, gateway, second, on_call=told)

    async with standing({provider: 0, gateway: 3, second: 3}, client):
        for _ in range(3):
            await world.call(client)

    assert [story(record) for record in told.records] == [[("respan", "ambiguous"), ("p2", None)]] * 3
    assert faults_of("respan") == 3


# --- H3: a slow one ----------------------------------------------------------


async def test_h3_a_head_that_drips_is_ended_by_the_deadline(world, told) -> None:
    """Every byte comes before the read timeout, but the call's time is over: nobody else is asked any more.

    A blocking read cannot be ended from outside, so there the head is read to its end, and refused then.
    """
    last = len(ANSWER) if world.is_async else 12
    drip = Steps(Drip(ANSWER[:last], every=0.05), Raw(ANSWER[last:]))
    provider, gateway, second = world.provider(), world.gateway(drip), world.server("p2")
    client = world.wrapped(provider, gateway, second, client={"timeout": 0.3}, on_call=told)

    async with standing(
        {provider: 0, gateway: 1, second: 0}, client, deadline=0.3 if world.is_async else 0.6
    ):
        with pytest.raises(CallTimedOut):
            await world.call(client)

    assert [story(record) for record in told.records] == [[("respan", "ambiguous")]]


async def test_h3_a_head_that_drips_too_slowly_is_ended_by_the_read_timeout(world, told) -> None:
    """The bound of a blocking client, if the peer is slow, and nobody's loss otherwise."""
    provider, gateway, second = world.provider(), world.gateway(Drip(ANSWER, every=2)), world.server("p2")
    timeout = world.library.Timeout(5, read=0.1)
    client = world.wrapped(provider, gateway, second, client={"timeout": timeout}, on_call=told)

    async with standing({provider: 0, gateway: 1, second: 1}, client, deadline=0.1):
        await world.call(client)

    assert story(told.records[0]) == [("respan", "ambiguous"), ("p2", None)]


async def test_h3_a_head_without_an_end_is_ended_by_its_size(world, told) -> None:
    """The bound of a blocking client, if the peer is fast: 100 KiB, then the next target is asked."""
    endless = Drip(b"HTTP/1.1 200 OK\r\n" + b"x-more: and more\r\n" * 20000, every=0.001, size=16384)
    provider, gateway, second = world.provider(), world.gateway(endless), world.server("p2")
    client = world.wrapped(provider, gateway, second, on_call=told)

    async with standing({provider: 0, gateway: 1, second: 1}, client, deadline=1):
        await world.call(client)

    assert story(told.records[0]) == [("respan", "fault"), ("p2", None)]


# --- H4 to H9: a broken one --------------------------------------------------


LONG_LINE = Raw(b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 200_000 + b"\r\ncontent-length: 0\r\n\r\n")
TWO_LENGTHS = Raw(ANSWER.replace(b"content-length:", b"content-length: 7\r\ncontent-length:", 1))


@both_ways
@pytest.mark.parametrize(
    "step",
    [
        Garbage(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
        Garbage(b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n"),
        LONG_LINE,
        TWO_LENGTHS,
    ],
    ids=["h4_ssh", "h4_tls", "h5_long_line", "h8_two_lengths"],
)
async def test_h4_h5_h8_what_is_not_http_goes_on(world, told, step, stream) -> None:
    """The next target is asked, at once, and this one not again: it would say the same."""
    provider, gateway, second = world.provider(), world.gateway(step), world.server("p2", Ok("From p2."))
    client = world.wrapped(provider, gateway, second, on_call=told)

    async with standing({provider: 0, gateway: 1, second: 1}, client):
        assert await said(world, client, stream=stream) == "From p2."

    (record,) = told.records
    assert story(record) == [("respan", "fault"), ("p2", None)]
    assert [attempt.wait for attempt in record.attempts] == [0, 0]
    assert faults_of("respan") == 1


@pytest.mark.parametrize(
    "step",
    [Garbage(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"), LONG_LINE, TWO_LENGTHS],
    ids=["h4_ssh", "h5_long_line", "h8_two_lengths"],
)
async def test_h4_h5_h8_without_another_target_it_is_the_end(world, told, step) -> None:
    """One request."""
    provider, gateway = world.provider(), world.gateway(step)
    client = world.wrapped(provider, gateway, on_call=told)

    async with standing({provider: 0, gateway: 1}, client):
        with pytest.raises(CallFailed, match=r"^respan answered with something that is not HTTP"):
            await world.call(client)

    assert len(told.records) == 1


async def test_h4_a_banner_and_nothing_else_goes_on(world, told) -> None:
    """Half a line, then FIN: no answer, as if nothing had come."""
    provider, gateway, second = world.provider(), world.gateway(Garbage()), world.server("p2")
    client = world.wrapped(provider, gateway, second, on_call=told)

    async with standing({provider: 0, gateway: 1, second: 1}, client):
        await world.call(client)

    assert [target for target, _ in story(told.records[0])] == ["respan", "p2"]


async def test_h6_five_thousand_fields_are_not_recorded(world, told) -> None:
    """The answer is delivered; the record holds none of them."""
    fields = {f"x-{number:04}": "v" for number in range(5000)}
    provider, gateway = world.provider(), world.gateway(Answer(200, chat(), fields))
    client = world.wrapped(provider, gateway, on_call=told)

    async with standing({provider: 0, gateway: 1}, client):
        assert await said(world, client, stream=False) == "Hello!"

    assert len(repr(told.records)) < 2000


@both_ways
async def test_h7_two_hundred_interim_answers_are_skipped(world, told, stream) -> None:
    """As HTTP wants it (RFC 9110, 15.2)."""
    provider, gateway = world.provider(), world.gateway(Steps(Raw(CONTINUE * 200), Ok()))
    client = world.wrapped(provider, gateway, on_call=told)

    async with standing({provider: 0, gateway: 1}, client):
        assert await said(world, client, stream=stream) == "Hello!"

    assert story(told.records[0]) == [("respan", None)]


async def test_h7_interim_answers_do_not_stop_the_clock(world, told) -> None:
    """However many come, the call's time is over when it is.

    A blocking read cannot be ended from outside, so there the answer behind them is awaited, and refused then.
    """
    drip = Drip(CONTINUE * (200 if world.is_async else 12), every=0.05, size=len(CONTINUE))
    provider, gateway = world.provider(), world.gateway(Steps(drip, Ok()))
    second = world.server("p2")
    client = world.wrapped(provider, gateway, second, client={"timeout": 0.3}, on_call=told)

    async with standing(
        {provider: 0, gateway: 1, second: 0}, client, deadline=0.3 if world.is_async else 0.6
    ):
        with pytest.raises(CallTimedOut):
            await world.call(client)

    assert [story(record) for record in told.records] == [[("respan", "ambiguous")]]


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@both_ways
async def test_h9_an_answer_with_two_framings_is_read_by_its_chunks(world, stream) -> None:
    """Length and chunks at once: the chunks count (RFC 9112, 6.3), for us as for the HTTP library.

    Whether the connection is used again is the library's decision, and no public hook of it says otherwise.
    """
    body = ANSWER.partition(b"\r\n\r\n")[2]
    framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    both = {"transfer-encoding": "chunked", "content-length": "5"}
    whole = Raw(reply(200, framed, both))
    streamed = Sse(
        [
            b'data: {"choices": [{"index": 0, "delta": {"content": "Hello!"}, "finish_reason": "stop"}]}\n\n',
            b"data: [DONE]\n\n",
        ],
        headers={"content-length": "5"},
    )
    provider, gateway = world.provider(), world.gateway([streamed if stream else whole, Ok()])
    client = world.wrapped(provider, gateway)

    async with standing({provider: 0, gateway: 2}, client):
        assert await said(world, client, stream=stream) == "Hello!"
        await world.call(client)


# --- H10 to H12: somewhere else ----------------------------------------------


@both_ways
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_h10_a_redirect_to_another_origin_is_refused(world, told, status, stream) -> None:
    """Nothing at all is sent there, though it is one of the targets, and nobody else is asked."""
    provider, second = world.provider(), world.server("p2")
    gateway = world.gateway(Answer(status, headers={"location": f"{second.origin}/v1/chat/completions"}))
    client = world.wrapped(provider, gateway, second, DIRECT, on_call=told)

    async with standing({provider: 0, gateway: 1, second: 0}, client):
        with pytest.raises(RedirectRefused, match="another origin"):
            await said(world, client, stream=stream)

    assert second.connections == 0
    assert [story(record) for record in told.records] == [[("respan", "trust")]]


@pytest.mark.parametrize(
    "location",
    ["//127.0.0.1:{port}/v1", "http://localhost:{own}/api", "http://127.0.0.1:{own}@127.0.0.1:{port}/v1"],
    ids=["no_scheme", "other_name", "user_info"],
)
async def test_h10_an_origin_is_compared_whole(world, location) -> None:
    """Scheme, host and port, whatever the address looks like."""
    provider, second = world.provider(), world.server("p2")
    gateway = world.gateway()
    where = location.format(port=second.port, own=gateway.port)
    gateway.then(Answer(307, headers={"location": where}))
    client = world.wrapped(provider, gateway, second)

    async with standing({provider: 0, gateway: 1, second: 0}, client):
        with pytest.raises(RedirectRefused):
            await world.call(client)

    assert second.connections == 0


async def test_h10_a_fallback_s_redirect_is_refused_in_its_name(world, told) -> None:
    """The prompt stays with whom it was sent to; the error says who wanted to pass it on."""
    elsewhere = world.server("elsewhere")
    provider, gateway = world.provider(), world.gateway(Hangup())
    second = world.server("p2", Answer(307, headers={"location": f"{elsewhere.origin}/v1"}))
    client = world.wrapped(provider, gateway, second, on_call=told)

    async with standing({provider: 0, gateway: 1, second: 1, elsewhere: 0}, client):
        with pytest.raises(openai.APIConnectionError) as caught:
            await world.call(client)

    assert story(told.records[0]) == [("respan", "ambiguous"), ("p2", "trust")]
    assert caught.value.record is not None


@both_ways
@pytest.mark.parametrize("status", [307, 308])
async def test_h11_a_redirect_inside_the_origin_is_part_of_the_attempt(world, told, status, stream) -> None:
    """Followed three times, with the same method, body and key."""
    moved = [Answer(status, headers={"location": f"/moved/{number}/completions"}) for number in range(3)]
    provider, gateway, second = world.provider(), world.gateway([*moved, Ok()]), world.server("p2")
    client = world.wrapped(provider, gateway, second, on_call=told)

    async with standing({provider: 0, gateway: 4, second: 0}, client):
        assert await said(world, client, stream=stream) == "Hello!"

    assert [seen.path for seen in gateway.requests[1:]] == [
        f"/moved/{number}/completions" for number in range(3)
    ]
    assert {same(seen) for seen in gateway.requests} == {same(gateway.requests[0])}
    assert gateway.requests[0].headers["authorization"] == f"Bearer {gateway.key}"
    assert story(told.records[0]) == [("respan", None)]


def same(seen: Any) -> tuple[str, bytes, str]:
    """What a redirect must not change."""
    return seen.method, seen.body, seen.headers["authorization"]


@both_ways
async def test_h11_a_loop_ends_after_three(world, told, stream) -> None:
    """With an error of its own, and without a fallback."""
    provider, second = world.provider(), world.server("p2")
    gateway = world.gateway(Answer(307, headers={"location": "/api/chat/completions"}))
    client = world.wrapped(provider, gateway, second, on_call=told)

    async with standing({provider: 0, gateway: 4, second: 0}, client):
        with pytest.raises(RedirectRefused, match="more than 3"):
            await said(world, client, stream=stream)

    assert [story(record) for record in told.records] == [[("respan", "trust")]]


async def test_h11_the_time_of_redirects_is_the_call_s(world, told) -> None:
    """Three redirects do not have three times the time."""
    slow = [Steps(Silence(0.15), Answer(307, headers={"location": "/on"}))] * 3
    provider, gateway = world.provider(), world.gateway([*slow, Ok()])
    client = world.wrapped(provider, gateway, client={"timeout": 0.35}, on_call=told)

    async with standing({provider: 0, gateway: range(1, 4)}, client, deadline=0.35):
        with pytest.raises(CallTimedOut):
            await world.call(client)

    assert len(told.records) == 1


@both_ways
@pytest.mark.parametrize("status", [301, 302, 303])
async def test_h12_a_post_does_not_become_a_get(world, told, status, stream) -> None:
    """The library below would ask again with GET, and hand on whatever came of that."""
    provider, second = world.provider(), world.server("p2")
    gateway = world.gateway([Answer(status, headers={"location": "/moved"}), Ok()])
    client = world.wrapped(provider, gateway, second, on_call=told)

    async with standing({provider: 0, gateway: 1, second: 0}, client):
        with pytest.raises(RedirectRefused, match="into a GET"):
            await said(world, client, stream=stream)

    assert [story(record) for record in told.records] == [[("respan", "trust")]]


# --- H13 and H14: fields -----------------------------------------------------


@both_ways
async def test_h13_cookies_do_not_cross_origins(world, stream) -> None:
    """A jar knows hosts, but no ports and no keys: whoever sets a cookie, nobody gets one."""
    provider, second = world.provider(Ok("Direct.")), world.server("p2")
    baked = {"set-cookie": f"session={COOKIE}; Path=/"}
    moved = Answer(307, headers={"location": "/moved", **baked})
    gateway = world.gateway([moved, Answer(503, respan_error(), baked)])
    second.then([Answer(503, headers=baked), Answer(503, headers=baked)])
    client = world.wrapped(provider, gateway, second, DIRECT)

    async with standing(
        {provider: 2, gateway: 3, second: 2}, client, canaries={gateway: [COOKIE], second: [COOKIE]}
    ):
        for _ in range(2):
            assert await said(world, client, stream=stream) == "Direct."

    requests = [*gateway.requests, *second.requests, *provider.requests]
    assert not [seen.path for seen in requests if "cookie" in seen.headers]
    assert not list(client._client.cookies.jar)


COOKIE = "canary-in-a-cookie"


async def test_h13_a_good_answer_s_cookies_are_dropped_as_well(world) -> None:
    """They are neither kept nor shown."""
    baked = {"set-cookie": f"session={COOKIE}; Path=/"}
    provider, gateway = world.provider(), world.gateway(Answer(200, chat(), baked))
    client = world.wrapped(provider, gateway)

    async with standing({provider: 0, gateway: 2}, client):
        for _ in range(2):
            raw = await world._caller(
                client.chat.completions.with_raw_response.create, model="m", messages=[]
            )
            assert "set-cookie" not in raw.headers

    assert not [seen.path for seen in gateway.requests if "cookie" in seen.headers]


CONTROLS = "\x1b[2J\x07\x08\x7f\x9b"


@pytest.mark.parametrize("status", [200, 302, 307, 401, 503])
async def test_h14_control_characters_stay_out_of_records_errors_and_logs(
    world, told, caplog, status
) -> None:
    """All of them may be shown on a terminal, where no field of an answer may act."""
    names = (
        "www-authenticate",
        "x-respan-log-id",
        "x-respan-cache",
        "retry-after",
        "x-request-id",
        "location",
    )
    body = chat() if status == 200 else respan_error()
    provider, second = world.provider(), world.server("p2")
    gateway = world.gateway(Answer(status, body, dict.fromkeys(names, f"http://elsewhere.test/{CONTROLS}")))
    client = world.wrapped(provider, gateway, second, on_call=told)
    caplog.set_level(logging.DEBUG, logger="respan_openai")
    said_by_error = ""

    async with standing({provider: 0, gateway: 1, second: None}, client):
        try:
            await world.call(client)
        except openai.OpenAIError as exc:
            said_by_error = str(exc)

    for text in (said_by_error, repr(told.records), *caplog.messages):
        assert text.isprintable()


async def test_h14_a_log_id_with_control_characters_is_none(world, told) -> None:
    """It is there to be printed and linked to."""
    provider, gateway = world.provider(), world.gateway(Answer(200, chat(), {"x-respan-log-id": CONTROLS}))
    client = world.wrapped(provider, gateway, on_call=told)

    async with standing({provider: 0, gateway: 1}, client):
        await world.call(client)

    assert told.records[0].log_id is None


@both_ways
@pytest.mark.parametrize(
    "location",
    [
        "http://[",
        "http://127.0.0.1:port/",
        "http://127.0.0.1:99999/",
        f"/moved{CONTROLS}",
        "//",
        "\xff\xfe",
        "/" + "x" * 70_000,
    ],
    ids=["bracket", "port", "port_number", "controls", "slashes", "bytes", "long"],
)
async def test_h14_a_location_that_is_no_address_is_refused(world, told, location, stream) -> None:
    """With an error of ours, and not what a parser of URLs raises.

    Some versions of httpx look at it even if they are not to follow it: for them such an answer is not HTTP.
    """
    provider, gateway = world.provider(), world.gateway(Answer(307, headers={"location": location}))
    client = world.wrapped(provider, gateway, on_call=told)

    async with standing({provider: 0, gateway: range(1, 5)}, client):
        with pytest.raises((RedirectRefused, CallFailed)) as caught:
            await said(world, client, stream=stream)

    assert str(caught.value).isprintable()
    ((_, meaning),) = story(told.records[0])
    assert meaning in {"trust", "fault"}
    assert len(told.records) == 1
