"""What the command line, the environment and the configuration file say about cassettes.

From the strongest to the weakest: command line, environment, marker, fixture ``respan_cassette_config``,
configuration file. What is said twice is decided option by option; lists add up.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest

from .errors import CassetteError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .options import Options


__all__ = ["RECORDING", "Settings", "add_to"]


#: Modes that write a file.
RECORDING: Final = frozenset({"once", "new", "rewrite"})

_FLAGS: Final[dict[str, dict[str, Any]]] = {
    "--respan-record": {
        "metavar": "MODE",
        "help": "none (default): answer from cassettes alone. once: record those that are missing. new: record what is "
        "missing in them. rewrite: record anew. verify: send all, compare the shapes of answers. off: no cassettes.",
    },
    "--respan-record-in-ci": {
        "action": "store_true",
        "help": "let a mode that records do so where the environment variable CI is set",
    },
    "--respan-block-network": {
        "action": "store_true",
        "help": "refuse connections of tests to anything but this machine",
    },
    "--respan-allow-hosts": {
        "metavar": "GLOB,...",
        "action": "append",
        "default": [],
        "help": "hosts that --respan-block-network lets through",
    },
    "--respan-unused": {
        "metavar": "error|warn|ignore",
        "help": "what becomes of a passing test that does not use all of its recordings",
    },
    "--respan-orphans": {
        "choices": ("ignore", "warn", "error", "delete"),
        "default": "warn",
        "help": "what becomes of cassettes that no test used in a run of all tests",
    },
    "--respan-timing": {
        "metavar": "0|1|SPEED|recorded",
        "help": "how long replayed answers take, as a share of what they took; 0 (default): no time",
    },
    "--respan-cassette-report": {
        "metavar": "FILE",
        "help": "write there what a run of all tests has not used: for respan-openai cassettes prune",
    },
}

#: Name -> type, default, what it is.
_KEYS: Final[dict[str, tuple[Any, Any, str]]] = {
    "respan_record": ("string", "", "as --respan-record"),
    "respan_cassette_dir": (
        "string",
        "cassettes",
        "folder for cassettes; a relative one lies beside each test's file",
    ),
    "respan_cassette_auto": ("bool", False, "use a cassette for every test that has one"),
    "respan_cassette_hosts": (
        "args",
        ["api.openai.com", "*.openai.azure.com", "api.respan.ai", "openrouter.ai"],
        "hosts of models: while a cassette records they may be reached, past one that replays they may not",
    ),
    "respan_match_ignore": ("linelist", [], "places of requests that may differ, one in each line"),
    "respan_redact": ("linelist", [], "what else to keep out of cassettes, one in each line"),
    "respan_unused": ("string", "", "as --respan-unused"),
    "respan_max_age": ("string", "", "age from which a recording is too old, such as 90d"),
    "respan_timing": ("string", "", "as --respan-timing"),
    "respan_retry_delay": ("string", "", "skip (default), or recorded: keep the waits between attempts"),
    "respan_block_network": ("bool", False, "as --respan-block-network"),
}

#: Option of a cassette -> who says it.
_ON_COMMAND_LINE: Final = {
    "mode": "--respan-record",
    "unused": "--respan-unused",
    "timing": "--respan-timing",
}
_IN_ENVIRONMENT: Final = {"mode": "RESPAN_RECORD"}
_IN_FILE: Final = {
    "mode": "respan_record",
    "ignore": "respan_match_ignore",
    "redact": "respan_redact",
    "unused": "respan_unused",
    "max_age": "respan_max_age",
    "timing": "respan_timing",
    "retry_delay": "respan_retry_delay",
}

#: What the variable CI says where there is none.
_NOT_CI: Final = frozenset({"", "0", "false", "no", "off"})


def add_to(parser: pytest.Parser) -> None:
    """Let pytest accept the options and keys."""
    group = parser.getgroup("respan", "recorded calls of language models")
    for flag, settings in _FLAGS.items():
        group.addoption(flag, **settings)
    for name, (kind, default, text) in _KEYS.items():
        parser.addini(name, text, kind, default)


class Settings:
    """What is said for the whole run, checked.

    Attributes:
        folder: For cassettes: relative to the test's file, or absolute.
        is_auto: Whether a test that has a cassette uses it without being told.
        hosts: Which a cassette that records may reach.
        blocks_network: Whether tests reach only this machine...
        allowed: ...and these hosts.
        orphans: ``ignore``, ``warn``, ``error`` or ``delete``.
        report: Path of the report; empty for none.

    Raises:
        pytest.UsageError: if a value is not accepted, or recordings are asked for in CI without a word that they are
            wanted there.
    """

    def __init__(self, config: pytest.Config) -> None:
        key: Callable[[str], Any] = config.getini

        def option(flag: str) -> Any:
            return config.getoption(flag)

        self._file = _said(key, _IN_FILE, f"{config.inipath or 'the configuration'}: ")
        self._asked = {
            **_said(os.environ.get, _IN_ENVIRONMENT, "the environment variable "),
            **_said(option, _ON_COMMAND_LINE),
        }
        self.folder: str = key("respan_cassette_dir")
        self.is_auto: bool = key("respan_cassette_auto")
        self.hosts: list[str] = key("respan_cassette_hosts")
        self.blocks_network: bool = option("--respan-block-network") or key("respan_block_network")
        globs: list[str] = option("--respan-allow-hosts")
        self.allowed = [glob for each in globs for glob in each.split(",") if glob]
        self.orphans: str = option("--respan-orphans")
        self.report: str = option("--respan-cassette-report") or ""
        self._may_record = _may_record(config)
        self._refuse_in_ci(self._asked.get("mode"))

    def _refuse_in_ci(self, mode: str | None) -> None:
        if mode in RECORDING and not self._may_record:
            raise pytest.UsageError(
                f"the mode {mode} records, and this is CI, where nobody looks at what is recorded: "
                "record on your own machine and commit the files, or add --respan-record-in-ci."
            )

    def options(self, *layers: Mapping[str, Any]) -> Options:
        """What holds for a cassette; *layers* are the fixture's and the markers', the strongest last.

        A mode that records counts as ``none`` in CI: a missing recording is an error there, not a bill.

        Raises:
            CassetteError: if a value in *layers* is not accepted.
        """
        from dataclasses import replace

        from .options import Options

        options = Options.of(self._file, *layers, self._asked)
        is_refused = options.mode in RECORDING and not self._may_record
        return replace(options, mode="none") if is_refused else options


def _said(read: Callable[[str], Any], names: Mapping[str, str], where: str = "") -> dict[str, Any]:
    """What *read* has for those of *names* that it has something for, as options."""
    values = {option: read(name) for option, name in names.items()}
    return {
        option: _checked(option, _number(value) if option == "timing" else value, where + names[option])
        for option, value in values.items()
        if value
    }


def _checked(option: str, value: Any, where: str) -> Any:
    from .options import Options

    try:
        return getattr(Options.of({option: value}), option)
    except CassetteError as exc:
        text = str(exc).removeprefix(f"{option}=")  # *where* has the name
        raise pytest.UsageError(f"{where}: {text}") from None


def _number(text: str) -> float | str:
    with suppress(ValueError):
        return float(text)
    return text


def _may_record(config: pytest.Config) -> bool:
    is_ci = os.environ.get("CI", "").strip().lower() not in _NOT_CI
    return not is_ci or bool(config.getoption("--respan-record-in-ci"))
