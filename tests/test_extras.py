"""Packages of an extra: what is said where one is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from respan_openai._extras import needed
from respan_openai.exceptions import ConfigError, StoreError


if TYPE_CHECKING:
    from pathlib import Path


def test_a_package_that_is_not_there() -> None:
    """The error says what to install, and is of the kind that was asked for."""
    with pytest.raises(ConfigError, match=r"This needs it: pip install 'respan-openai\[cli\]'\."):
        needed("respan_no_such_package", "cli", "This needs it")
    with pytest.raises(StoreError):
        needed("respan_no_such_package.inner", "cli", "This needs it", StoreError)


def test_a_package_that_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, so to install it would help nobody: its own error says what it misses."""
    (tmp_path / "respan_broken_package.py").write_text("import respan_what_it_needs\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleNotFoundError, match="respan_what_it_needs"):
        needed("respan_broken_package", "cli", "This needs it")
