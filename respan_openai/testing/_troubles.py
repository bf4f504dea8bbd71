"""What is told at the end of a test about its cassette, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import CassetteFileError


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ._seen import Seen
    from .match import Library
    from .recording import Recorded


__all__ = ["incomplete", "leftovers", "unreadable"]


def leftovers(unused: Sequence[Recorded], library: Library, path: Path) -> list[str]:
    """That the recordings *unused* of *library*, from the file *path*, were not asked for."""
    if not unused:
        return []
    asked = ", ".join(f"{each.question.method} {each.question.path}" for each in unused[:5])
    text = (
        f"{len(unused)} of {len(library)} recorded calls in {path.name} were not asked for: {asked}. "
        'Record anew with --respan-record=rewrite, or pass unused="ignore".'
    )
    return [text]


def unreadable(library: Library) -> list[str]:
    """What is wrong with recordings that were not asked for, and so not read."""
    texts: list[str] = []
    for held in library.holds():
        try:
            _ = held.recorded.answer
        except CassetteFileError as exc:
            texts.append(str(exc))
    return texts


def incomplete(unanswered: Iterable[Seen]) -> list[str]:
    """Why calls that have no answer keep a recording from being saved."""
    return [f"{seen} {_why(seen)}" for seen in unanswered]


def _why(seen: Seen) -> str:
    if seen.gone is None:
        return (
            "was still under way at the end, so that nothing is saved: a recording without it could not be "
            "played. Wait for its answer before the test is over."
        )
    return (
        f"ended with {type(seen.gone).__name__} before it was answered, which cannot be recorded, so that "
        'nothing is saved. Let it be answered, or let it fail by a fault, such as fault(timeout="read").'
    )
