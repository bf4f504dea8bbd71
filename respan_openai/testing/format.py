"""A cassette's file: a tape as JSON text that reads like a conversation, and back without losing a byte.

    {
     "respan_cassette": 1,
     "test": "tests/test_agent.py::test_refund",
     "recorded": "2026-11-21",
     "with": "openai 3.54.0, respan-openai 1.0.0",
     "calls": [
      {
       "request": {"method": "POST", "path": "/chat/completions", "json": {
        "model": "gpt-5.5",
        "messages": [{"role": "user", "content": "Where is my refund?"}]
       }},
       "response": {"status": 200, "headers": {"content-type": "application/json"}, "at": 412, "json": {
        …

1. Everything that is derived, or as usual, is left out. Questions are kept by ``_request``, the bodies of
   answers by ``bodies``; ``_marks`` has the few objects that stand for something else.
2. What is read is checked whole: an unknown key, another kind of value, a text that the events beside it do
   not say are errors that name the place. A file of a newer format is not looked into.
3. A file is data. Nothing in it is run, and the only other files that it may name lie in one folder beside
   it.
"""

from __future__ import annotations

import re
from functools import partial
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from ._marks import marked, parsed, too_deep
from ._printer import printed
from ._request import a_request, kept_request
from ._response import ANSWER, answer_in, kept_answer
from ._shapes import (
    REPAIR,
    ROOT,
    Misshapen,
    Shape,
    a_list,
    a_string,
    a_whole_number,
    anything,
    deepest,
    show,
)
from .bodies import Beside
from .errors import CassetteError, CassetteFileError
from .recording import Recorded, Tape


if TYPE_CHECKING:
    from collections.abc import Callable

    from ._shapes import Place
    from .recording import Answer

    Fields = dict[str, Any]
    ReadFile = Callable[[str], bytes]


__all__ = ["FORMAT", "MAX_BYTES", "MAX_DEPTH", "dumps", "loads"]


#: Of the files that are written, and the newest that is read. It changes with what a file may hold.
FORMAT: Final = 1

#: Size of the largest file that is read, in bytes.
MAX_BYTES: Final = 64 << 20

#: Levels that a file may be nested.
MAX_DEPTH: Final = 200


# -- to a file


def dumps(tape: Tape, files: dict[str, bytes], *, name: str) -> str:
    """The text of the file that holds *tape*.

    Args:
        tape: What was recorded.
        files: What lies beside the file is added to it: large bodies that are no text. Names are
            ``<name>.d/<n>.<ext>``, relative to the folder of the file; *n* is the number of the call, from 1.
        name: Of the file, without its suffix.

    Raises:
        CassetteError: if a question is nested deeper than can be read again.
        TypeError: if the JSON of a question holds anything that does not come from JSON text.
    """
    head = {"respan_cassette": FORMAT, "test": tape.test, "recorded": tape.recorded, "with": tape.by}
    calls = [_call(call, Beside(files, f"{name}.d", at)) for at, call in enumerate(tape.calls, 1)]
    fields = {**{key: value for key, value in head.items() if value is not None}, "calls": calls}
    _check_depth(fields)
    tree = marked(fields)
    _check_depth(tree)  # once more, because a mark may add levels
    return printed(tree)


def _check_depth(tree: Any) -> None:
    if place := deepest(tree, MAX_DEPTH):
        raise CassetteError(
            f"{show(place)}: is nested deeper than the {MAX_DEPTH} levels of a cassette. "
            "Record the test without this call."
        )


def _call(call: Recorded, beside: Beside) -> Fields:
    origin = {} if call.origin is None else {"origin": call.origin}
    return {**origin, "request": kept_request(call.question), **kept_answer(call.answer, beside)}


# -- from a file


def loads(text: str | bytes, read_file: ReadFile, *, path: str = "", at_once: bool = True) -> Tape:
    """The tape in a file.

    Args:
        text: Of the file. Whoever reads it should look at its size first: see :data:`MAX_BYTES`.
        read_file: Reads a file beside it, by its name as in :func:`dumps`: one folder and a name, never a way
            out.
        path: For errors.
        at_once: Whether answers are read now. Otherwise each is read, and checked, when somebody first asks
            for it: that is most of the work, and a test may play few of the calls in its file.

    Raises:
        CassetteFileError: if *text* is no cassette, has a newer format, is too large or nested too deep; if
            it holds anything that :func:`dumps` would not write; if a file beside it is missing, or not the
            one it was.
    """
    file = _File(path, read_file)
    try:
        tree = _tree(text)
        _check_format(tree)
        fields = _TAPE(tree, ROOT)
        calls = [_recorded(item, ((ROOT, "calls"), at), file) for at, item in enumerate(fields["calls"])]
    except Misshapen as exc:
        raise file.wrong(exc) from exc.__cause__
    if at_once:
        for call in calls:
            _ = call.answer
    return Tape(tuple(calls), fields.get("test"), fields.get("recorded"), fields.get("with"))


def _tree(text: str | bytes) -> Any:
    if len(text) > MAX_BYTES:
        raise Misshapen(ROOT, f"is larger than the {MAX_BYTES >> 20} MiB that are read. Split the test.")
    try:
        return _parsed(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Misshapen(ROOT, f"is no text in UTF-8. {_RECORD}") from None
    except RecursionError:
        raise Misshapen(ROOT, too_deep(MAX_DEPTH)) from None


_RECORD: Final = "Name another file, or record the test again."

#: How a file of ours begins, so that a newer one is not taken for a broken one.
_BEGINNING: Final = re.compile(r'\s*\{\s*"respan_cassette":\s*(\d{1,9})\b')


def _parsed(text: str) -> Any:
    if found := _BEGINNING.match(text):
        _refuse_newer(int(found[1]))
    try:
        return parsed(text, MAX_DEPTH)
    except JSONDecodeError as exc:
        _refuse_json(text, exc)
    except ValueError:
        raise Misshapen(ROOT, f"holds a number that is too long. {REPAIR}") from None


def _refuse_json(text: str, error: JSONDecodeError) -> NoReturn:
    if text.strip() and (error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")):
        raise Misshapen(
            ROOT, f"is cut off in line {error.lineno}. Restore it, or record the test again."
        ) from None
    where = f"line {error.lineno}, column {error.colno}"
    raise Misshapen(ROOT, f"is no JSON ({error.msg}, {where}). {_RECORD}") from None


def _check_format(tree: Any) -> None:
    if type(tree) is not dict or "respan_cassette" not in tree:
        raise Misshapen(ROOT, f"is JSON, but no cassette of respan-openai. {_RECORD}")
    place = (ROOT, "respan_cassette")
    number: int = a_whole_number(tree["respan_cassette"], place)
    _refuse_newer(number)
    if number < 1:
        raise Misshapen(place, f"is no format that there ever was. {REPAIR}")


def _refuse_newer(number: int) -> None:
    if number > FORMAT:
        raise Misshapen(
            ROOT,
            f"has format {number}, and this release reads formats up to {FORMAT}. "
            "Update respan-openai, or record the test again.",
        )


_CALL: Final = Shape({"origin": a_string, "request": a_request, **dict.fromkeys(ANSWER, anything)}, "request")
_ANSWER: Final = Shape(ANSWER)
_TAPE: Final = Shape(
    {
        "respan_cassette": a_whole_number,
        "test": a_string,
        "recorded": a_string,
        "with": a_string,
        "calls": a_list,
    },
    "calls",
)


class _File(NamedTuple):
    path: str
    read_beside: ReadFile

    def wrong(self, value: Misshapen) -> CassetteFileError:
        """The error that *value* is in this file."""
        return CassetteFileError(self.path, show(value.place), value.what)

    def answer(self, told: Fields, place: Place) -> Answer:
        try:
            return answer_in(_ANSWER(told, place), place, self.read_beside)
        except Misshapen as exc:
            raise self.wrong(exc) from exc.__cause__


def _recorded(value: Any, place: Place, file: _File) -> Recorded:
    fields = _CALL(value, place)
    question, origin = fields.pop("request"), fields.pop("origin", None)
    return Recorded(question, partial(file.answer, fields, place), origin)
