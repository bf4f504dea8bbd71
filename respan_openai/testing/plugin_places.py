"""What a test's markers ask for, and where its cassette lies."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .errors import CassetteError
from .names import SUFFIX, file_of, moved_from


if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    import pytest


__all__ = ["MARKER", "Asked", "asked", "default_name", "hint", "names_in", "place"]


MARKER: Final = "respan_cassette"


class Asked(NamedTuple):
    """By all markers of a test, its class's and its module's.

    Attributes:
        is_marked: Whether there is any.
        name: Of the cassette, as the closest of them has it; ``None`` if none has one.
        is_shared: Whether the name comes from a class, a module or a function with parameters, so that
            several tests use one file.
        extra: Names of further cassettes, which are only read; the closest marker's first.
        options: Of the cassette, the weakest first.
    """

    is_marked: bool
    name: str | None
    is_shared: bool
    extra: tuple[str, ...]
    options: tuple[Mapping[str, Any], ...]


def asked(item: pytest.Item) -> Asked:
    """What the markers of *item* say.

    Raises:
        CassetteError: if a name is none.
    """
    marks = [*item.iter_markers(MARKER)]
    named = next((mark for mark in marks if mark.args), None)
    if not all(isinstance(name, str) for mark in marks for name in mark.args):
        raise CassetteError(f"{MARKER}(...) takes names of cassettes, as texts; options have names.")
    return Asked(
        is_marked=bool(marks),
        name=None if named is None else named.args[0],
        is_shared=named is not None and _is_shared(item, named),
        extra=tuple(name for mark in marks for name in mark.args[1:]),
        options=tuple(mark.kwargs for mark in reversed(marks)),
    )


def _is_shared(item: pytest.Item, mark: pytest.Mark) -> bool:
    callspec: Any = getattr(item, "callspec", None)
    return mark not in item.own_markers or (callspec is not None and mark not in callspec.marks)


def names_in(item: pytest.Item) -> list[str]:
    """The name that a marker of *item* itself has for its cassette, without the suffix; or nothing."""
    marks = [mark for mark in item.own_markers if mark.name == MARKER and mark.args]
    return [str(mark.args[0]).removesuffix(SUFFIX) for mark in marks[:1]]


def place(folder: Path, name: str) -> Path:
    """The file of the cassette *name* in *folder*; the suffix may be left out.

    Raises:
        CassetteError: if it would lie elsewhere.
    """
    path = PureWindowsPath(name)  # which knows both kinds of slashes, drives and roots
    if not path.name or path.anchor or ".." in path.parts:
        raise CassetteError(f"{name!r} is no name of a cassette: it must lie in {folder}.")
    return folder / (name if name.endswith(SUFFIX) else name + SUFFIX)


def default_name(node_id: str, folder: Path) -> str:
    """The name of a test's own cassette in *folder*; one that is absolute has the folders of tests in it."""
    return file_of(node_id, Path(), nested=folder.is_absolute()).as_posix()


def hint(node_id: str, folder: Path, others: Container[str]) -> str:
    """What to do if the cassette lies under the name that another release of pytest gave the test; or nothing."""
    moved = moved_from(node_id, folder, taken=others)
    if moved is None:
        return ""
    return (
        f"\n  renamed?    {moved.path} was recorded as {moved.test}: "
        f'respan-openai cassettes mv "{moved.path}" "{node_id}"'
    )
