"""The example ``test_with_cassette``: it passes as it lies there, offline and without a key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.testing.llm_server import Project


pytest_plugins = "pytester"

EXAMPLE = Path(__file__).parents[2] / "examples" / "test_with_cassette"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the example."""
    project = Project(pytester, monkeypatch)
    (project.path / "conftest.py").unlink()
    shutil.copytree(EXAMPLE, project.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return project


def test_it_passes_offline(project) -> None:
    """All of its recordings are used, none is missing, and nothing is sent."""
    result = project.run("--respan-block-network", "--respan-orphans=error", fresh=True)

    result.assert_outcomes(passed=4)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["respan: * replayed, 0 live, 0 unused*"])


def test_its_recordings_hold_no_key(project) -> None:
    """They look as what was recorded looks, and name nobody."""
    contents = [(project.path / name).read_text(encoding="utf-8") for name in project.cassettes()]

    assert len(contents) == 4
    assert all('"with": "openai ' in content for content in contents)
    assert not [content for content in contents if "sk-" in content or "Bearer" in content]
