"""The public names: complete, sorted, documented, and where they are said to be."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import pytest

import respan_openai


def test_names_are_unique_and_exist() -> None:
    """``__all__`` is what ``dir()`` shows, and each name can be had."""
    assert len(respan_openai.__all__) == len(set(respan_openai.__all__))
    assert set(respan_openai.__all__) <= set(dir(respan_openai))
    assert respan_openai.params is not respan_openai.wrap


def test_unknown_names_fail_as_usual() -> None:
    """An AttributeError, so that hasattr() and imports behave."""
    assert not hasattr(respan_openai, "wrapp")
    with pytest.raises(ImportError):
        from respan_openai import wrapp  # noqa: F401


@pytest.mark.parametrize("name", respan_openai.__all__)
def test_each_is_documented(name) -> None:
    """Classes and functions have docstrings of their own, and so have their public methods."""
    thing = getattr(respan_openai, name)

    assert inspect.getdoc(thing)
    for member, value in vars(thing).items() if inspect.isclass(thing) else ():
        if not member.startswith("_") and inspect.isfunction(value):
            assert value.__doc__, f"{name}.{member}"


def test_the_version_is_the_package_s() -> None:
    """One source: the metadata of what is installed."""
    assert respan_openai.__version__ == version("respan-openai")
