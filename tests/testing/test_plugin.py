"""The plugin's surface: options, keys, the variable, markers, fixtures, and what its import brings along."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.testing.llm_server import Project


pytest_plugins = "pytester"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(pytester, monkeypatch)


def printed_by(code: str) -> str:
    """What *code* prints in a fresh interpreter."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.strip()


# -- its import


def test_its_import_brings_five_modules() -> None:
    """Who has it installed and does not use it pays for nothing: no SDK, no HTTP library, none of our machinery."""
    code = (
        "import sys, pytest; before = {*sys.modules}; import respan_openai.pytest_plugin;"
        "print(*sorted({*sys.modules} - before))"
    )

    assert printed_by(code).split() == [
        "respan_openai",
        "respan_openai.pytest_plugin",
        "respan_openai.testing",
        "respan_openai.testing.errors",
        "respan_openai.testing.plugin_settings",
    ]


def test_a_run_without_calls_brings_no_library(project) -> None:
    """A whole run with the plugin in it imports neither an SDK nor an HTTP library, and says nothing."""
    (project.path / "conftest.py").unlink()
    project.write(
        test_a="""
        import sys

        def test_modules():
            assert not {"openai", "httpx", "httpx2", "anyio", "wrapt"} & {*sys.modules}
        """
    )

    result = project.run("-p", "no:anyio", fresh=True)

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*respan*")


# -- what is said where


def mode_of(project: Project, *args: str, marker: str = "", config: str = "") -> str:
    """The mode of a cassette in a run with these arguments, this marker and this configuration fixture."""
    project.write(
        test_a=f"""
        import pytest
        {"@pytest.fixture" if config else ""}
        {f"def respan_cassette_config(): return {config}" if config else ""}
        {f"@pytest.mark.respan_cassette({marker})" if marker else ""}
        def test_mode(respan_cassette):
            print(f"<{{respan_cassette.mode}}>")
        """
    )
    result = project.run("-s", *args)
    result.assert_outcomes(passed=1)
    return result.stdout.str().partition("<")[2].partition(">")[0]


def test_the_default_mode_is_none(project) -> None:
    """Nothing is sent unless somebody says so."""
    assert mode_of(project) == "none"


@pytest.mark.parametrize("weakest", range(5))
def test_who_wins(project, monkeypatch, weakest) -> None:
    """Command line, environment, marker, fixture, file: each wins over all that come later."""
    command_line = ["--respan-record=verify"] if weakest < 1 else []
    if weakest < 2:
        monkeypatch.setenv("RESPAN_RECORD", "rewrite")
    marker = 'mode="new"' if weakest < 3 else ""
    config = '{"mode": "once"}' if weakest < 4 else ""
    project.ini("respan_record = off")

    found = mode_of(project, *command_line, marker=marker, config=config)

    assert found == ["verify", "rewrite", "new", "once", "off"][weakest]


@pytest.mark.parametrize(("alias", "mode"), [("new_episodes", "new"), ("all", "rewrite")])
def test_names_of_other_tools(project, alias, mode) -> None:
    """Modes may be called as vcrpy calls them."""
    assert mode_of(project, f"--respan-record={alias}") == mode


def test_all_keys_of_the_file(project) -> None:
    """Each key of the configuration file reaches the cassette."""
    project.ini(
        "respan_record = new",
        "respan_match_ignore =",
        "    metadata.run_id",
        "    messages[*].content ~ \\d+",
        "respan_redact =",
        "    metadata.customer",
        "respan_unused = ignore",
        "respan_max_age = 12w",
        "respan_timing = 0.5",
        "respan_retry_delay = recorded",
        "respan_cassette_dir = tapes",
    )
    project.write(
        test_a="""
        def test_options(respan_cassette):
            found = respan_cassette.options
            assert found.mode == "new"
            assert found.ignore == ["metadata.run_id", r"messages[*].content ~ \\d+"]
            assert found.redact == ["metadata.customer"]
            assert (found.unused, found.max_age, found.timing) == ("ignore", "12w", 0.5)
            assert found.retry_delay == "recorded"
            assert respan_cassette.path.parts[-3:] == ("tapes", "test_a", "test_options.json")
        """
    )

    project.run().assert_outcomes(passed=1)


def test_all_options_of_the_command_line(project) -> None:
    """Those that concern a cassette reach it, and win over the file."""
    project.ini("respan_unused = ignore", "respan_timing = recorded")
    project.write(
        test_a="""
        def test_options(respan_cassette):
            found = respan_cassette.options
            assert (found.mode, found.unused, found.timing) == ("verify", "warn", 2.0)
        """
    )

    project.run("--respan-record=verify", "--respan-unused=warn", "--respan-timing=2").assert_outcomes(
        passed=1
    )


def test_keys_do_not_set_anything_by_themselves(project) -> None:
    """Without any word, a cassette has its own defaults."""
    project.write(
        test_a="""
        from respan_openai.testing import Options

        def test_options(respan_cassette):
            assert respan_cassette.options == Options(extra=[])
        """
    )

    result = project.run()

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--respan-record=onec"], "*--respan-record: 'onec': expected one of none, once, new, *"),
        (["--respan-unused=maybe"], "*--respan-unused: 'maybe': expected one of error, warn, ignore*"),
        (["--respan-timing=fast"], "*--respan-timing: timing must be a number*"),
        (["--respan-timing=nan"], "*--respan-timing: timing must be a number*"),
        (["-o", "respan_max_age=old"], "*respan_max_age: max_age must be a number of days*"),
        (["-o", "respan_record=maybe"], "*respan_record: 'maybe': expected one of*"),
        (["--respan-orphans=keep"], "*--respan-orphans: invalid choice: 'keep'*"),
    ],
)
def test_values_that_are_not_accepted(project, args, line) -> None:
    """One line says which option has a wrong value, and no test runs."""
    project.write(test_a="def test_nothing(): pass")

    result = project.run(*args)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])
    assert "Traceback" not in result.stderr.str()


def test_a_wrong_value_in_the_environment(project, monkeypatch) -> None:
    """It is said where it stands."""
    monkeypatch.setenv("RESPAN_RECORD", "yes")
    project.write(test_a="def test_nothing(): pass")

    result = project.run()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the environment variable RESPAN_RECORD: 'yes': expected one of*"])


@pytest.mark.parametrize(
    ("marker", "line"),
    [
        ('unsued="error"', "respan cassette: 'unsued' is no option of a cassette; there are: *"),
        ('mode="maybe"', "respan cassette: mode='maybe': expected one of *"),
        ("7", "respan cassette: respan_cassette(...) takes names of cassettes, as texts; *"),
        ('"../other"', "respan cassette: '../other' is no name of a cassette: it must lie in *cassettes."),
        ('"/etc/passwd"', "respan cassette: '/etc/passwd' is no name of a cassette: *"),
        ('r"C:\\other"', "respan cassette: 'C:*other' is no name of a cassette: *"),
        ('""', "respan cassette: '' is no name of a cassette: *"),
        ('"mine", "missing"', "respan cassette: *missing.json: there is no such cassette.*"),
        ('faults=[{"status": 200}]', "respan cassette: *status*"),
        ('ignore=["a["]', "respan cassette: *"),
    ],
)
def test_markers_that_are_not_accepted(project, marker, line) -> None:
    """The test fails in its setup, with one line and without a traceback."""
    project.write(
        test_a=f"""
        import pytest

        @pytest.mark.respan_cassette({marker})
        def test_nothing(): pass
        """
    )

    result = project.run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([line])
    assert "Traceback" not in result.stdout.str()
    assert "plugin_run.py" not in result.stdout.str()


# -- CI


@pytest.mark.parametrize(
    ("truth", "mode"), [("true", "once"), ("1", "new"), ("drone", "rewrite"), ("yes", "all")]
)
def test_ci_refuses_to_record(project, monkeypatch, truth, mode) -> None:
    """What would be recorded there is seen by nobody, so the run does not start."""
    monkeypatch.setenv("CI", truth)
    project.write(test_a="def test_nothing(): pass")

    result = project.run(f"--respan-record={mode}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*this is CI*--respan-record-in-ci*"])


@pytest.mark.parametrize("truth", ["", "0", "false", "No", "OFF"])
def test_what_is_no_ci(project, monkeypatch, truth) -> None:
    """A variable that says no is a no."""
    monkeypatch.setenv("CI", truth)

    assert mode_of(project, "--respan-record=rewrite") == "rewrite"


def test_ci_records_if_it_is_told_twice(project, monkeypatch) -> None:
    """One option asks for recordings, the other says that they are wanted in CI."""
    monkeypatch.setenv("CI", "true")

    assert mode_of(project, "--respan-record=rewrite", "--respan-record-in-ci") == "rewrite"


@pytest.mark.parametrize("mode", ["verify", "off", "none"])
def test_ci_does_what_writes_nothing(project, monkeypatch, mode) -> None:
    """Only what writes files needs two words."""
    monkeypatch.setenv("CI", "true")

    assert mode_of(project, f"--respan-record={mode}") == mode


@pytest.mark.parametrize("where", ["file", "marker", "config"])
def test_habits_of_a_project_do_not_record_in_ci(project, monkeypatch, where) -> None:
    """A mode that suits people counts as none there: what is missing is an error, not a bill."""
    monkeypatch.setenv("CI", "true")
    project.ini("respan_record = once" if where == "file" else "")

    found = mode_of(
        project,
        marker='mode="new"' if where == "marker" else "",
        config='{"mode": "rewrite"}' if where == "config" else "",
    )

    assert found == "none"


# -- fixtures


def test_configurations_add_up(project) -> None:
    """A class, a module and a conftest each say a part; lists add up, and the closest wins otherwise."""
    project.write(
        test_a="""
        import pytest

        @pytest.fixture(scope="module")
        def respan_cassette_config():
            return {"ignore": ["module"], "unused": "warn"}

        class TestClass:
            @pytest.fixture
            def respan_cassette_config(self):
                return {"ignore": ("class",), "timing": 1}

            @pytest.mark.respan_cassette(ignore=["marker"])
            def test_all(self, respan_cassette, respan_cassette_config):
                found = respan_cassette.options
                assert list(found.ignore) == ["file", "conftest", "module", "class", "marker"]
                assert (found.unused, found.timing, found.max_age) == ("warn", 1, "9d")
                assert respan_cassette_config["ignore"] == ["conftest", "module", "class"]

        def test_without_the_class(respan_cassette):
            assert list(respan_cassette.options.ignore) == ["file", "conftest", "module"]
            assert respan_cassette.options.timing == 0
        """,
        conftest="""
        import pytest

        @pytest.fixture(scope="session")
        def respan_cassette_config():
            return {"ignore": ["conftest"], "unused": "ignore", "max_age": "9d"}
        """,
    )
    project.ini("respan_match_ignore = file")

    project.run().assert_outcomes(passed=2)


def test_a_configuration_that_asks_for_the_one_below(project) -> None:
    """Whoever merges by himself is not merged again."""
    project.write(
        test_a="""
        import pytest

        @pytest.fixture
        def respan_cassette_config(respan_cassette_config):
            return {"ignore": respan_cassette_config["ignore"][:1] + ["own"]}

        def test_options(respan_cassette):
            assert list(respan_cassette.options.ignore) == ["first", "own"]
            assert respan_cassette.options.unused == "error"
        """,
        conftest="""
        import pytest

        @pytest.fixture
        def respan_cassette_config():
            return {"ignore": ["first", "second"], "unused": "warn"}
        """,
    )

    project.run().assert_outcomes(passed=1)


def test_a_configuration_that_is_none(project) -> None:
    """It is said what it must be."""
    project.write(
        test_a="""
        import pytest

        @pytest.fixture
        def respan_cassette_config():
            return ["ignore"]

        def test_options(respan_cassette): pass
        """
    )

    result = project.run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["respan cassette: respan_cassette_config must return a dict of options, not list."]
    )


def test_a_configuration_that_fails(project) -> None:
    """Its own error is what is shown."""
    project.write(
        test_a="""
        import pytest

        @pytest.fixture
        def respan_cassette_config():
            raise ValueError("mine")

        def test_options(respan_cassette): pass
        """
    )

    result = project.run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E*ValueError: mine"])


@pytest.mark.parametrize(
    ("fixtures", "marker", "path"),
    [
        ("", "", "tests/cassettes/test_a/TestIt.test_path[x1].json"),
        ("", '@pytest.mark.respan_cassette("deep/mine")', "tests/cassettes/deep/mine.json"),
        ("", '@pytest.mark.respan_cassette("gpt-4.1")', "tests/cassettes/gpt-4.1.json"),
        ("", '@pytest.mark.respan_cassette("mine.json")', "tests/cassettes/mine.json"),
        ("def respan_cassette_name(): return 'named'", "", "tests/cassettes/named.json"),
        (
            "def respan_cassette_name(): return 'named'",
            '@pytest.mark.respan_cassette("marked")',
            "tests/cassettes/marked.json",
        ),
        ("def respan_cassette_dir(): return 'tapes'", "", "tests/tapes/test_a/TestIt.test_path[x1].json"),
        (
            "def respan_cassette_dir(tmp_path_factory): return tmp_path_factory.getbasetemp().parent / 'all'",
            "",
            "all/tests/test_a/TestIt.test_path[x1].json",
        ),
    ],
    ids=["test", "marker", "dots", "suffix", "name", "marker-and-name", "folder", "shared-folder"],
)
def test_where_a_cassette_lies(project, fixtures, marker, path) -> None:
    """Beside the test's file, after its name; a marker and two fixtures say otherwise."""
    (project.path / "tests").mkdir()
    (project.path / "tests" / "test_a.py").write_text(
        "import pytest\n"
        + (f"@pytest.fixture\n{fixtures}\n" if fixtures else "")
        + "class TestIt:\n"
        + (f"    {marker}\n" if marker else "")
        + "    @pytest.mark.parametrize('value', [1], ids=['x1'])\n"
        + "    def test_path(self, value, respan_cassette):\n"
        + f"        assert respan_cassette.path.as_posix().endswith({'/' + path!r})\n"
    )

    project.run().assert_outcomes(passed=1)


def test_a_marker_needs_no_fixture(project) -> None:
    """A test, a class or a module that has the marker has a cassette, whatever its arguments are."""
    project.write(
        test_a="""
        import unittest

        import pytest
        from respan_openai import _tapes

        @pytest.mark.respan_cassette
        def test_marked():
            assert len(_tapes.decks) == 1

        @pytest.mark.respan_cassette
        class TestCase(unittest.TestCase):
            def test_in_unittest(self):
                assert len(_tapes.decks) == 1

        def test_not_marked():
            assert not _tapes.decks
        """
    )

    project.run("--strict-markers").assert_outcomes(passed=3)


@pytest.mark.parametrize("is_auto", [True, False])
def test_cassettes_that_are_there_may_be_used_unasked(project, is_auto) -> None:
    """With respan_cassette_auto, a test that has a file uses it; one that has none goes without."""
    project.ini(f"respan_cassette_auto = {is_auto}", "respan_unused = ignore")
    project.write(
        test_a="""
        import pytest

        @pytest.mark.parametrize("name", ["with", "without"])
        def test_one(ask, name):
            ask("Hi")

        def test_explicit(ask, respan_cassette):
            pass
        """
    )
    project.write(
        test_b="""
        import pytest

        @pytest.mark.parametrize("name", ["with"])
        def test_one(ask, name, respan_cassette):
            ask("Hi")
        """
    )
    project.record("--respan-record=once", "test_b.py").assert_outcomes(passed=1)
    (project.path / "cassettes/test_b").rename(project.path / "cassettes/test_a")

    result = project.run("test_a.py", "-k", "with and not without")

    result.assert_outcomes(passed=int(is_auto), errors=int(not is_auto), deselected=2)


def test_the_options_are_in_the_help(project) -> None:
    """So are the keys, the marker and the fixtures, each with a text."""
    helped = project.run("--help").stdout.str()
    fixtures = project.run("--fixtures").stdout.str()
    markers = project.run("--markers").stdout.str()

    for option in ("record", "record-in-ci", "block-network", "allow-hosts", "unused", "orphans", "timing"):
        assert f"--respan-{option}" in helped
    for key in (
        "record",
        "cassette_dir",
        "cassette_auto",
        "cassette_hosts",
        "match_ignore",
        "redact",
        "unused",
    ):
        assert f"respan_{key} (" in helped
    for name in ("respan_cassette", "respan_cassettes", "respan_cassette_config", "respan_cassette_name"):
        assert f"\n{name} " in fixtures
    assert "no docstring available" not in fixtures.partition("respan_openai")[2]
    assert "@pytest.mark.respan_cassette(name, *extra, **options): " in markers


# -- keys


def test_clients_can_be_made_without_keys(project) -> None:
    """In mode none there are stand-ins while a test with a cassette runs, for fixtures of any scope, and then none."""
    project.write(
        test_a="""
        import os

        import pytest

        KEYS = "OPENAI_API_KEY", "RESPAN_API_KEY"

        def found():
            return [os.environ.get(key) for key in KEYS]

        @pytest.fixture(scope="session")
        def early():
            return found()

        def test_with(early, respan_cassette):
            assert all(early)
            assert early == found()
            assert len({*early}) == 2

        @pytest.mark.respan_cassette
        def test_marked():
            assert all(found())

        def test_without():
            assert found() == [None, None]

        def test_with_own(monkeypatch, respan_cassette):
            monkeypatch.setenv("OPENAI_API_KEY", "own")

        def test_afterwards():
            assert found() == [None, None]

        def test_in_a_block(respan_cassettes):
            with respan_cassettes("block"):
                assert all(found())
        """
    )

    project.run().assert_outcomes(passed=6)


def test_keys_that_there_are_stay(project, monkeypatch) -> None:
    """A stand-in is only for what is missing."""
    monkeypatch.setenv("OPENAI_API_KEY", "own-key")
    project.write(
        test_a="""
        import os

        def test_with(respan_cassette):
            assert os.environ["OPENAI_API_KEY"] == "own-key"
            assert os.environ["RESPAN_API_KEY"]
        """
    )

    project.run().assert_outcomes(passed=1)


def test_a_key_that_a_test_sets_stays(project) -> None:
    """What is not the stand-in any more is not taken away."""
    project.write(
        test_a="""
        import os

        def test_sets(respan_cassette):
            os.environ["OPENAI_API_KEY"] = "own-key"

        def test_afterwards():
            assert os.environ.pop("OPENAI_API_KEY") == "own-key"
            assert "RESPAN_API_KEY" not in os.environ
        """
    )

    project.run().assert_outcomes(passed=2)


def test_clients_of_cassettes_that_are_used_unasked(project) -> None:
    """Also for a test that uses a cassette because it is there, a fixture of the whole run finds keys."""
    project.ini("respan_cassette_auto = true")
    (project.path / "cassettes" / "test_a").mkdir(parents=True)
    (project.path / "cassettes" / "test_a" / "test_with.json").write_text(
        '{"respan_cassette": 1, "calls": []}'
    )
    project.write(
        test_a="""
        import os
        import pytest

        @pytest.fixture(scope="session")
        def key():
            return os.environ["OPENAI_API_KEY"]

        def test_with(key): pass

        def test_without():
            assert "OPENAI_API_KEY" not in os.environ
        """
    )

    project.run().assert_outcomes(passed=2)


def test_what_is_sent_never_has_a_stand_in(project) -> None:
    """In a mode that sends, a key that is missing is missing."""
    project.write(
        test_a="""
        import os

        import pytest

        @pytest.fixture
        def respan_cassette_config():
            return {"mode": "rewrite"}

        def test_by_fixture(respan_cassette):
            assert "OPENAI_API_KEY" not in os.environ
        """,
        test_b="""
        import os

        import pytest

        @pytest.mark.respan_cassette(mode="off")
        def test_by_marker():
            assert "RESPAN_API_KEY" not in os.environ
        """,
    )

    project.run().assert_outcomes(passed=2)
