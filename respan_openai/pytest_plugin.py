"""The pytest plugin: recorded calls as a fixture, a marker and options. What it does stands in ``testing``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from .testing import plugin_settings
from .testing.errors import CassetteError


if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from .testing import Cassette
    from .testing.plugin_run import Cassettes, Run


__all__ = [
    "respan_cassette",
    "respan_cassette_config",
    "respan_cassette_dir",
    "respan_cassette_name",
    "respan_cassettes",
]


_MARKER: Final = (
    "respan_cassette(name, *extra, **options): answer the calls of the test from the cassette name (by default "
    "one named after the test), then from the extra ones, which are only read; options as those of "
    "respan_openai.testing.Options."
)
_RUN: Final[pytest.StashKey[Run]] = pytest.StashKey()
_LINES: Final[pytest.StashKey[list[str]]] = pytest.StashKey()

#: Under this name a worker's ledger travels.
_LEDGER: Final = "respan_cassette"


# -- fixtures


@pytest.fixture
def respan_cassette(
    request: pytest.FixtureRequest,
    respan_cassette_config: Mapping[str, Any],
    respan_cassette_dir: str | Path,
    respan_cassette_name: str,
) -> Iterator[Cassette]:
    """The calls of the test: answered from its cassette, or recorded to it."""
    run, item = request.config.stash[_RUN], cast("pytest.Item", request.node)
    folder = item.path.parent / respan_cassette_dir
    cassette = run.begin(item, folder, respan_cassette_name, respan_cassette_config)
    yield cassette
    run.end(item, cassette)


@pytest.fixture(scope="session")
def respan_cassettes(pytestconfig: pytest.Config) -> Cassettes:
    """Cassettes for blocks in fixtures of any scope, or in tests.

    ``with respan_cassettes("setup/users"): ...`` uses ``cassettes/setup/users.json`` beside the file in which
    it stands. Around a ``yield`` it serves all tests meanwhile; then it is saved if none of them failed, and
    recordings that are left are no error. The fixture ``respan_cassette_config`` does not count: pass options.
    """
    from .testing.plugin_run import Cassettes

    return Cassettes(pytestconfig.stash[_RUN])


def _nothing() -> dict[str, Any]:
    """Options of all cassettes, to be overridden anywhere at any scope: what overrides others is added to them."""
    return {}


respan_cassette_config = pytest.fixture(scope="session", name="respan_cassette_config")(_nothing)


@pytest.fixture(scope="session")
def respan_cassette_dir(pytestconfig: pytest.Config) -> str | Path:
    """The folder for cassettes, to be overridden: a relative one lies beside each test's file."""
    return pytestconfig.stash[_RUN].settings.folder


@pytest.fixture
def respan_cassette_name(request: pytest.FixtureRequest, respan_cassette_dir: str | Path) -> str:
    """The name of the test's cassette in its folder, to be overridden; one that a marker gives comes first."""
    from .testing.plugin_places import default_name

    return default_name(request.node.nodeid, Path(respan_cassette_dir))


@pytest.fixture(autouse=True)
def _respan_cassette_unasked(request: pytest.FixtureRequest) -> None:  # pyright: ignore[reportUnusedFunction]
    """Use a cassette where a marker says so; with ``respan_cassette_auto`` also where there is one."""
    is_marked = request.node.get_closest_marker("respan_cassette") is not None
    if is_marked or (request.config.stash[_RUN].settings.is_auto and _has_cassette(request)):
        request.getfixturevalue("respan_cassette")


def _has_cassette(request: pytest.FixtureRequest) -> bool:
    from .testing.plugin_places import place

    folder = request.path.parent / request.getfixturevalue("respan_cassette_dir")
    return place(folder, request.getfixturevalue("respan_cassette_name")).exists()


# -- hooks


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options, and keys of the configuration file."""
    plugin_settings.add_to(parser)


def pytest_configure(config: pytest.Config) -> None:
    """The marker, and what is known about the run; settings that are not accepted end it here."""
    from .testing.plugin_run import Run

    config.addinivalue_line("markers", _MARKER)
    config.stash[_RUN] = Run(config)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Configurations add up."""
    if fixturedef.argname != "respan_cassette_config" or fixturedef.func is _nothing:
        return (yield)
    from .testing.plugin_config import added, below

    lower = below(fixturedef, request)
    yield
    try:
        return added(lower, fixturedef)
    except CassetteError as exc:
        pytest.fail(f"respan cassette: {exc}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Which files have tests that nobody knows."""
    report = yield
    ledger = collector.config.stash[_RUN].ledger
    if report.failed:
        ledger.partial.add("a file could not be collected")
    elif report.skipped:
        ledger.unread.add(collector.nodeid)
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Which tests there are, once others have left out some."""
    for item in items:
        config.stash[_RUN].collected(item)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Not all tests run."""
    for item in items[:1]:
        item.config.stash[_RUN].ledger.partial.add("tests were deselected")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """What holds while a test runs."""
    with item.config.stash[_RUN].around(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Whether the test passes, as all other plugins leave it."""
    report = yield
    item.config.stash[_RUN].saw(item, report)
    return report


# -- the end, here and in workers


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Add up; a worker sends what it has."""
    run = session.config.stash[_RUN]
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_LEDGER] = run.ledger.portable()
    elif run.ledger.is_in_use:
        from .testing.plugin_end import conclude

        session.config.stash[_LINES] = conclude(run, session, exitstatus)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker of pytest-xdist is over."""
    ledger = node.config.stash[_RUN].ledger
    if error is not None or _LEDGER not in getattr(node, "workeroutput", {}):
        ledger.partial.add("a worker crashed")
    else:
        ledger.merge(node.workeroutput[_LEDGER])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what the run did."""
    for line in config.stash.get(_LINES, list[str]()):
        terminalreporter.write_line(line)
