"""What is told at the end of a test about its cassette, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._core.plain import as_object
from ._shown import counted, printable, shown
from .errors import CassetteFileError
from .mismatch import block, command, line, summary
from .views import view


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ._seen import Seen
    from .match import Held, Library
    from .recording import Question


__all__ = ["incomplete", "leftovers", "unreadable"]


#: Recordings that are told one by one.
_MOST: Final = 5

#: Characters of what one of them says in the end.
_LONGEST: Final = 60


def leftovers(library: Library, path: Path, test: str | None) -> list[str]:
    """That recordings of *library*, from the file *path*, were not asked for: which, and what to do about it.

    It holds what they hold, which is what the file does. *test* is its node id; ``None`` without pytest.
    """
    unused = [held for held in library.holds() if not (held.source or held.is_used)]
    if not unused:
        return []
    verb = "was" if len(unused) == 1 else "were"
    lines = [
        f"{len(unused)} of {counted(len(library), 'recorded call')} {verb} not asked for",
        f"  {printable(str(path))}",
        *_named(unused, len(library)),
        f"  intended?   {command(test, str(path), 'rewrite')}",
        f"  allowed?    {_allowing(test, path)}",
    ]
    return ["\n".join(lines)]


def _named(unused: Sequence[Held], total: int) -> list[str]:
    lines = [_told(held, total) for held in unused[:_MOST]]
    return [*lines, f"  … and {len(unused) - _MOST} more"] if len(unused) > _MOST else lines


def _told(held: Held, total: int) -> str:
    question = held.recorded.question
    return line(
        f"  recorded call {held.number} of {total}  {summary(question)}  {_last_said(question)}".rstrip()
    )


def _last_said(question: Question) -> str:
    messages = view(question, None).messages
    content = as_object(messages[-1]).get("content") if messages else None
    return shown(content, _LONGEST) if content else ""


def _allowing(test: str | None, path: Path) -> str:
    if test is None:
        return block(str(path), "unused", "ignore")
    return '@pytest.mark.respan_cassette(unused="ignore"), or --respan-unused=ignore'


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


#: How asyncio and trio call it.
_CANCELLED: Final = frozenset({"CancelledError", "Cancelled"})


def _why(seen: Seen) -> str:
    if seen.gone is None:
        return (
            "was still under way at the end, so that nothing is saved: a recording without it could not be "
            "played. Wait for its answer before the test is over."
        )
    if type(seen.gone).__name__ in _CANCELLED:
        return (
            "was cancelled by the test before it was answered, so that there is nothing to record, and "
            "nothing is saved. It can be recorded if the test awaits it to its end."
        )
    return (
        f"ended with {type(seen.gone).__name__} before it was answered, which cannot be recorded, so that "
        'nothing is saved. Let it be answered, or let it fail by a fault, such as fault(timeout="read").'
    )
