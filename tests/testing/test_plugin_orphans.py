"""What a run of all tests has not used: files that belong to no test, and recordings that nobody asked for."""

from __future__ import annotations

import json

import pytest

from respan_openai.testing.commands import main
from tests.testing.llm_server import Project


pytest_plugins = "pytester"

TESTS = """
import pytest

@pytest.mark.parametrize("text", ["one", "two"])
def test_some(ask, text, respan_cassette):
    ask(text)

def test_other(ask, respan_cassette):
    ask("three")
    ask("four")
"""

#: As after a change: a parameter and a call are gone.
FEWER = TESTS.replace(', "two"', "").replace('    ask("four")\n', "")

ORPHAN = "cassettes/test_a/test_some[[]two].json"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """With recordings of three tests."""
    project = Project(pytester, monkeypatch)
    project.write(test_a=TESTS)
    project.record().assert_outcomes(passed=3)
    project.ini("respan_unused = ignore")
    return project


def test_nothing_is_left_over(project) -> None:
    """Then nothing is said."""
    result = project.run()

    result.stdout.no_fnmatch_line("*belong*")


def test_a_file_of_no_test(project) -> None:
    """It is named, the run stays green, and the file stays."""
    project.write(test_a=FEWER)

    result = project.run()

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["respan: 1 cassette belongs to no test:", f"  {ORPHAN}", "*--respan-orphans=delete"]
    )
    assert len(project.cassettes()) == 3


def test_files_of_no_test(project) -> None:
    """Several are told as several."""
    project.write(test_a="def test_none(): pass")

    told, removed = project.run(), project.run("--respan-orphans=delete")

    told.stdout.fnmatch_lines(["respan: 3 cassettes belong to no test:"])
    removed.stdout.fnmatch_lines(["respan: 3 cassettes belonged to no test and were removed:"])


def test_orphans_ignored(project) -> None:
    """Not a word."""
    project.write(test_a=FEWER)

    project.run("--respan-orphans=ignore").stdout.no_fnmatch_line("*belong*")


def test_orphans_as_errors(project) -> None:
    """The tests have passed, and the run has not."""
    project.write(test_a=FEWER)

    result = project.run("--respan-orphans=error")

    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["respan: 1 cassette belongs to no test:"])


def test_orphans_removed(project) -> None:
    """With the files beside them, and nothing else."""
    beside = project.path / "cassettes/test_a/test_some[two].d"
    beside.mkdir()
    (beside / "1.mp3").write_bytes(b"x")
    (project.path / "cassettes/notes.json").write_text("{}")
    project.write(test_a=FEWER)

    result = project.run("--respan-orphans=delete")

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["respan: 1 cassette belonged to no test and was removed:", f"  {ORPHAN}"])
    assert project.cassettes() == [
        "cassettes/notes.json",
        "cassettes/test_a/test_other.json",
        "cassettes/test_a/test_some[one].json",
    ]


def test_an_orphan_that_cannot_be_removed(project) -> None:
    """It is said why, and the run is what it was."""
    (project.path / "cassettes/test_a/test_some[two].d/1.mp3").mkdir(parents=True)
    project.write(test_a=FEWER)

    result = project.run("--respan-orphans=delete")

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["  *test_some[[]two].json: cannot be removed (*)."])


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["-k", "other"], "-k was given"),
        (["-m", "not slow"], "-m was given"),
        (["--lf"], "--lf was given"),
        (["--deselect", "test_a.py::test_other"], "--deselect was given"),
        (["--ignore", "test_b.py"], "--ignore was given"),
        (["test_a.py"], "paths were given"),
        (["--maxfail=1", "-x"], "the run did not come to its end"),
    ],
)
def test_a_part_of_the_tests_tells_nothing(project, args, why) -> None:
    """Nothing is removed or blamed after such a run; who has asked for it is told why."""
    project.write(test_a=FEWER)
    if "-x" in args:
        project.write(test_b="raise ValueError")

    silent = project.run(*args)
    result = project.run(*args, "--respan-orphans=delete", "--respan-cassette-report=left.json")

    silent.stdout.no_fnmatch_line("*orphans*")
    silent.stdout.no_fnmatch_line("*belong*")
    result.stdout.fnmatch_lines([
        f"respan: left.json is not written and orphans are not looked for: not all tests were run ({why})."
    ])  # fmt: skip
    assert len(project.cassettes()) == 3
    assert not (project.path / "left.json").exists()


def test_a_plugin_that_leaves_tests_out(project) -> None:
    """Also by ways that the command line does not show."""
    project.write(test_a=FEWER)
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write("\n\ndef pytest_collection_modifyitems(config, items):\n")
        conftest.write("    config.hook.pytest_deselected(items=[items.pop()])\n")

    result = project.run("--respan-orphans=error")

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["respan: orphans are not looked for: *(tests were deselected)."])


def test_a_file_that_is_not_collected(project) -> None:
    """One that is broken makes the run a partial one; nobody knows its tests."""
    project.write(test_a=FEWER, test_b="raise ValueError")

    result = project.run("--respan-orphans=delete", "--continue-on-collection-errors")

    result.stdout.fnmatch_lines(["respan: orphans are not looked for: *(a file could not be collected)."])
    assert len(project.cassettes()) == 3


def test_a_folder_below(project) -> None:
    """Started there, pytest does not collect all tests, and a folder for cassettes may be that of others as well."""
    below = project.path / "below"
    below.mkdir()
    (below / "test_b.py").write_text("def test_b(): pass")
    (project.path / "cassettes").rename(below / "cassettes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(below)
        result = project.run("--respan-orphans=error")

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["respan: orphans are not looked for: *(it began in a folder below the project's)."]
    )


@pytest.mark.parametrize(
    "change",
    [
        "@pytest.mark.skip\n@pytest.mark.parametrize('text', ['two'])",
        "@pytest.mark.skipif(True, reason='')\n@pytest.mark.parametrize('text', ['two'])",
        "@pytest.mark.xfail(run=False)\n@pytest.mark.parametrize('text', ['two'])",
    ],
)
def test_tests_that_are_skipped_keep_their_files(project, change) -> None:
    """They are tests all the same."""
    project.write(test_a=TESTS.replace('@pytest.mark.parametrize("text", ["one", "two"])', change))

    result = project.run()

    result.stdout.fnmatch_lines(["respan: 1 cassette belongs to no test:", "  *test_some[[]one].json"])


def test_a_module_that_is_skipped_keeps_its_files(project) -> None:
    """Nobody knows which tests it has."""
    project.write(test_a="import pytest\npytest.importorskip('no_such_module')", test_b="def test_b(): pass")

    result = project.run()

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.no_fnmatch_line("*belong*")


def test_a_file_that_says_no_test(project) -> None:
    """A block's cassette, or one that was imported: it belongs to nobody if all tests passed without it."""
    path = project.path / "cassettes/test_a/test_some[two].json"
    path.write_text(path.read_text().replace('"test": "test_a.py::test_some[two]",', ""))
    project.write(test_a=FEWER + "\ndef test_skipped():\n    pytest.skip('may use it')")
    undecided = project.run()
    project.write(test_a=FEWER)

    decided = project.run()

    undecided.stdout.no_fnmatch_line("*belong*")
    decided.stdout.fnmatch_lines(["respan: 1 cassette belongs to no test:", f"  {ORPHAN}"])


def test_a_file_that_cannot_be_read(project) -> None:
    """It is not taken for an orphan, because nobody knows what it is."""
    (project.path / "cassettes/broken.json").write_text('{"respan_cassette": 1, "calls": [')

    project.run("--respan-orphans=delete").stdout.no_fnmatch_line("*belong*")

    assert (project.path / "cassettes/broken.json").exists()


# -- the report


def test_the_report(project) -> None:
    """It says which recordings and files nobody used; ``cassettes prune`` drops exactly these."""
    project.write(test_a=FEWER)

    result = project.run("--respan-cassette-report=out/left.json")

    result.stdout.fnmatch_lines(["respan: 1 unused recording and 1 file of no test: see out/left.json"])
    report = json.loads((project.path / "out/left.json").read_text())
    assert report["orphans"] == ["cassettes/test_a/test_some[two].json"]
    assert {path: each["calls"] for path, each in report["unused"].items()} == {
        "cassettes/test_a/test_other.json": [2]
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.path)
        assert main(["prune", "out/left.json"]) == 0
    again = project.run("--respan-unused=error", "--respan-orphans=error")
    assert again.ret == pytest.ExitCode.OK
    assert len(project.cassettes()) == 2


def test_a_recording_that_one_of_several_tests_uses(project) -> None:
    """What any of the tests that share a file uses is used; what a failed one would have used is unknown."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.respan_cassette("test_a/test_other")
        class TestShared:
            def test_three(self, ask): ask("three")

            def test_four(self, ask): ask("four")
        """
    )
    project.run("--respan-cassette-report=left.json").assert_outcomes(passed=2)
    used = json.loads((project.path / "left.json").read_text())["unused"]

    project.write(
        test_a="""
        import pytest

        @pytest.mark.respan_cassette("test_a/test_other")
        def test_fails(): assert False
        """
    )
    project.run("--respan-cassette-report=left.json").assert_outcomes(failed=1)
    unknown = json.loads((project.path / "left.json").read_text())["unused"]

    assert used == unknown == {}


def test_a_further_cassette_is_used(project) -> None:
    """A file that is only read belongs to the test that reads it, with all that is in it."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.respan_cassette("own", "test_a/test_other", "test_a/test_some[one]", "test_a/test_some[two]")
        def test_one(): pass
        """
    )

    result = project.run("--respan-cassette-report=left.json")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["respan: 0 unused recordings and 0 files of no test: *"])


def test_a_report_that_cannot_be_written(project) -> None:
    """One line, and the run is what it was."""
    (project.path / "left.json").mkdir()

    result = project.run("--respan-cassette-report=left.json")

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["respan: *left.json: cannot be written (*)."])


# -- several processes


def test_workers_add_up(project) -> None:
    """With pytest-xdist, each worker knows a part; the line, the orphans and the report are of all together."""
    pytest.importorskip("xdist")
    project.write(test_a=FEWER)

    result = project.run("-p", "xdist", "-n2", "--respan-cassette-report=left.json")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([
        "respan: 2 replayed, 0 live, 0 unused*",
        "respan: 1 cassette belongs to no test:",
        f"  {ORPHAN}",
        "respan: 1 unused recording and 1 file of no test: see left.json",
    ])  # fmt: skip


def test_a_worker_that_crashed(project) -> None:
    """What it has used nobody knows, so nothing is said about orphans."""
    pytest.importorskip("xdist")
    project.write(test_a=FEWER, test_b="import os\ndef test_crash(): os._exit(1)")

    result = project.run("-p", "xdist", "-n2", "--respan-orphans=delete")

    result.stdout.fnmatch_lines(["respan: orphans are not looked for: *(a worker crashed)."])
    assert len(project.cassettes()) == 3
