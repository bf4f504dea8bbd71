"""A cassette in front of real clients and a real server: what is recorded, what is played, what is refused."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

from respan_openai import Gateway, params, wrap
from respan_openai.testing import Cassette, CassetteError, CassetteMismatch, Options, cassette
from tests.local_support import COMPLETION, answer, hang_up, listening, stream


if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local_support import Upstream


HELLO: Any = [{"role": "user", "content": "hello"}]
KEY = "canary-respan-key-2222222222"

CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
DELTAS = [("a", None), ("b", "stop")]
EVENTS = (
    *(
        b"data: %s\n\n"
        % json.dumps(
            {**CHUNK, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": end}]}
        ).encode()
        for text, end in DELTAS
    ),
    b"data: [DONE]\n\n",
)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A gateway on a loopback socket that answers each request differently."""
    with listening() as server:
        server.respond = numbered(server)
        yield server


def numbered(server: Upstream) -> Any:
    """Answers with the number of the request, so that a wrong pairing shows."""

    def respond(wfile: Any, raw: bytes) -> None:
        if b'"stream":true' in raw.replace(b" ", b""):
            stream(wfile, *EVENTS)
            return
        message = {"role": "assistant", "content": f"answer {len(server.received)}"}
        answer(
            wfile, 200, {**COMPLETION, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
        )

    return respond


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a cassette that is not there yet."""
    return tmp_path / "calls.json"


def client(base_url: str, **options: Any) -> openai.OpenAI:
    """A wrapped client whose gateway is at *base_url*."""
    gateway = Gateway(KEY, base_url.replace("/v1", "/api"))
    made = wrap(openai.OpenAI(api_key="canary-provider-key-33333", **options), gateway=gateway)
    _OPENED.append(made)
    return made


_OPENED: list[openai.OpenAI] = []


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    """What a test has opened is closed behind it, not whenever the collector comes by."""
    yield
    while _OPENED:
        _OPENED.pop().close()


def ask(asked: openai.OpenAI, text: str = "hello", **more: Any) -> str | None:
    """The text of one answer."""
    messages: Any = [{"role": "user", "content": text}]
    return asked.chat.completions.create(model="m", messages=messages, **more).choices[0].message.content


def pieces(asked: openai.OpenAI) -> list[str | None]:
    """The deltas of one stream."""
    return [
        chunk.choices[0].delta.content
        for chunk in asked.chat.completions.create(model="m", messages=HELLO, stream=True)
    ]


NOWHERE = "http://127.0.0.1:9/v1"


def test_what_was_recorded_is_played_without_a_server(upstream: Upstream, path: Path) -> None:
    """At another address, with another key: the answers of each question, in the order in which they came."""
    with cassette(path, mode="once"):
        recorded = [
            ask(client(upstream.base_url)),
            ask(client(upstream.base_url)),
            ask(client(upstream.base_url), "b"),
        ]
        streamed = pieces(client(upstream.base_url))

    with cassette(path) as tape:
        asked = client(NOWHERE)
        assert [ask(asked, "b"), ask(asked), ask(asked)] == [recorded[2], *recorded[:2]]
        assert pieces(asked) == streamed == ["a", "b"]

    assert (tape.counts.replayed, tape.counts.live, tape.unused) == (4, 0, [])
    assert len(upstream.received) == 4


def test_a_word_that_is_somebodys_password(
    upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt that holds by chance what a variable of this machine is set to is answered as it was recorded."""
    with cassette(path, mode="once"):
        recorded = ask(client(upstream.base_url), "Where are my wombats?")

    monkeypatch.setenv("DATABASE_PASSWORD", "wombats?")
    with cassette(path):
        assert ask(client(NOWHERE), "Where are my wombats?") == recorded


def test_two_keys_in_one_prompt(upstream: Upstream, path: Path) -> None:
    """One that is known by the client that has it, one by its looks: both are counted as they were when recorded."""
    text = f"Mine is {KEY}, and the other one is sk-proj-Abcdefghij0123456789Klmnop."
    with cassette(path, mode="once"):
        recorded = ask(client(upstream.base_url), text)

    with cassette(path):
        assert ask(client(NOWHERE), text) == recorded

    assert "Mine is {{secret:1}}, and the other one is {{secret:2}}." in path.read_text()


def test_async_clients_meet_the_same_cassette(upstream: Upstream, path: Path) -> None:
    """Recorded by a blocking client, played to an awaiting one, many at a time."""
    with cassette(path, mode="once"):
        recorded = [ask(client(upstream.base_url), str(number)) for number in range(5)]

    async def ask_all() -> list[Any]:
        asked = wrap(openai.AsyncOpenAI(api_key="k"), gateway=Gateway(KEY, "http://127.0.0.1:9/api"))
        questions: list[Any] = [[{"role": "user", "content": str(number)}] for number in range(5)]
        calls = (asked.chat.completions.create(model="m", messages=each) for each in questions)
        return await asyncio.gather(*calls)

    with cassette(path):
        answers = asyncio.run(ask_all())

    assert [each.choices[0].message.content for each in answers] == recorded


def test_threads_share_it_and_no_recording_is_used_twice(upstream: Upstream, path: Path) -> None:
    """Whoever comes first gets the first answer; nobody gets the same."""
    with cassette(path, mode="once"):
        recorded = [ask(client(upstream.base_url)) for _ in range(8)]
    found: list[str | None] = []
    with cassette(path):
        asked = client(NOWHERE)
        threads = [threading.Thread(target=lambda: found.append(ask(asked))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(found, key=str) == sorted(recorded, key=str)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text": "moon"}, "messages[0].content"),
        ({"temperature": 0.5}, "temperature"),
        ({"customer_identifier": "u2"}, "respan.customer_identifier"),
    ],
)
def test_another_question_gets_no_answer(
    upstream: Upstream, path: Path, change: dict[str, Any], said: str
) -> None:
    """What differs is named, and ``except Exception`` does not hide it."""
    with cassette(path, mode="once"):
        ask(client(upstream.base_url))

    with pytest.raises(CassetteMismatch) as caught, cassette(path, unused="ignore"):
        try:
            ask(client(NOWHERE), **change)
        except Exception:  # as code under test may have it
            pytest.fail("an Exception")

    assert said in str(caught.value)
    assert len(upstream.received) == 1


def test_a_swallowed_mismatch_is_told_at_the_end(upstream: Upstream, path: Path) -> None:
    """Even if somebody catches everything."""
    with cassette(path, mode="once"):
        ask(client(upstream.base_url))

    def swallowing() -> None:
        with suppress(BaseException):  # the worst that code under test can do
            ask(client(NOWHERE), "moon")

    with pytest.raises(CassetteMismatch, match="no recorded call matches"), cassette(path, unused="ignore"):
        swallowing()


def test_a_recording_that_nobody_asks_for(upstream: Upstream, path: Path) -> None:
    """Is a problem, or a silent one where that is wanted."""
    with cassette(path, mode="once"):
        ask(client(upstream.base_url))

    with (
        pytest.raises(CassetteMismatch, match="1 of 1 recorded call was not asked for") as caught,
        cassette(path),
    ):
        pass
    assert str(caught.value).splitlines()[1:] == [
        f"  {path}",
        '  recorded call 1 of 1  POST /chat/completions  model=m  "hello"',
        f'  intended?   cassette("{path}", mode="rewrite")',
        f'  allowed?    cassette("{path}", unused="ignore")',
    ]
    with cassette(path, unused="ignore"):
        pass


def test_recordings_that_new_leaves_over(upstream: Upstream, path: Path) -> None:
    """They stay in the file, and are no problem until it is replayed."""
    with cassette(path, mode="once"):
        ask(client(upstream.base_url))
    with cassette(path, mode="new") as tape:
        ask(client(upstream.base_url), "moon")

    assert (len(tape.unused), tape.counts.saved) == (1, 1)
    with pytest.raises(CassetteMismatch, match="1 of 2 recorded calls was not asked for"), cassette(path):
        ask(client(NOWHERE), "moon")


def test_a_fault_is_no_replay(upstream: Upstream, path: Path) -> None:
    """It is counted by itself, and takes none of the time that is saved."""
    with cassette(path, mode="once"):
        ask(client(upstream.base_url))
    with cassette(path) as tape:
        tape.fault(status=503)
        ask(client(NOWHERE))

    assert (tape.counts.replayed, tape.counts.live, tape.counts.faults) == (1, 0, 1)


def test_many_recordings_that_nobody_asks_for(upstream: Upstream, path: Path) -> None:
    """The first of them are told, each in a line that is not too long, and nothing in it is obeyed."""
    with cassette(path, mode="once"):
        for number in range(7):
            ask(client(upstream.base_url), f"{number} \x1b[31m" + "long " * 50)

    with pytest.raises(CassetteMismatch) as caught, cassette(path):
        pass

    text = str(caught.value)
    assert text.startswith("7 of 7 recorded calls were not asked for\n")
    assert text.count("recorded call ") == 5
    assert "  … and 2 more\n" in text
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()[2:7]) <= 110


def test_no_secret_is_written(upstream: Upstream, path: Path) -> None:
    """Not the gateway's key, not the provider's, and not one in a body."""
    with cassette(path, mode="once"):
        ask(
            client(upstream.base_url),
            f"my key is {KEY}",
            credential_override={"m": {"api_key": "canary-other-444444"}},
        )

    text = path.read_text()
    assert "canary" not in text
    assert '"respan": {"credential_override": {"m": {"api_key": "{{redacted}}"}}}' in text


def test_parameters_match_whichever_carrier_brings_them(upstream: Upstream, path: Path) -> None:
    """Keyword while recording, block while playing."""
    with cassette(path, mode="once"):
        ask(client(upstream.base_url), customer_identifier="u1", metadata={"run": 7})

    with cassette(path), params(customer_identifier="u1", metadata={"run": 7}):
        ask(client(NOWHERE))


def test_a_retried_failure_is_not_recorded(upstream: Upstream, path: Path) -> None:
    """429, then an answer: the answer alone is kept, unless the attempts are wanted."""
    good = upstream.respond

    def respond(wfile: Any, raw: bytes) -> None:
        if len(upstream.received) % 2:
            answer(wfile, 429, {"detail": "slow down", "retry_after": 0.01})
        else:
            good(wfile, raw)

    upstream.respond = respond
    with cassette(path, mode="once"):
        ask(client(upstream.base_url))
    assert [call["response"]["status"] for call in json.loads(path.read_text())["calls"]] == [200]

    with cassette(path, mode="rewrite", retries="keep"):
        ask(client(upstream.base_url))
    assert [call["response"]["status"] for call in json.loads(path.read_text())["calls"]] == [429, 200]

    with cassette(path) as tape:
        ask(client(NOWHERE))
    assert [call.status for call in tape.calls] == [429, 200]


def test_a_dead_connection_is_recorded_and_dies_again(upstream: Upstream, path: Path) -> None:
    """What the library raised is raised again, with what had come before it."""

    def die(wfile: Any, _raw: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        wfile.write(head + b"%x\r\n%s\r\n" % (len(EVENTS[0]), EVENTS[0]))
        wfile.flush()
        hang_up(wfile, b"")

    upstream.respond = die
    seen: list[list[str | None]] = []
    for mode, url in (("once", upstream.base_url), ("none", NOWHERE)):
        with cassette(path, mode=mode):
            found: list[str | None] = []
            with pytest.raises(openai.APIConnectionError):
                for chunk in client(url).chat.completions.create(model="m", messages=HELLO, stream=True):
                    found.append(chunk.choices[0].delta.content)  # noqa: PERF401 -- what came before it broke
            seen.append(found)

    assert seen == [["a"], ["a"]]


def test_a_fault_uses_up_no_recording(upstream: Upstream, path: Path) -> None:
    """The retry meets the recorded answer."""
    with cassette(path, mode="once"):
        recorded = ask(client(upstream.base_url))

    with cassette(path) as tape:
        tape.fault(status=503)
        assert ask(client(NOWHERE)) == recorded

    assert [call.status for call in tape.calls] == [503, 200]


def test_a_fault_that_never_happens(upstream: Upstream, path: Path) -> None:
    """Is told: the test does not test what it says."""
    with cassette(path, mode="once"):
        ask(client(upstream.base_url))

    with pytest.raises(CassetteMismatch, match="a fault never happened"), cassette(path) as tape:
        tape.fault(status=503, path="/embeddings")
        ask(client(NOWHERE))


def test_new_adds_to_what_is_there(upstream: Upstream, path: Path) -> None:
    """What matches is played, the rest is sent and recorded."""
    with cassette(path, mode="once"):
        first = ask(client(upstream.base_url))

    with cassette(path, mode="new") as tape:
        assert ask(client(upstream.base_url)) == first
        second = ask(client(upstream.base_url), "more")
    assert (tape.counts.replayed, tape.counts.live) == (1, 1)

    with cassette(path):
        assert [ask(client(NOWHERE)), ask(client(NOWHERE), "more")] == [first, second]


def test_a_failed_block_saves_nothing(upstream: Upstream, path: Path) -> None:
    """An outage or a red test must not become a fixture."""
    with pytest.raises(ZeroDivisionError), cassette(path, mode="once"):
        ask(client(upstream.base_url))
        raise ZeroDivisionError

    assert not path.exists()


def test_verify_compares_shapes_and_writes_nothing(upstream: Upstream, path: Path) -> None:
    """Other words are fine; a field that is gone is told."""
    with cassette(path, mode="once"):
        ask(client(upstream.base_url))
    before = path.read_bytes()

    with cassette(path, mode="verify"):
        ask(client(upstream.base_url))
    upstream.respond = lambda wfile, _raw: answer(
        wfile, 200, {name: value for name, value in COMPLETION.items() if name != "created"}
    )
    with pytest.raises(CassetteMismatch, match="created"), cassette(path, mode="verify"):
        ask(client(upstream.base_url))

    assert path.read_bytes() == before


@pytest.mark.parametrize("split", ["byte", "event", 7])
def test_streams_can_be_cut_anew(upstream: Upstream, path: Path, split: str | int) -> None:
    """The same answer, however its bytes come."""
    with cassette(path, mode="once"):
        recorded = pieces(client(upstream.base_url))

    with cassette(path, split=split):
        assert pieces(client(NOWHERE)) == recorded


def test_uploads_match_although_their_boundary_differs(upstream: Upstream, path: Path) -> None:
    """And another file does not."""
    upstream.respond = lambda wfile, _raw: answer(wfile, 200, {"text": "spoken"})

    def transcribe(url: str, content: bytes) -> str:
        return client(url).audio.transcriptions.create(model="w", file=("a.wav", content)).text

    with cassette(path, mode="once"):
        transcribe(upstream.base_url, b"sound")

    with cassette(path):
        assert transcribe(NOWHERE, b"sound") == "spoken"
    with pytest.raises(CassetteMismatch), cassette(path, unused="ignore"):
        transcribe(NOWHERE, b"noise")


def test_calls_that_pass_by_the_gateway_are_recorded_too(upstream: Upstream, path: Path) -> None:
    """Images go to the provider, and into the cassette."""
    upstream.respond = lambda wfile, _raw: answer(
        wfile, 200, {"created": 1, "data": [{"url": "http://i.example"}]}
    )

    def draw(url: str) -> Any:
        with wrap(openai.OpenAI(api_key="k", base_url=url), gateway=Gateway(KEY, NOWHERE)) as asked:
            images: Any = asked.images.generate(prompt="a fox", model="i").data
            return images[0].url

    with cassette(path, mode="once"):
        draw(upstream.base_url)
    with cassette(path):
        assert draw(NOWHERE) == "http://i.example"


def test_a_function_can_have_a_cassette(upstream: Upstream, path: Path) -> None:
    """Each call of it starts from the beginning."""

    @cassette(path, mode="once")
    def once() -> str | None:
        return ask(client(upstream.base_url))

    assert once() == once()
    assert len(upstream.received) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "record"}, "mode"),
        ({"ignore": "model"}, "must be a list"),
        ({"timing": "slow"}, "timing"),
        ({"split": "word"}, "split"),
        ({"max_age": "soon"}, "max_age"),
        ({"modes": "none"}, "no option"),
    ],
)
def test_options_are_checked_at_once(path: Path, options: dict[str, Any], said: str) -> None:
    """With what is accepted."""
    with pytest.raises(CassetteError, match=said):
        cassette(path, **options)


def test_too_old_a_recording(upstream: Upstream, path: Path) -> None:
    """Is refused before anything is played."""
    with cassette(path, mode="once"):
        ask(client(upstream.base_url))
    path.write_text(path.read_text().replace('"recorded": "20', '"recorded": "19'))

    with pytest.raises(CassetteError, match=r"recorded .* days ago"), cassette(path, max_age="90d"):
        pass


def damaged(upstream: Upstream, path: Path) -> Path:
    """A cassette of two calls, ``a`` and ``b``; somebody has edited the answer to ``b``."""
    with cassette(path, mode="once"):
        asked = client(upstream.base_url)
        ask(asked, "a")
        ask(asked, "b")
    tree = json.loads(path.read_text())
    tree["calls"][1]["response"]["status"] = "fine"
    path.write_text(json.dumps(tree))
    return path


def test_a_damaged_answer_is_told_by_the_call_that_asks_for_it(upstream: Upstream, path: Path) -> None:
    """Others are answered. Whoever swallows it is told again at the end, once."""
    place = r"calls\[1\]\.response\.status: must be a whole number"
    with pytest.raises(CassetteMismatch, match=place) as told, cassette(damaged(upstream, path)):
        asked = client(NOWHERE)
        assert ask(asked, "a") == "answer 1"
        with pytest.raises(CassetteMismatch, match=place):
            ask(asked, "b")

    assert str(told.value).count("status") == 1


@pytest.mark.parametrize("unused", ["ignore", "error"])
def test_a_damaged_answer_that_nobody_asks_for(upstream: Upstream, path: Path, unused: str) -> None:
    """Is told at the end of a test that passes; one that fails has other troubles."""
    tape = Cassette(damaged(upstream, path), Options(unused=unused)).start()
    assert ask(client(NOWHERE), "a") == "answer 1"

    assert "calls[1].response.status" in tape.stop(passed=True)[-1]
    assert tape.stop(passed=False) == []


def test_two_processes_of_a_run_add_up(upstream: Upstream, path: Path) -> None:
    """Both rewrite one file; the second keeps what the first has written, and a later run replaces all."""
    for run, text in (("run 1", "a"), ("run 1", "b"), ("run 2", "c")):
        tape = Cassette(path, Options(mode="rewrite"), run=run).start()
        ask(client(upstream.base_url), text)
        assert tape.stop(passed=True) == []
        calls = json.loads(path.read_text())["calls"]
        last = [call["request"]["json"]["messages"][0]["content"] for call in calls]
        assert last == {"a": ["a"], "b": ["a", "b"], "c": ["c"]}[text]


def test_the_newest_cassette_answers(upstream: Upstream, path: Path, tmp_path: Path) -> None:
    """They are a stack, which clients made earlier meet too."""
    asked = client(upstream.base_url)
    with cassette(path, mode="once"):
        outer = ask(asked, "outer")
        with cassette(tmp_path / "inner.json", mode="once"):
            ask(asked, "inner")

    assert [
        call["request"]["json"]["messages"][0]["content"] for call in json.loads(path.read_text())["calls"]
    ] == ["outer"]
    with cassette(path):
        assert ask(asked, "outer") == outer


def test_an_option_that_cannot_be_met_stops_the_test(upstream: Upstream, path: Path) -> None:
    """It is found out at the first call, and neither repeated nor hidden as if the network had failed."""

    def normalize(_: Any) -> Any:
        return None

    with (
        pytest.raises(CassetteMismatch, match="normalize"),
        cassette(path, mode="new", normalize=normalize) as tape,
        suppress(Exception),
    ):
        ask(client(upstream.base_url))

    assert len(tape.mismatches) == 1
    assert upstream.received == []


def test_headers_with_credentials_are_never_kept(path: Path) -> None:
    """Whoever asks for one is told before anything is sent."""
    with pytest.raises(CassetteError, match="keep_headers: set-cookie carries credentials"):
        Cassette(path, Options(keep_headers=["Set-Cookie"]))


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_a_lock_that_leads_elsewhere(
    upstream: Upstream, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: Any
) -> None:
    """Who may write to the folder for temporary files cannot have a file of ours overwritten."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with cassette(path, mode="once"):
        ask(client(upstream.base_url))
    [lock] = (tmp_path / "tmp").glob("respan-cassette-*.lock")
    lock.unlink()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    link(lock, victim)
    recorded = path.read_bytes()

    with (
        pytest.raises(CassetteMismatch, match=r"not written.*cannot be its lock.*TMPDIR"),
        cassette(path, mode="rewrite"),
    ):
        ask(client(upstream.base_url))

    assert (victim.read_text(), path.read_bytes()) == ("mine", recorded)
