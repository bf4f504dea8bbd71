"""What makes a test fail, where it is said, and what is saved: nothing stale and nothing live goes by in green."""

from __future__ import annotations

import pytest

from tests.testing.llm_server import Project


pytest_plugins = "pytester"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(pytester, monkeypatch)


#: A test whose question can be changed between runs.
ASKS = """
import os
import pytest

def test_one(ask, respan_cassette):
    ask(os.environ.get("TEXT", "On 2026-11-20"), temperature=0)
"""


# -- mismatches


def test_a_question_that_has_changed(project, monkeypatch) -> None:
    """It is sent once to nobody, and the report says what differs, and which command records exactly this test."""
    project.write(test_a=ASKS)
    project.record().assert_outcomes(passed=1)
    monkeypatch.setenv("TEXT", "On 2026-11-21")

    result = project.run()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "respan cassette: no recorded call matches call #1 of this test*",
        "*POST /chat/completions  model=gpt-4o-mini*sent from conftest.py:* in ask()",
        "*messages[[]0].content *-20*-21*",
        '  intended?   pytest "test_a.py::test_one" --respan-record=rewrite',
        "  noise? *ignore = *messages*",
    ])  # fmt: skip
    output = result.stdout.str()
    assert "Traceback" not in output
    assert "plugin_" not in output
    assert output.count("no recorded call matches") == 1
    assert "ERROR at teardown" not in output


def test_the_line_that_ignores_noise(project, monkeypatch) -> None:
    """What the report proposes is what the configuration takes."""
    project.write(test_a=ASKS)
    project.record().assert_outcomes(passed=1)
    monkeypatch.setenv("TEXT", "On 2026-11-21")
    line = next(each for each in project.run().outlines if "noise?" in each)

    project.write(
        test_b=f"""
        from test_a import test_one
        import pytest

        @pytest.fixture
        def respan_cassette_config():
            return dict({line.partition("noise?")[2].strip()})

        @pytest.fixture
        def respan_cassette_name():
            return "test_a/test_one"
        """
    )

    project.run("test_b.py").assert_outcomes(passed=1)


def test_the_command_that_is_shown_records_the_test(project) -> None:
    """A test without a recording says how to make one; ids with brackets and quotes are no trouble."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.parametrize("text", ['it"s', "x y"])
        def test_one(ask, text, respan_cassette):
            ask(text)
        """
    )
    result = project.run()
    result.assert_outcomes(failed=2)
    lines = [line for line in result.outlines if line.startswith("  to record ")]

    import shlex

    for line in lines:
        project.record(*shlex.split(line)[3:]).assert_outcomes(passed=1)

    project.run().assert_outcomes(passed=2)


@pytest.mark.parametrize(
    "swallowing",
    [
        "try: ask('other')\n    except BaseException: pass",
        "thread = threading.Thread(target=ask, args=('other',)); thread.start(); thread.join()",
        "with concurrent.futures.ThreadPoolExecutor() as pool: pool.submit(ask, 'other').exception()",
        "asyncio.run(gathered(make_async))",
    ],
    ids=["except", "thread", "future", "gather"],
)
def test_a_mismatch_that_was_swallowed(project, swallowing) -> None:
    """The test has not seen it, so its teardown fails with the same text."""
    project.ini("filterwarnings = ignore::pytest.PytestUnhandledThreadExceptionWarning")
    project.write(
        test_a=f"""
import asyncio, concurrent.futures, threading
from conftest import body_of

async def gathered(make_async):
    async with make_async() as client:
        await asyncio.gather(client.chat.completions.create(**body_of("other")), return_exceptions=True)

def test_one(ask, make_async, respan_cassette):
    {swallowing}
"""
    )

    result = project.run(fresh=True)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_one*", "respan cassette: there is no recording yet*"]
    )


def test_no_except_of_the_code_under_test_hides_it(project) -> None:
    """Neither the SDK's retries nor an ``except Exception`` takes a mismatch for a failed call."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.respan_cassette
        def test_one(ask, respan_cassette):
            try:
                ask("Hi")
            except Exception:
                pytest.fail("taken for an error")
        """
    )

    result = project.run()

    result.assert_outcomes(failed=1)
    assert result.stdout.str().count("call #") == 1
    assert "taken for an error" not in result.stdout.str()


def test_a_test_that_fails_for_another_reason(project) -> None:
    """The mismatch that it swallowed before may be why, so it stands in the report in a section of its own."""
    project.write(
        test_a="""
        def test_one(ask, respan_cassette):
            try:
                answer = ask("Hi")
            except BaseException:
                answer = None
            assert answer
        """
    )

    result = project.run()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*assert None*", "*- respan cassette -*", "respan cassette: there is no recording*"]
    )


def test_a_mismatch_in_a_group(project) -> None:
    """In a task group it comes out in the group, and fails the test."""
    project.write(
        test_a="""
        import anyio
        import pytest
        from conftest import body_of

        @pytest.mark.parametrize("backend", ["asyncio", "trio"])
        def test_one(make_async, respan_cassette, backend):
            async def main():
                async with make_async() as client, anyio.create_task_group() as group:
                    async def one():
                        await client.chat.completions.create(**body_of("Hi"))
                    group.start_soon(one)
            anyio.run(main, backend=backend)
        """
    )

    project.run(fresh=True).assert_outcomes(failed=2)


def test_a_mismatch_while_several_cassettes_are_open(project) -> None:
    """Whichever it belongs to, a test that fails shows it."""
    project.write(
        test_a="""
        import pytest

        @pytest.fixture(scope="module")
        def served(respan_cassettes):
            with respan_cassettes("all"):
                yield

        def test_one(served, ask):
            with pytest.raises(BaseException):
                ask("Hi")
            assert False
        """
    )

    result = project.run()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- respan cassette -*", "respan cassette: there is no recording*"])


def test_a_block_that_swallows_a_mismatch(project) -> None:
    """Its end fails, where it is."""
    project.write(
        test_a="""
        import pytest

        def test_one(respan_cassettes, ask):
            with respan_cassettes("block"):
                with pytest.raises(BaseException):
                    ask("Hi")
        """
    )

    result = project.run()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["respan cassette: there is no recording*"])


def test_a_block_that_fails(project) -> None:
    """What it raises is what is shown, and nothing is saved."""
    project.write(
        test_a="""
        def test_one(respan_cassettes, ask):
            with respan_cassettes("block", unused="error"):
                ask("Hi")
                raise ValueError("mine")
        """
    )

    result = project.record()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError: mine*"])
    assert project.cassettes() == []


def test_a_block_that_cannot_be_opened(project) -> None:
    """One line, as for a test's own cassette."""
    project.write(
        test_a="""
        def test_one(respan_cassettes):
            with respan_cassettes("../block"):
                pass
        """
    )

    result = project.run()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["respan cassette: '../block' is no name of a cassette: it must lie in *cassettes."]
    )


def test_another_order_of_parameters(project) -> None:
    """A file that another release of pytest would have named is found, and the command that renames it is shown."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.parametrize("a", ["x"])
        @pytest.mark.parametrize("b", ["y"])
        def test_one(ask, a, b, respan_cassette):
            ask("Hi")
        """
    )
    project.record().assert_outcomes(passed=1)
    path = project.path / project.cassettes()[0]
    path.write_text(path.read_text().replace("test_one[y-x]", "test_one[x-y]"))
    path.rename(path.with_name("test_one[x-y].json"))

    result = project.run()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["  renamed? *was recorded as test_a.py::test_one[[]x-y]: respan-openai cassettes mv *"]
    )


# -- recordings that are not used

TWO = """
import os

def test_one(ask, respan_cassette):
    ask("Hi")
    if "LESS" not in os.environ:
        ask("Ho")
    assert "FAIL" not in os.environ
"""


def test_recordings_that_a_passing_test_does_not_use(project, monkeypatch) -> None:
    """They are an error of its teardown."""
    project.write(test_a=TWO)
    project.record().assert_outcomes(passed=1)
    monkeypatch.setenv("LESS", "1")

    result = project.run()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([
        "respan cassette: 1 of 2 recorded calls was not asked for",
        f"  {project.path / project.cassettes()[0]}",
        '  recorded call 2 of 2  POST /chat/completions  model=gpt-4o-mini  "Ho"',
        '  intended?   pytest "test_a.py::test_one" --respan-record=rewrite',
        '  allowed?    @pytest.mark.respan_cassette(unused="ignore"), or --respan-unused=ignore',
        "respan: 1 replayed, 0 live, 1 unused*",
    ])  # fmt: skip


def test_recordings_that_a_mismatch_leaves_over(project, monkeypatch) -> None:
    """They are no second complaint, and nobody knows whether they are still needed."""
    project.write(
        test_a="""
        import os

        def test_one(ask, respan_cassette):
            try:
                ask(os.environ.get("TEXT", "Hi"))
            except BaseException:
                pass
        """
    )
    project.record().assert_outcomes(passed=1)
    monkeypatch.setenv("TEXT", "Ho")

    result = project.run("--respan-cassette-report=left.json")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["respan: 0 unused recordings and 0 files of no test: *"])
    assert "no recorded call matches" in result.stdout.str()
    assert "not asked for" not in result.stdout.str()


def test_a_failing_test_has_other_troubles(project, monkeypatch) -> None:
    """Of what it does not use nothing is said."""
    project.write(test_a=TWO)
    project.record().assert_outcomes(passed=1)
    monkeypatch.setenv("LESS", "1")
    monkeypatch.setenv("FAIL", "1")

    result = project.run()

    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*not asked for*")


def test_unused_recordings_as_warnings(project, monkeypatch) -> None:
    """With warn the test passes, and the warning is shown; with ignore not even that."""
    project.write(test_a=TWO)
    project.record().assert_outcomes(passed=1)
    monkeypatch.setenv("LESS", "1")

    result = project.run("--respan-unused=warn", "-Wdefault")
    silent = project.run("--respan-unused=ignore", "-Wdefault")
    strict = project.run("--respan-unused=warn", "-Werror")

    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines([
        "*test_a.py:*: PytestWarning: respan cassette: 1 recorded call not asked for in *test_one.json.*"
    ])  # fmt: skip
    silent.assert_outcomes(passed=1, warnings=0)
    strict.assert_outcomes(passed=1, errors=1)


# -- what is saved


@pytest.mark.parametrize(
    "ending",
    [
        "assert False",
        "pytest.skip('later')",
        "pytest.xfail('known')",
        "request.addfinalizer(lambda: None); raise KeyError",
    ],
)
def test_only_a_test_that_passed_is_saved(project, ending) -> None:
    """What a red test has recorded may be what made it red."""
    project.write(
        test_a=f"""
        import pytest

        def test_one(ask, request, respan_cassette):
            ask("Hi")
            {ending}
        """
    )

    project.record()

    assert project.cassettes() == []


def test_what_cannot_be_redacted_is_not_saved(project) -> None:
    """A rule that finds what is too short to be replaced is an error of the teardown, in one line."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.respan_cassette(redact=[r"~ 1\\."])
        def test_one(ask):
            ask("Hi")

        def test_two(ask, respan_cassette):
            ask("Hi")
        """
    )

    result = project.record()

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["respan cassette: *"])
    assert project.cassettes() == ["cassettes/test_a/test_two.json"]
    assert "plugin_player.py" not in result.stdout.str()


def test_a_setup_that_fails_saves_nothing(project) -> None:
    """Calls of fixtures belong to the test."""
    project.write(
        test_a="""
        import pytest

        @pytest.fixture
        def broken(ask):
            ask("Hi")
            raise ValueError

        @pytest.mark.respan_cassette
        def test_one(broken): pass
        """
    )

    project.record().assert_outcomes(errors=1)

    assert project.cassettes() == []


def test_what_was_there_stays_if_a_test_fails(project, monkeypatch) -> None:
    """rewrite replaces a file only after a pass."""
    project.write(test_a=TWO)
    project.record().assert_outcomes(passed=1)
    before = (project.path / project.cassettes()[0]).read_bytes()
    monkeypatch.setenv("FAIL", "1")

    project.record("--respan-record=rewrite").assert_outcomes(failed=1)

    assert (project.path / project.cassettes()[0]).read_bytes() == before


def test_a_failure_around_a_wide_cassette(project) -> None:
    """One that serves several tests is saved if none of them failed."""
    project.write(
        test_a="""
        import pytest

        @pytest.fixture(scope="module", autouse=True)
        def served(respan_cassettes):
            with respan_cassettes("all"):
                yield

        def test_one(ask): ask("one")

        def test_two(ask): assert False
        """
    )

    project.record().assert_outcomes(passed=1, failed=1)

    assert project.cassettes() == []


@pytest.mark.parametrize(
    "text", ["not json", '{"respan_cassette": 1, "calls": [', '{"respan_cassette": 99, "calls": []}', ""]
)
def test_a_file_that_is_no_cassette(project, text) -> None:
    """One clear line, and the file is left as it is."""
    folder = project.path / "cassettes" / "test_a"
    folder.mkdir(parents=True)
    (folder / "test_one.json").write_text(text)
    project.write(test_a="def test_one(respan_cassette): pass")

    for args in ([], ["--respan-record=rewrite"]):
        result = project.run(*args)

        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["respan cassette: *test_one.json: *"])
        assert "Traceback" not in result.stdout.str()
        assert (folder / "test_one.json").read_text() == text


def test_a_recording_that_is_too_old(project) -> None:
    """max_age is an error of the test's setup."""
    project.write(test_a=ASKS)
    project.record().assert_outcomes(passed=1)
    path = project.path / project.cassettes()[0]
    import re

    path.write_text(re.sub(r"\d{4}-\d\d-\d\d", "2001-01-01", path.read_text(), count=1))

    result = project.run("-o", "respan_max_age=1y")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["respan cassette: *recorded * days ago, and max_age is 1y.*"])


# -- the line at the end


def test_a_run_without_cassettes_says_nothing(project) -> None:
    """No line, if there is nothing to say."""
    project.write(test_a="def test_one(): pass")

    result = project.run()

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("respan*")


def test_the_line_at_the_end(project) -> None:
    """It counts what was replayed, sent, left over and recorded in the whole run."""
    project.write(test_a=TWO, test_b=TWO)

    recorded = project.record()
    replayed = project.run()

    recorded.stdout.fnmatch_lines(["respan: 0 replayed, 4 live, 0 unused, 4 recorded"])
    replayed.stdout.fnmatch_lines(["respan: 4 replayed, 0 live, 0 unused*"])


def test_faults_are_neither_replayed_nor_live(project) -> None:
    """They come out of no file, and are counted by themselves."""
    project.write(
        test_a="""
        import openai
        import pytest

        @pytest.mark.respan_cassette(faults=[{"status": 401, "times": 2}])
        def test_one(ask):
            for _ in range(2):
                with pytest.raises(openai.AuthenticationError):
                    ask("Hi")

        @pytest.mark.respan_cassette(faults=[{"status": 503}])
        def test_two(ask):
            ask("Ho")
        """
    )

    project.record("--respan-record=once", "-k", "two").stdout.fnmatch_lines(
        ["respan: 0 replayed, 1 live, 0 unused, 1 recorded, 1 fault"]
    )
    project.run("-k", "two").stdout.fnmatch_lines(["respan: 1 replayed, 0 live, 0 unused, 1 fault"])
    project.run("-k", "one").stdout.fnmatch_lines(["respan: 0 replayed, 0 live, 0 unused, 2 faults"])
