"""Recorded against a server, replayed in a new process where there is none: whatever the call, and however it is made."""

from __future__ import annotations

import base64
import json
import shutil
from urllib.parse import quote

import pytest

from tests.testing.llm_server import KEYS, Project


pytest_plugins = "pytester"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(pytester, monkeypatch)


#: The server numbers its answers to each question, so an answer of another call would show.
CALLS = '''
import asyncio
import threading

import anyio
import openai
import pytest
from conftest import body_of

pytestmark = pytest.mark.respan_cassette


def spoken(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_repeats(ask):
    """The same question again, between others."""
    assert [ask("Hi"), ask("Ho"), ask("Hi"), ask("Hi")] == ["1. Hi", "1. Ho", "2. Hi", "3. Hi"]


def test_compressed(ask, client):
    assert ask("Hi", model="gzip") == "1. Hi"
    raw = client.chat.completions.with_raw_response.create(**body_of("Hi", model="gzip"))
    assert raw.parse().choices[0].message.content == "2. Hi"


def test_stream(client):
    with client.chat.completions.create(**body_of("one two", stream=True)) as stream:
        assert spoken(stream) == "1. one two "


def test_stream_left_early(client):
    with client.chat.completions.create(**body_of("one two three", stream=True)) as stream:
        assert spoken([next(stream), next(stream)]) == "1. "


def test_stream_that_dies(client):
    with pytest.raises(openai.APIError), client.chat.completions.create(**body_of("x", model="dies", stream=True)) as s:
        assert spoken(s) == "never"


def test_files(client):
    """Each upload has a boundary of its own."""
    ask = lambda content: client.audio.transcriptions.create(model="whisper-1", file=("a.wav", content)).text
    assert [ask(b"one")[0], ask(b"two")[0], ask(b"one")[0]] == ["1", "1", "2"]


def test_embeddings(client):
    data = client.embeddings.create(model="m", input="x", encoding_format="float").data
    assert data[0].embedding == [1.0, 0.5]


def test_retried(ask):
    """A 429, and then an answer."""
    assert ask("Hi", model="busy") == "2. Hi"


def test_denied(client):
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        client.chat.completions.create(**body_of("Hi", model="denied"))


def test_threads(client):
    found = {}

    def one(text):
        found[text] = client.chat.completions.create(**body_of(text)).choices[0].message.content

    threads = [threading.Thread(target=one, args=(str(n),)) for n in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == {str(n): f"1. {n}" for n in range(8)}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tasks(make_async, backend):
    async def main():
        found = {}

        async def one(client, text):
            model = f"on-{backend}"
            answer = await client.chat.completions.create(**body_of(text, model=model))
            found[text] = answer.choices[0].message.content

        async with make_async() as client, anyio.create_task_group() as group:
            for n in range(8):
                group.start_soon(one, client, str(n))
        assert found == {str(n): f"1. {n}" for n in range(8)}

    anyio.run(main, backend=backend)


def test_async_stream(make_async):
    async def main():
        async with make_async() as client:
            stream = await client.chat.completions.create(**body_of("three four", stream=True))
            return spoken([chunk async for chunk in stream])

    assert asyncio.run(main()) == "1. three four "


def test_responses_of_the_object(respan_cassette, ask):
    ask("What?", user="ada")
    call = respan_cassette.calls[0]
    assert (call.path, call.status, call.text) == ("/chat/completions", 200, "1. What?")
    assert call.messages == [{"role": "user", "content": "What?"}]
    assert respan_cassette.requests[0]["json"]["user"] == "ada"
'''


def test_everything_again_without_a_server(project) -> None:
    """What was recorded is played in a new process: no server, no keys, the same answers for the same questions."""
    project.write(test_calls=CALLS)

    recorded = project.record(fresh=True)
    replayed = project.run(fresh=True)

    recorded.assert_outcomes(passed=14)
    replayed.assert_outcomes(passed=14)
    recorded.stdout.fnmatch_lines(["respan: 0 replayed, * live, 0 unused, * recorded"])
    replayed.stdout.fnmatch_lines(["respan: * replayed, 0 live, 0 unused*"])


def test_no_key_is_anywhere(project) -> None:
    """Neither plain, nor quoted, nor in any alignment of base64: not in cassettes, and not in what a failure shows."""
    project.write(
        test_calls="""
        import base64
        import openai
        import os
        import pytest
        from conftest import body_of

        pytestmark = pytest.mark.respan_cassette

        def test_echoed(client):
            with pytest.raises(openai.AuthenticationError):
                client.chat.completions.create(**body_of("Hi", model="denied"))

        def test_said(ask):
            key = os.environ["OPENAI_API_KEY"]
            ask(f"My key is {key}.", user=base64.b64encode(f"x{key}".encode()).decode())

        def test_streamed(client):
            text = f"a {os.environ['RESPAN_API_KEY']} b"
            [*client.chat.completions.create(**body_of(text, stream=True))]

        def test_parameters(ask):
            override = {"openai": {"api_key": os.environ["OPENAI_API_KEY"]}}
            ask("Hi", customer_identifier="ada", credential_override=override)
        """
    )

    recorded = project.record(fresh=True)
    replayed = project.run(fresh=True)

    recorded.assert_outcomes(passed=4)
    replayed.assert_outcomes(passed=4)
    contents = b"\n".join((project.path / name).read_bytes() for name in project.cassettes())
    for key in KEYS.values():
        forms = {key, quote(key, safe=""), json.dumps(key)[1:-1], key[::-1]}
        shifted = [base64.b64encode(b"x" * shift + key.encode()).decode() for shift in range(3)]
        assert not [form for form in forms if form.encode() in contents]
        assert not [form for form in shifted if form[4:-4].encode() in contents]
    assert b"customer_identifier" in contents


def test_another_gateway_and_none(project, monkeypatch) -> None:
    """A recording does not say where it was made: it is played for a gateway elsewhere, and for a plain provider."""
    project.write(
        test_calls="""
        import os

        import pytest
        from conftest import body_of
        from openai import OpenAI

        from respan_openai import Gateway, wrap

        @pytest.mark.respan_cassette
        def test_one(client):
            if "ELSEWHERE" in os.environ:
                client = wrap(OpenAI(), gateway=Gateway(base_url=os.environ["ELSEWHERE"]))
            assert client.chat.completions.create(**body_of("Hi")).choices[0].message.content == "1. Hi"
        """
    )
    project.record().assert_outcomes(passed=1)

    monkeypatch.setenv("ELSEWHERE", "https://gateway.invalid/some/where")

    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("mode", ["once", "new", "rewrite"])
def test_recording_again(project, mode) -> None:
    """once keeps what is there, new keeps it too and adds, rewrite replaces it."""
    project.write(test_a="def test_one(ask, respan_cassette): assert ask('Hi') == '1. Hi'")
    project.record().assert_outcomes(passed=1)
    before = (project.path / project.cassettes()[0]).read_text()

    project.write(
        test_a="""
        def test_one(ask, respan_cassette):
            ask('Hi')
            ask('Ho')
        """
    )
    result = project.record(f"--respan-record={mode}")

    after = (project.path / project.cassettes()[0]).read_text()
    if mode == "once":
        result.assert_outcomes(failed=1)
        assert after == before
    else:
        result.assert_outcomes(passed=1)
        recorded = {"new": 1, "rewrite": 2}[mode]
        result.stdout.fnmatch_lines(
            [f"respan: {2 - recorded} replayed, {recorded} live, 0 unused, {recorded} recorded*"]
        )
        assert "1. Ho" in after


@pytest.mark.parametrize("unused", ["error", "warn"])
def test_recordings_that_new_leaves_over(project, unused) -> None:
    """They are no error, not even where warnings are, but the end of the run says how to be rid of them."""
    project.write(test_a="def test_one(ask, respan_cassette): ask('Hi')")
    project.record().assert_outcomes(passed=1)
    project.write(test_a="def test_one(ask, respan_cassette): ask('Ho')")

    result = project.record("--respan-record=new", f"--respan-unused={unused}", "-Werror")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([
        "respan: 0 replayed, 1 live, 1 unused, 1 recorded",
        "respan: 1 cassette keeps recordings that were not asked for, for the mode new drops none:",
        "  cassettes/test_a/test_one.json",
        "  drop them:  --respan-record=rewrite; or --respan-cassette-report=F, respan-openai cassettes prune F",
    ])  # fmt: skip
    project.run().assert_outcomes(passed=1, errors=1)


def test_errors_that_were_recorded(project) -> None:
    """The end of the run that records them names their files: a wrong key would stay unseen. Played, nobody is told."""
    project.write(
        test_a="""
        import pytest
        import openai

        def test_denied(ask, respan_cassette):
            with pytest.raises(openai.OpenAIError):
                ask("Hi", model="denied")

        def test_good(ask, respan_cassette):
            ask("Ho")
        """
    )

    result = project.record()

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([
        "respan: recorded with errors; if a test is not about one, record it again:",
        "  cassettes/test_a/test_denied.json: 401",
    ])  # fmt: skip
    result.stdout.no_fnmatch_line("*test_good.json*")
    result = project.run()
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*recorded with errors*")


def test_the_first_cassettes_of_a_repository(project) -> None:
    """Who records them is told, once, how a review folds them; not where that is done, nor where there is no git."""
    project.write(test_a="def test_one(ask, respan_cassette): ask('Hi')")
    told = "*linguist-generated*"

    project.record().stdout.no_fnmatch_line(told)
    shutil.rmtree(project.path / "cassettes")
    (project.path / ".git").mkdir()
    project.record().stdout.fnmatch_lines([
        "respan: the first cassettes; so that a review folds them, add to .gitattributes:",
        "  cassettes/** linguist-generated",
    ])  # fmt: skip
    project.record("--respan-record=rewrite").stdout.no_fnmatch_line(told)
    project.run().stdout.no_fnmatch_line(told)
    shutil.rmtree(project.path / "cassettes")
    (project.path / ".gitattributes").write_text(
        "poetry.lock linguist-generated\n# cassettes linguist-generated\n"
    )
    project.record().stdout.fnmatch_lines([told])
    shutil.rmtree(project.path / "cassettes")
    (project.path / ".gitattributes").write_text("cassettes/** linguist-generated=true\n")
    project.record().stdout.no_fnmatch_line(told)


def test_recordings_that_new_may_leave_over(project) -> None:
    """Nothing is said of them with ignore."""
    project.write(test_a="def test_one(ask, respan_cassette): ask('Hi')")
    project.record().assert_outcomes(passed=1)
    project.write(test_a="def test_one(ask, respan_cassette): ask('Ho')")

    result = project.record("--respan-record=new", "--respan-unused=ignore")

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*not asked for*")


def test_verify_writes_nothing(project) -> None:
    """It sends, compares the shape of answers, and leaves the file as it is."""
    project.write(test_a="def test_one(ask, respan_cassette): ask('Hi')")
    project.record().assert_outcomes(passed=1)
    path = project.path / project.cassettes()[0]
    before = path.read_bytes()

    project.record("--respan-record=verify").assert_outcomes(passed=1)

    assert path.read_bytes() == before


def test_off_is_as_if_there_were_no_cassette(project) -> None:
    """It sends, and leaves no file."""
    project.write(test_a="def test_one(ask, respan_cassette): ask('Hi')")

    project.record("--respan-record=off").assert_outcomes(passed=1)

    assert project.cassettes() == []


def test_a_cassette_for_several_fixtures(project) -> None:
    """respan_cassettes serves fixtures of any scope, beside the test's own cassette."""
    project.write(
        test_a="""
        import pytest
        from conftest import body_of, wrapped
        from openai import OpenAI

        @pytest.fixture(scope="session")
        def users(respan_cassettes):
            with respan_cassettes("setup/users"), wrapped(OpenAI) as client:
                return client.chat.completions.create(**body_of("users")).choices[0].message.content

        @pytest.fixture(scope="module")
        def served(respan_cassettes):
            with respan_cassettes("all") as cassette:
                yield cassette

        @pytest.mark.parametrize("n", [1, 2])
        def test_one(users, ask, n, respan_cassette):
            assert users == "1. users"
            assert ask("Hi").endswith("Hi")

        def test_two(served, ask):
            assert ask("shared").endswith("shared")
            assert len(served.calls) == 1
        """
    )

    project.record().assert_outcomes(passed=3)

    assert project.cassettes() == [
        "cassettes/all.json",
        "cassettes/setup/users.json",
        "cassettes/test_a/test_one[1].json",
        "cassettes/test_a/test_one[2].json",
    ]
    project.run().assert_outcomes(passed=3)
    project.run("-k", "test_one").assert_outcomes(passed=2, deselected=1)


def test_further_cassettes_are_only_read(project) -> None:
    """A marker may name more files, which answer what the test's own does not, and stay as they are."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.respan_cassette("common")
        def test_common(ask):
            assert ask("Hello") == "1. Hello"
        """
    )
    project.record().assert_outcomes(passed=1)
    common = (project.path / "cassettes/common.json").read_bytes()
    project.write(
        test_b="""
        import pytest

        @pytest.mark.respan_cassette("own", "common")
        def test_own(ask):
            assert ask("Hello") == "1. Hello"
            assert ask("More") == "1. More"
        """
    )

    project.record("--respan-record=new", "test_b.py").assert_outcomes(passed=1)

    assert (project.path / "cassettes/common.json").read_bytes() == common
    assert b"Hello" not in (project.path / "cassettes/own.json").read_bytes()
    project.run().assert_outcomes(passed=2)


@pytest.mark.parametrize("mode", ["once", "rewrite"])
def test_a_cassette_for_a_module(project, mode) -> None:
    """Its tests share one file, also when it is recorded, and one that uses a part of it is not blamed for the rest."""
    project.write(
        test_a="""
        import pytest

        pytestmark = pytest.mark.respan_cassette("module")

        def test_one(ask): ask("one")

        def test_two(ask): ask("two")
        """
    )

    project.record(f"--respan-record={mode}").assert_outcomes(passed=2)

    assert project.cassettes() == ["cassettes/module.json"]
    project.run().assert_outcomes(passed=2)
    project.run("test_a.py::test_two").assert_outcomes(passed=1)


def test_faults(project) -> None:
    """They use up no recording, so the happy path still follows; one that never happens is an error."""
    project.write(
        test_a="""
        import pytest

        marked = pytest.mark.respan_cassette

        @marked("hi")
        def test_plain(ask):
            assert ask("Hi") == "1. Hi"

        @marked("hi")
        def test_by_fixture(ask, respan_cassette):
            respan_cassette.fault(status=429, retry_after=0)
            assert ask("Hi") == "1. Hi"
            assert [call.status for call in respan_cassette.calls] == [429, 200]

        @marked("hi", faults=[{"status": 503}])
        def test_by_marker(ask):
            assert ask("Hi") == "1. Hi"

        @marked("hi", faults=[{"path": "/nowhere", "status": 500}])
        def test_unfired(ask):
            assert ask("Hi") == "1. Hi"
        """
    )
    project.record("--respan-record=once", "-k", "plain").assert_outcomes(passed=1, deselected=3)

    result = project.run()

    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines([
        "*ERROR at teardown of test_unfired*",
        "respan cassette: a fault never happened: path='/nowhere', status=500",
    ])  # fmt: skip
