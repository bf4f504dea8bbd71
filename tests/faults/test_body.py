"""Answers whose body is cut, empty, something else, or too much; and requests whose body can be sent only once."""

from __future__ import annotations

import io
import json
import logging
import tracemalloc
import zlib
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import openai
import pytest
from doubles import chat, reply
from faults.answers import respan_error
from faults.scenes import ELSEWHERE, Scene
from faults.standing import standing
from faults.steps import Answer, CutBody, Hangup, HangupBeforeReading, Ok, Raw, Reset, Silence, Steps

from respan_openai import (
    DIRECT,
    AsyncRespanTransport,
    CallFailed,
    Hedge,
    InvalidAnswer,
    LimitExceeded,
    Limits,
    RespanTransport,
    Retry,
)
from respan_openai._clock import no_waiting, sleep


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


MIB = 1 << 20

ROLES = ["gateway", "provider", "direct"]


@pytest.fixture(params=ROLES)
def role(request) -> str:
    """Who fails; without an error there are no words for it."""
    return request.param


@pytest.fixture
def scene(world, role) -> Scene:
    """The failing target and those around it."""
    return Scene(world, role)


as_the_gateway = pytest.mark.parametrize("role", ["gateway"])
from_both_sides = pytest.mark.parametrize("role", ["gateway", "direct"])


async def gone_on(scene: Scene, times: int, *, meaning: str) -> None:
    """Ask so often; each time the next target answers, and nobody sees a part of what came before."""
    for _ in range(times):
        assert await scene.ask() == ELSEWHERE
        (failed,) = scene.attempts
        assert (failed.meaning, failed.possible_duplicate) == (meaning, False)
        assert scene.record.attempts[-1].possible_duplicate
        sleep(200)  # what the gateway has paid comes back


# --- cut off ---------------------------------------------------------------

WHOLE = json.dumps(chat("From a body that is cut.")).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"

SHORT = [CutBody(len(WHOLE) + 1, WHOLE), CutBody(len(WHOLE), WHOLE[:100]), CutBody(9, b"", rst=True)]
CUT = [
    Steps(Raw(HEAD + b"%x\r\n%s\r\n" % (len(WHOLE), WHOLE)), Hangup()),  # all of it, but for the last chunk
    Steps(Raw(HEAD + b"ff\r\n" + WHOLE[:100]), Hangup()),
    Steps(Raw(HEAD + b"ff\r\n" + WHOLE[:100]), Reset()),
    Steps(Raw(HEAD), Hangup()),
]


@pytest.mark.parametrize("steps", [SHORT, CUT], ids=["short", "chunked"])
async def test_b1_b2_a_body_that_is_cut_off_leads_to_the_next_target(scene, steps) -> None:
    """Even if the part is an answer by itself; and it is marked that the next may be the second to work."""
    scene.play(*steps)

    with no_waiting():
        async with scene.standing(len(steps), onward=len(steps), calls=len(steps)):
            await gone_on(scene, len(steps), meaning="ambiguous")


@as_the_gateway
@pytest.mark.parametrize("steps", [SHORT, CUT], ids=["short", "chunked"])
async def test_b1_b2_a_body_that_is_cut_off_is_an_error_where_there_is_no_next_target(scene, steps) -> None:
    """The same is not asked again: it has worked, and would be paid twice."""
    scene.play(*steps, alone=True)

    async with scene.standing(len(steps)):
        for _ in steps:
            with pytest.raises(CallFailed, match="respan broke the connection before the answer was whole"):
                await scene.ask()


@as_the_gateway
async def test_b1_b2_whoever_fears_to_pay_twice_gets_the_error(scene) -> None:
    """Whatever other targets there are."""
    scene.play(SHORT[0], CUT[0], retry=Retry(on_ambiguous="raise"))

    async with scene.standing(2):
        for _ in range(2):
            with pytest.raises(CallFailed):
                await scene.ask()


# --- no answer at all ------------------------------------------------------

HTML = Answer(200, b"<!doctype html><title>Sign in</title>", {"content-type": "text/html"})
EMPTY = [Answer(200), Answer(200, b" \n"), Answer(201), Raw(b"HTTP/1.1 204 No Content\r\n\r\n")]


async def test_b3_an_empty_answer_leads_to_the_next_target(scene) -> None:
    """Also from where ``openai`` makes an empty string of it."""
    scene.play(*EMPTY)

    with no_waiting():
        async with scene.standing(len(EMPTY), onward=len(EMPTY), calls=len(EMPTY)):
            await gone_on(scene, len(EMPTY), meaning="fault")


@from_both_sides
async def test_b3_an_empty_answer_of_any_interface_is_none(scene) -> None:
    """Responses and embeddings too."""
    scene.play(*EMPTY[:1], EMPTY[-1])

    async with scene.standing(2, onward=2, calls=2):
        assert (await scene.world.responses(scene.client)).output_text == ELSEWHERE
        assert (await scene.world.embeddings(scene.client)).data[0].embedding == [0.5, 0.25]


@pytest.mark.parametrize("step", [EMPTY[0], EMPTY[-1], HTML], ids=["b3-empty", "b3-204", "b4-html"])
async def test_b3_b4_what_is_no_answer_is_an_error_where_there_is_no_next_target(scene, step) -> None:
    """After one more attempt; never an empty string, nor a string at all."""
    scene.play(step, alone=True)

    with no_waiting():
        async with scene.standing(2):
            with pytest.raises(
                InvalidAnswer, match=f"^{scene.name} answered 20[04], but what came is no answer"
            ):
                await scene.ask()


async def test_b4_a_page_leads_to_the_next_target(scene) -> None:
    """Whether it says that it is one or claims to be JSON."""
    scene.play(HTML, replace(HTML, headers={}))

    with no_waiting():
        async with scene.standing(2, onward=2, calls=2):
            await gone_on(scene, 2, meaning="fault")


# --- an error inside a success ---------------------------------------------

#: The error, the status that it stands for, and whether another target may be asked.
B5: list[tuple[Any, int, bool]] = [
    ({"message": "No.", "code": 401}, 401, False),
    ({"message": "No.", "code": "400"}, 400, False),
    ({"message": "No.", "code": "context_length_exceeded"}, 400, False),
    ({"message": "No.", "code": "insufficient_quota"}, 429, False),
    ({"message": "No.", "type": "rate_limit_error"}, 429, True),
    ({"message": "No.", "type": "server_error"}, 500, True),
    ({"message": "No.", "code": 503}, 503, True),
    ({"message": "No."}, 502, True),
    ("No.", 502, True),
    (["No."], 502, True),
]


@pytest.mark.parametrize("role", ["relayed", "provider", "direct"])
async def test_b5_an_error_in_a_success_is_handled_as_its_status(scene) -> None:
    """It leads on where that would, and comes back as the SDK's error for it where that would; never as a success."""
    scene.play(*(Answer(200, {"error": error}) for error, _, _ in B5))
    onward = sum(leads_on for _, _, leads_on in B5)

    with no_waiting():
        async with scene.standing(len(B5), onward=onward, calls=len(B5)):
            for error, status, leads_on in B5:
                if leads_on:
                    assert await scene.ask() == ELSEWHERE
                else:
                    await came_back(scene, error, status)
                assert scene.attempts[0].status == status
                sleep(200)


async def came_back(scene: Scene, error: Any, status: int) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await scene.ask()
    assert caught.value.status_code == status
    assert caught.value.body == error
    assert caught.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("error", [None, {}, "", 0, False])
@from_both_sides
async def test_b5_an_error_that_is_none_is_no_error(scene, error) -> None:
    """Some servers always send the field."""
    scene.play(Answer(200, {**chat("Hello!"), "error": error}))

    async with scene.standing(1):
        assert await scene.ask() == "Hello!"


# --- answers that are odd, and answers -------------------------------------


def changed(**fields: Any) -> dict[str, Any]:
    """A chat completion whose choice has these *fields*."""
    answer = chat("Hello!")
    answer["choices"][0] |= fields
    return answer


async def test_b6_an_answer_without_choices_leads_to_the_next_target(scene) -> None:
    """Null or absent: there is nothing that the caller could read."""
    nothing = chat()
    del nothing["choices"]
    scene.play(Answer(200, {**nothing, "choices": None}), Answer(200, nothing))

    with no_waiting():
        async with scene.standing(2, onward=2, calls=2):
            await gone_on(scene, 2, meaning="fault")


SAYS_NOTHING = {"role": "assistant", "content": None}


@from_both_sides
async def test_b6_an_answer_that_says_nothing_is_delivered(scene) -> None:
    """No choice, or one without text: asked again, the same model may say the same, and is paid twice."""
    scene.play(Answer(200, {**chat(), "choices": []}), Answer(200, changed(message=SAYS_NOTHING)))

    async with scene.standing(2, calls=2):
        assert (await scene.world.call(scene.client)).choices == []
        assert (await scene.world.call(scene.client)).choices[0].message.content is None


REASONS = ["length", "content_filter", "error", "a_new_one", None]


@from_both_sides
async def test_b7_however_an_answer_ended_it_is_delivered(scene) -> None:
    """What was cut at its length is cut there again, and paid twice."""
    scene.play(*(Answer(200, changed(finish_reason=reason)) for reason in REASONS))

    async with scene.standing(len(REASONS), calls=len(REASONS)):
        for reason in REASONS:
            (choice,) = (await scene.world.call(scene.client)).choices
            assert (choice.message.content, choice.finish_reason) == ("Hello!", reason)


BROKEN_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}


@from_both_sides
async def test_b12_arguments_that_are_no_json_are_delivered_as_they_are(scene) -> None:
    """Nothing is mended, and nothing repeated."""
    message = {**SAYS_NOTHING, "tool_calls": [BROKEN_CALL]}
    scene.play(Answer(200, changed(message=message, finish_reason="tool_calls")))

    async with scene.standing(1):
        (choice,) = (await scene.world.call(scene.client)).choices

    assert choice.message.tool_calls[0].function.arguments == '{"a": '


@as_the_gateway
async def test_b6_b7_b12_an_answer_that_may_be_of_no_use_is_flagged_in_the_record(scene) -> None:
    """Its record tells it from that of an answer that says something and ended by itself."""
    odd = [
        changed(message=SAYS_NOTHING),
        changed(finish_reason="length"),
        changed(message={**SAYS_NOTHING, "tool_calls": [BROKEN_CALL]}, finish_reason="tool_calls"),
    ]
    scene.play(*(Answer(200, answer) for answer in [chat("Hello!"), *odd]))
    records = []

    async with scene.standing(4):
        for _ in range(4):
            await scene.world.call(scene.client)
            records.append(replace(scene.record, attempts=(), ms=0, received=None))

    assert [record == records[0] for record in records[1:]] == [False] * 3


@from_both_sides
async def test_b13_another_model_than_asked_for_is_delivered(scene) -> None:
    """Providers answer with the name of a version."""
    scene.play(Answer(200, chat("Hello!", model="another-model")))

    async with scene.standing(1):
        assert (await scene.world.call(scene.client)).model == "another-model"

    assert scene.record.model == "gpt-4o-mini"


@as_the_gateway
async def test_b13_the_record_names_the_model_that_answered(scene) -> None:
    """Beside the one that was asked for."""
    scene.play(Answer(200, chat("Hello!", model="another-model")))

    async with scene.standing(1):
        await scene.ask()

    assert "another-model" in repr(scene.record)


# --- JSON of a kind --------------------------------------------------------

UNREADABLE = [
    b"[" * 200_000 + b"]" * 200_000,
    b'{"choices": [], "created": %s}' % (b"9" * 6000),
    b"[1, 2]",
    b'"x"',
    b"null",
    b"7",
    b'{"choices": [',
    b"\xff\xfe\xfd",
]
READABLE = [
    WHOLE.replace(b'"created": 1', b'"created": NaN'),
    WHOLE.replace(b"From a body", rb"\ud800From a body"),
    b"\xef\xbb\xbf" + WHOLE,
    json.dumps(chat("From a body that is cut.")).encode("utf-16"),
    b"\n\n  " + WHOLE + b"\n",
]


async def test_b8_json_that_nobody_can_use_leads_to_the_next_target(scene) -> None:
    """Nested without end, numbers without end, no object: no error of a parser reaches the caller."""
    scene.play(*(Answer(200, body) for body in UNREADABLE))

    with no_waiting():
        async with scene.standing(len(UNREADABLE), onward=len(UNREADABLE), calls=len(UNREADABLE), deadline=4):
            await gone_on(scene, len(UNREADABLE), meaning="fault")


@from_both_sides
async def test_b8_json_that_is_only_odd_is_delivered(scene) -> None:
    """What the SDK reads is good enough."""
    scene.play(*(Answer(200, body) for body in READABLE))

    async with scene.standing(len(READABLE), calls=len(READABLE)):
        for _ in READABLE:
            assert (await scene.ask()).endswith("From a body that is cut.")


@from_both_sides
async def test_b8_who_reads_the_body_himself_gets_every_byte(scene) -> None:
    """``with_streaming_response``: nothing is held back, looked at or asked again."""
    scene.play(*(Answer(200, body) for body in UNREADABLE))

    async with scene.standing(len(UNREADABLE), calls=len(UNREADABLE)):
        for body in UNREADABLE:
            assert await read_raw(scene) == body


async def read_raw(scene: Scene) -> bytes:
    asked = scene.client.chat.completions.with_streaming_response.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}]
    )
    if scene.world.is_async:
        async with asked as response:
            return await response.read()
    with asked as response:
        return response.read()


CONTENT_TYPES = [
    "application/json; charset=utf-7",
    'application/json; charset="\x01\\',
    "application/json; charset=" + "x" * 10_000,
    "text/plain; charset=rot13",
    "text/html",
    "",
]


@from_both_sides
async def test_b11_json_is_told_by_what_it_is(scene) -> None:
    """Whatever its header calls it, and without one."""
    nameless = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE)
    scene.play(Raw(nameless), *(Answer(200, WHOLE, {"content-type": said}) for said in CONTENT_TYPES))

    async with scene.standing(1 + len(CONTENT_TYPES), calls=1 + len(CONTENT_TYPES)):
        for _ in (nameless, *CONTENT_TYPES):
            assert await scene.ask() == "From a body that is cut."


# --- too much, and too little of it ----------------------------------------


@lru_cache(maxsize=1)
def bomb() -> bytes:
    """48 MiB of blanks, in 48 KiB."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    blanks = b" " * MIB
    return b"".join(packer.compress(blanks) for _ in range(48)) + packer.flush()


@pytest.mark.both_families
@as_the_gateway
async def test_b9_a_body_that_unpacks_without_end_is_not_unpacked(scene) -> None:
    """No more than the limit, which the error names; no other target is asked for more of it."""
    scene.play(Answer(200, bomb(), {"content-encoding": "gzip"}), limits=Limits(body=4 * MIB))

    async with scene.standing(1):
        tracemalloc.start()
        try:
            with pytest.raises(LimitExceeded, match=rf"larger than {4 * MIB} bytes.*Limits\(body="):
                await scene.ask()
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert scene.attempts[0].meaning == "local"
    # httpx unpacks at once what it has read of the wire, httpx2 piece by piece.
    assert most < 16 * MIB or scene.world.library.__name__ == "httpx"


@as_the_gateway
async def test_b9_a_body_beyond_the_limit_is_not_read_on(scene) -> None:
    """One that is not packed, too."""
    scene.play(Answer(200, b'{"a": "' + b"x" * (32 * MIB) + b'"}'), limits=Limits(body=MIB))

    async with scene.standing(1):
        with pytest.raises(LimitExceeded, match=rf"{MIB} bytes.*Limits\(body="):
            await scene.ask()


@pytest.mark.parametrize("role", ["provider", "direct"])
async def test_b9_the_limit_is_named_even_if_another_target_has_failed_before(scene) -> None:
    """It tells more than the gateway's 503: the caller can do something about it."""
    scene.play(Answer(200, b" " * (2 * MIB)), limits=Limits(body=MIB))

    async with scene.standing(1):
        with pytest.raises(LimitExceeded):
            await scene.ask()


@pytest.mark.both_families
async def test_b10_a_body_that_does_not_unpack_leads_to_the_next_target(scene) -> None:
    """In whatever encoding; where the library does not know it, what is there is no JSON."""
    broken = b"\x1f\x8b\x08\x00" + b"\x00" * 8 + b"no such thing"
    encodings = ["gzip", "deflate", "br", "zstd", "gzip, gzip", "unheard-of"]
    scene.play(*(Answer(200, broken, {"content-encoding": said}) for said in encodings))

    with no_waiting():
        async with scene.standing(len(encodings), onward=len(encodings), calls=len(encodings)):
            await gone_on(scene, len(encodings), meaning="fault")


@as_the_gateway
async def test_b10_a_body_that_does_not_unpack_is_an_error_where_there_is_no_next_target(scene) -> None:
    """After one more attempt."""
    scene.play(Answer(200, b"\x1f\x8bno such thing", {"content-encoding": "gzip"}), alone=True)

    with no_waiting():
        async with scene.standing(2):
            with pytest.raises(CallFailed, match="respan sent a body that cannot be unpacked"):
                await scene.ask()


@as_the_gateway
async def test_b14_a_large_answer_passes(scene) -> None:
    """40 MiB, as a picture has; never held more often than the SDK's own reading does: bytes, text and value."""
    picture = "A" * (40 * MIB)
    said = reply(200, chat(picture))
    scene.play(Raw(said))

    async with scene.standing(1):
        tracemalloc.start()
        try:
            assert await scene.ask() == picture
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert most < 3 * len(said) + MIB


@from_both_sides
async def test_b14_a_large_request_passes_and_is_repeated_as_it_was(scene) -> None:
    """From one target to the next."""
    picture = "A" * (2 * MIB)
    scene.play(Answer(500, respan_error()))

    async with scene.standing(1, onward=1):
        assert await scene.ask(messages=[{"role": "user", "content": picture}]) == ELSEWHERE

    for target in (scene.failing, scene.onward):
        assert target.requests[0].json["messages"][0]["content"] == picture


# --- bodies that can be sent only once -------------------------------------

ASKED = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()


def once(world: Any) -> Iterator[bytes] | AsyncIterator[bytes]:
    """A request's body from a generator: at its second reading there is nothing left."""

    def parts() -> Iterator[bytes]:
        yield ASKED[:10]
        yield ASKED[10:]

    async def awaited_parts() -> AsyncIterator[bytes]:
        for part in parts():
            yield part

    return awaited_parts() if world.is_async else parts()


def http_client(world: Any, gateway: Any, *fallbacks: Any, **options: Any) -> Any:
    """An HTTP client on a transport of ours."""
    transport = (AsyncRespanTransport if world.is_async else RespanTransport)(
        world._caller.transport(),
        gateway=world.gateway_of(gateway),
        fallbacks=[each if each is DIRECT else world.provider_of(each) for each in fallbacks],
        **options,
    )
    return world.http(transport=transport)


class Closing:
    """An HTTP client, to be closed as the SDK's are."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def close(self) -> Any:
        return self._client.aclose() if hasattr(self._client, "aclose") else self._client.close()


SPENT = [Answer(503, respan_error()), Answer(200), CutBody(100, b"{"), Reset()]


@pytest.mark.both_families
@pytest.mark.parametrize("step", SPENT, ids=["503", "empty", "cut", "reset"])
async def test_b15_a_body_that_was_sent_and_is_gone_is_not_sent_again(world, caplog, step) -> None:
    """Least of all as an empty one; the failure comes back, and the log says why there was no repeat."""
    caplog.set_level(logging.INFO, "respan_openai")
    gateway, provider, second = world.gateway(step), world.provider(), world.server("second")
    http = http_client(world, gateway, DIRECT, second)

    async with standing({gateway: 1, provider: 0, second: 0}, Closing(http)):
        try:
            response = await world._caller(
                http.post, f"{provider.origin}/v1/chat/completions", content=once(world)
            )
        except openai.OpenAIError as exc:
            assert isinstance(exc, CallFailed)
        else:
            assert response.status_code == 503

    assert gateway.requests[0].body == ASKED
    assert "cannot be sent again" in caplog.text


@pytest.mark.both_families
async def test_b15_a_body_that_was_not_touched_goes_to_the_next_target(world) -> None:
    """Whole: nothing of it went to a target that could not be reached."""
    gateway, provider = world.gateway(HangupBeforeReading()), world.provider()
    http = http_client(world, gateway, DIRECT)
    gateway.close()  # from now on connections are refused

    async with standing({provider: 1}, Closing(http)):
        response = await world._caller(
            http.post, f"{provider.origin}/v1/chat/completions", content=once(world)
        )

    assert response.json()["choices"][0]["message"]["content"] == "Hello!"
    assert provider.requests[0].body == ASKED


async def test_b15_a_body_that_can_be_sent_once_is_not_hedged(world) -> None:
    """However slow the answer is: the second request would have to share its body with the first."""
    gateway = world.gateway([Ok(), Steps(Silence(0.3), Ok())])
    http = http_client(world, gateway, hedge=Hedge(samples=1, quantile=0.5, floor=0.05))
    url = "http://provider.invalid/v1/chat/completions"

    async with standing({gateway: 2}, Closing(http)):
        assert (await world._caller(http.post, url, content=ASKED)).status_code == 200
        assert (await world._caller(http.post, url, content=once(world))).status_code == 200

    assert [seen.body for seen in gateway.requests] == [ASKED, ASKED]


@as_the_gateway
async def test_b15_an_upload_that_cannot_be_rewound_is_not_repeated(scene) -> None:
    """A pipe, say: its second reading would be empty, and the answer to that a success."""
    scene.play(Answer(500, respan_error()))

    async with scene.standing(1):
        with pytest.raises(openai.InternalServerError):
            await transcribed(scene, Pipe(SOUND))

    assert SOUND in scene.gateway.requests[0].body


SOUND = b"RIFF0123456789"


class Pipe(io.RawIOBase):
    """A file that can be read once."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self.name = "sound.wav"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


async def transcribed(scene: Scene, file: Any) -> str:
    create = scene.client.audio.transcriptions.create
    return (await scene.world._caller(create, model="whisper-1", file=file)).text


@pytest.mark.both_families
@from_both_sides
async def test_b16_an_upload_is_sent_again_as_it_was(scene, tmp_path) -> None:
    """From where the first request began; that is for the HTTP library to say, whatever the file's position was."""
    path = tmp_path / "sound.wav"
    path.write_bytes(SOUND)
    scene.play(Answer(500, respan_error()))

    async with scene.standing(2, onward=2, calls=2):
        for position in (0, 3):
            with path.open("rb") as file:
                file.seek(position)
                assert await transcribed(scene, file) == "Hello!"

    for first, second in zip(scene.failing.requests, scene.onward.requests, strict=True):
        assert first.body == second.body
        assert b"\r\n\r\n" + SOUND + b"\r\n" in first.body


async def test_b16_a_file_that_was_given_at_a_position_is_not_sent_from_its_start(world, caplog) -> None:
    """As a body by itself, it is sent from there to its end. It is not repeated, and the log says so."""
    if world.is_async:
        pytest.skip("an async client takes no file for a body")
    caplog.set_level(logging.INFO, "respan_openai")
    gateway, provider = world.gateway(Answer(500, respan_error())), world.provider()
    http, file = http_client(world, gateway, DIRECT), io.BytesIO(b"..." + ASKED)
    file.seek(3)

    async with standing({gateway: 1, provider: 0}, http):
        assert http.post(f"{provider.origin}/v1/chat/completions", content=file).status_code == 500

    assert gateway.requests[0].body == ASKED
    assert "cannot be sent again" in caplog.text
