"""What is said about a request that no recording answers: what differs, and what to do about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._core.plain import is_object
from ._sender import sent_from
from ._shown import clipped, counted, printable
from .recording import Json, Multipart


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ._edits import Work
    from .closest import Closest
    from .difference import Difference
    from .match import Held, Miss
    from .recording import Question


__all__ = [
    "MOST_LINES",
    "WIDTH",
    "CassetteMismatch",
    "block",
    "command",
    "describe",
    "line",
    "sent_from",
    "summary",
]


MOST_LINES: Final = 60
"""Lines of a message."""

WIDTH: Final = 110
"""Characters of a line. Only a path, a command or a rule, which are there to be copied, is never cut."""

#: Lines for all differences together, and characters for one.
_MOST_FOR_DIFFERENCES: Final = 44
_LONGEST_DIFFERENCE: Final = 260


class CassetteMismatch(BaseException):
    """A request that no recording answers; its text is what :func:`describe` says.

    Not an ``Exception``: the SDK would take it for a failed connection and send the request again, and an
    ``except Exception`` in the code under test would hide that it asked something else.
    """


class _Case(NamedTuple):
    """What is said for one reason of a miss."""

    headline: str
    advice: str
    mode: str


_CASES: Final[Mapping[str, _Case]] = {
    "no file": _Case("there is no recording yet, and {call} needs one", "to record", "once"),
    "empty": _Case("the cassette holds no calls, and {call} needs one", "to record", "rewrite"),
    "path": _Case("nothing is recorded for {place}, which is {call}", "to add it", "new"),
    "differs": _Case("no recorded call matches {call}", "intended?", "rewrite"),
    "used up": _Case("{call} is asked {asked}, but recorded {recorded}", "to add it", "new"),
    "order": _Case("{call} is out of order: it is recorded for later", "intended?", "rewrite"),
}


def describe(
    miss: Miss,
    question: Question,
    *,
    test: str | None,
    file: str,
    number: int,
    sent_from: str | None,
    mode: str,
    exists: bool = True,
) -> str:
    """The message for *miss*: at most ``MOST_LINES`` lines, the last of which are to be copied.

    It holds what *question* holds, so secrets must be out of that; what does not print is escaped.

    Args:
        miss: Why nothing answers.
        question: As it was compared.
        test: Node id of the test; ``None`` without pytest.
        file: Path of the cassette.
        number: Of the call in this test, counted from 1.
        sent_from: As :func:`sent_from` has it.
        mode: The mode that the cassette is in.
        exists: Whether the file does.
    """
    from .closest import closest

    case = _CASES[miss.reason if exists or miss.reason != "empty" else "no file"]
    call = f"call #{number}" + (" of this test" if test else "")
    headline = case.headline.format(
        call=call,
        place=_place(question),
        asked=counted(miss.asked, "time"),
        recorded=counted(miss.recorded, "time"),
    )
    near = closest(miss, question)
    return "\n".join([
        *_beside(f"respan cassette: {headline}", printable(file)),
        *_beside(f"  {summary(question)}", f"sent from {printable(sent_from)}" if sent_from else ""),
        *_nearest(miss, near),
        line(f"  {_state(miss, near, mode)}"),
        *_advice(case, near, test, file),
    ])  # fmt: skip


def line(text: str) -> str:
    """*text* as a line of a message: printable, and cut if it is too long."""
    text = printable(text)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _beside(text: str, aside: str) -> list[str]:
    """*aside* at the end of the line if it fits, else in a line of its own."""
    text = line(text)
    if len(text) + len(aside) + 2 > WIDTH:
        return [text, f"  {aside}"]
    return [f"{text}{aside:>{WIDTH - len(text)}}" if aside else text]


def summary(question: Question) -> str:
    """The request, its model, and whether it streams: all but what it says."""
    fields = _fields(question)
    model = [f"model={fields['model']}"] if isinstance(fields.get("model"), str) else []
    stream = ["stream"] if fields.get("stream") in (True, "true") else []  # not a set: it may be a list
    return "  ".join([_place(question), *model, *stream])


def _fields(question: Question) -> Mapping[str, Any]:
    body = question.body
    if isinstance(body, Multipart):
        return {part.name: part.text for part in body.parts}
    return body.value if isinstance(body, Json) and is_object(body.value) else {}


# -- what is near, and what is left


def _nearest(miss: Miss, near: Closest | None) -> Iterator[str]:
    if near is None:
        return
    name = f"{'expected now' if miss.expected else 'closest'}: {_name(miss, near.held)}"
    if near.is_elsewhere:
        yield line(f"  {name}, {_place(near.held.recorded.question)}")
        return
    used = "already used" if near.held.is_used else "not yet used"
    count = len(near.differences)
    told = counted(count, "difference") if count else "no difference"
    yield line(f"  {name}, {used} ({int(near.likeness * 100)} % alike); {told}")
    yield from _told(near.differences)


def _name(miss: Miss, held: Held) -> str:
    total = sum(other.source == held.source for other in miss.library.holds())
    where = f" of further cassette {held.source}" if held.source else ""
    return f"recorded call {held.number} of {total}{where}"


def _told(differences: Sequence[Difference]) -> list[str]:
    from ._edits import Work

    lines, work = list[str](), Work()
    column = min(max((len(each.path) for each in differences), default=0), 24)
    for at, difference in enumerate(differences):
        more = _wrapped(difference, column, work)
        if len(lines) + len(more) > _MOST_FOR_DIFFERENCES:
            return [*lines, f"    … and {len(differences) - at} more"]
        lines += more
    return lines


def _wrapped(difference: Difference, column: int, work: Work) -> list[str]:
    import textwrap

    from .difference import text_of

    text = text_of(difference, work)
    short = text if len(text) <= _LONGEST_DIFFERENCE else f"{text[:_LONGEST_DIFFERENCE]} […]"
    path = f"    {clipped(printable(difference.path), 80):<{column}}  "
    whole = f"{short}  {difference.note}".rstrip()
    return textwrap.wrap(
        whole, WIDTH, initial_indent=path, subsequent_indent=" " * 8, break_on_hyphens=False
    ) or [path]


def _state(miss: Miss, near: Closest | None, mode: str) -> str:
    library = miss.library
    left = [held for held in library.holds() if not (held.source or held.is_used)]
    others = [held for held in left if near is None or held.number != near.held.number]
    names = [f"call {held.number}  {_place(held.recorded.question)}" for held in others[:3]]
    also = f".   also recorded, unused: {', '.join(names)}" if names else ""
    return f"mode {mode}.   used so far: {len(library) - len(left)}/{len(library)}{also}"


def _place(question: Question) -> str:
    return f"{question.method} {question.path}"


# -- what to do


def _advice(case: _Case, near: Closest | None, test: str | None, file: str) -> Iterator[str]:
    yield f"  {case.advice:<10}  {command(test, file, case.mode)}"
    from ._noise import suggested

    rules = suggested(near.differences) if near and not near.is_elsewhere else []
    if rules:
        yield f"  {'noise?':<10}  ignore = {json.dumps(rules, ensure_ascii=not ''.join(rules).isprintable())}"


def command(test: str | None, file: str, mode: str) -> str:
    """What records in *mode*: pytest for that *test*, or without one the cassette of *file*."""
    if test is None:
        return block(file, "mode", mode)
    import shlex

    quoted = shlex.quote(test) if set(test) & set('"$`\\!') else f'"{test}"'
    return printable(f"pytest {quoted} --respan-record={mode}")


def block(file: str, option: str, value: str) -> str:
    """The cassette of *file* with an *option*, for a ``with`` block."""
    return printable(f"cassette({json.dumps(file, ensure_ascii=False)}, {option}={json.dumps(value)})")
