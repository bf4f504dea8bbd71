"""Beside the plugins that people have: each does its own, and cassettes do theirs."""

from __future__ import annotations

import json

import pytest

from tests.testing.llm_server import Project


pytest_plugins = "pytester"

#: Name of the package -> module of its plugin.
PLUGINS = {
    "xdist": "xdist.plugin",
    "pytest_asyncio": "pytest_asyncio.plugin",
    "anyio": "anyio.pytest_plugin",
    "pytest_socket": "pytest_socket",
    "pytest_randomly": "pytest_randomly",
    "pytest_rerunfailures": "pytest_rerunfailures",
    "inline_snapshot": "inline_snapshot.pytest_plugin",
    "pytest_recording": "pytest_recording.plugin",
}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(pytester, monkeypatch)


def having(*names: str) -> list[str]:
    """Arguments that load plugins; the test is skipped where one is not installed."""
    for name in names:
        pytest.importorskip(name)
    return [argument for name in names for argument in ("-p", PLUGINS[name])]


MANY = """
import pytest

@pytest.mark.parametrize("n", range(4))
def test_own(ask, respan_cassette, n):
    assert ask(f"{n} {n}") == f"1. {n} {n}"

@pytest.mark.respan_cassette("shared", unused="ignore")
@pytest.mark.parametrize("n", range(4))
def test_shared(ask, n):
    assert ask(f"shared {n}") == f"1. shared {n}"
"""


def test_workers_record_and_replay(project) -> None:
    """With pytest-xdist nothing is lost of a file that tests of several workers record, also if there was one."""
    plugins = [*having("xdist"), "-n2"]
    project.write(test_a=MANY)

    for mode in ("new", "rewrite"):
        result = project.record(*plugins, f"--respan-record={mode}", fresh=True)
        result.assert_outcomes(passed=8)
        result.stdout.fnmatch_lines(["respan: 0 replayed, 8 live, 0 unused, 8 recorded"])
        assert len(json.loads((project.path / "cassettes/shared.json").read_text())["calls"]) == 4

    result = project.run(*plugins, fresh=True)
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["respan: 8 replayed, 0 live, 0 unused*"])


ALIKE = """
import pytest

@pytest.mark.respan_cassette("greetings")
@pytest.mark.parametrize("n", range(2))
def test_each(ask, n):
    assert ask(f"each {n}") == f"1. each {n}"

@pytest.mark.respan_cassette("pair")
def test_one(ask):
    assert ask("one") == "1. one"

@pytest.mark.respan_cassette("pair.json")
def test_other(ask):
    assert ask("other") == "1. other"

@pytest.mark.parametrize("n", [pytest.param(0, marks=pytest.mark.respan_cassette("alone"))])
def test_alone(ask, n):
    assert ask("alone") == "1. alone"
"""


def test_tests_that_name_the_same_cassette(project) -> None:
    """They share it: what one does not ask for is another's, also if one of several parameters is run."""
    project.write(test_a=ALIKE)
    project.record().assert_outcomes(passed=5)

    project.run().assert_outcomes(passed=5)
    project.run("test_a.py::test_each[1]").assert_outcomes(passed=1)

    project.write(test_a=ALIKE.replace('ask("alone") == "1. alone"', "True"))
    project.run().assert_outcomes(passed=5, errors=1)


def test_a_random_order(project) -> None:
    """With pytest-randomly, each test has its own answers in whatever order they come."""
    plugins = having("pytest_randomly")
    project.write(test_a=MANY)
    project.record("--respan-record=new").assert_outcomes(passed=8)

    for seed in (1, 2):
        project.run(*plugins, f"--randomly-seed={seed}").assert_outcomes(passed=8)


ASYNC = """
import pytest
from conftest import body_of

async def asked(make_async, text):
    async with make_async() as client:
        stream = await client.chat.completions.create(**body_of(text, stream=True))
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
"""


def test_asyncio_tests(project) -> None:
    """With pytest-asyncio, in strict and in auto mode, the cassette of an async test is there from its first line."""
    plugins = [*having("pytest_asyncio"), "-o", "asyncio_mode=auto"]
    project.write(
        test_a=ASYNC
        + """
@pytest.fixture
async def greeting(make_async, respan_cassette):
    return await asked(make_async, "from a fixture")

async def test_one(make_async, respan_cassette, greeting):
    assert greeting == "1. from a fixture "
    assert await asked(make_async, "from a test") == "1. from a test "
    assert [call.status for call in respan_cassette.calls] == [200, 200]

@pytest.mark.respan_cassette
async def test_swallowed(make_async):
    try:
        await asked(make_async, "never recorded")
    except BaseException:
        pass
"""
    )
    project.record(*plugins, "--respan-record=once", "-k", "one", fresh=True).assert_outcomes(
        passed=1, deselected=1
    )

    project.run(*plugins, fresh=True).assert_outcomes(passed=2, errors=1)


def test_anyio_tests(project) -> None:
    """With anyio's plugin, on asyncio and trio."""
    plugins = having("anyio")
    project.write(
        test_a=ASYNC
        + """
@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.mark.anyio
async def test_one(make_async, respan_cassette, anyio_backend):
    assert await asked(make_async, f"on {anyio_backend}") == f"1. on {anyio_backend} "
"""
    )
    project.record(*plugins, "--respan-record=once", fresh=True).assert_outcomes(passed=2)

    project.run(*plugins, fresh=True).assert_outcomes(passed=2)


def test_without_sockets(project) -> None:
    """With pytest-socket and all sockets disabled, everything is replayed: nothing needs one."""
    plugins = having("pytest_socket")
    project.write(test_a=MANY)
    project.record("--respan-record=new").assert_outcomes(passed=8)

    result = project.run(*plugins, "--disable-socket", "--respan-block-network", fresh=True)

    result.assert_outcomes(passed=8)


RERUN = """
import pathlib

def test_one(ask, respan_cassette):
    path = pathlib.Path(__file__).with_name("tries")
    tries = int(path.read_text()) if path.exists() else 0
    path.write_text(str(tries + 1))
    answer = ask("Hi")
    assert tries % 2
    assert len(respan_cassette.calls) == 1
"""


def test_tests_that_run_again(project) -> None:
    """With pytest-rerunfailures, each attempt has the whole cassette, and only the one that passed is saved."""
    plugins = having("pytest_rerunfailures")
    project.write(test_a=RERUN)

    recorded = project.record(*plugins, "--reruns=1", "--respan-record=once", fresh=True)
    replayed = project.run(*plugins, "--reruns=1", fresh=True)

    assert recorded.parseoutcomes() == {"passed": 1, "rerun": 1}
    assert replayed.parseoutcomes() == {"passed": 1, "rerun": 1}
    assert len(json.loads((project.path / "cassettes/test_a/test_one.json").read_text())["calls"]) == 1


def test_snapshots(project) -> None:
    """inline-snapshot writes what was asked into the test, and dirty-equals leaves a part of it open."""
    plugins = having("inline_snapshot")
    pytest.importorskip("dirty_equals")
    project.write(
        test_a="""
        from dirty_equals import IsPartialDict, IsStr
        from inline_snapshot import snapshot

        def test_one(ask, respan_cassette):
            ask("Hi", temperature=0)
            assert respan_cassette.requests == snapshot()
            assert respan_cassette.calls == [IsPartialDict(path="/chat/completions", text=IsStr(regex="1. .*"))]
        """
    )
    project.record("--respan-record=once", *plugins, "--inline-snapshot=create", fresh=True)

    written = (project.path / "test_a.py").read_text()
    result = project.run(*plugins, "--inline-snapshot=disable", fresh=True)

    assert '"path": "/chat/completions"' in written.replace("'", '"')
    assert '"content": "Hi"' in written.replace("'", '"')
    result.assert_outcomes(passed=1)


def test_other_cassettes(project) -> None:
    """pytest-recording and vcrpy keep theirs: their marker and options are not ours, and neither hides the other's."""
    plugins = having("pytest_recording")
    project.write(
        test_a="""
        import http.client
        import os
        import pytest
        import vcr
        from urllib.parse import urlsplit

        def fetched():
            address = urlsplit(os.environ.get("LLM", "http://127.0.0.1:9")).netloc
            connection = http.client.HTTPConnection(address)
            connection.request("POST", "/v1/embeddings", b"{}", {"Content-Type": "application/json"})
            return connection.getresponse().read()

        @pytest.mark.vcr
        @pytest.mark.respan_cassette
        def test_both(ask):
            assert ask("Hi") == "1. Hi"

        def test_theirs():
            with vcr.use_cassette("vcr.yaml", match_on=["method", "path"], record_mode="once"):
                assert fetched()

        def test_ours(ask, respan_cassette):
            assert ask("Ho") == "1. Ho"
        """
    )

    project.record(*plugins, "--respan-record=once", "--record-mode=once", fresh=True)
    result = project.run(*plugins, "--record-mode=none", "--block-network", fresh=True)

    result.assert_outcomes(passed=3)
