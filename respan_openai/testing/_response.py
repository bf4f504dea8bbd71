"""An answer as a file keeps it, and back: what came in ``response``, and what broke off in ``error``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ._replay import FIELDS, replayed
from ._request import kept_pairs
from ._shapes import REPAIR, Misshapen, Shape, a_string, a_truth, a_whole_number, pairs
from .bodies import kept
from .recording import Answer, Failure


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._shapes import Check, Place
    from .bodies import Beside

    Fields = dict[str, Any]
    ReadFile = Callable[[str], bytes]


__all__ = ["ANSWER", "answer_in", "kept_answer"]


def kept_answer(answer: Answer, beside: Beside) -> Fields:
    """What a file says about *answer*."""
    failure = answer.failure
    response = {
        **({} if answer.status is None else {"status": answer.status}),
        **({"headers": kept_pairs(answer.headers)} if answer.headers else {}),
        **kept(answer.chunks, _content_type(answer), beside),
        **({} if answer.end == _usual_end(failure) else {"end": answer.end}),
    }
    error = {} if failure is None else {"error": _kept_failure(failure)}
    return {"response": response, **error} if response or not error else error


def _kept_failure(failure: Failure) -> Fields:
    return {"type": failure.type, "at": failure.at, **({"spent": True} if failure.spent else {})}


def _content_type(answer: Answer) -> str:
    return next((value for name, value in answer.headers if name == "content-type"), "")


def _usual_end(failure: Failure | None) -> str:
    return "eof" if failure is None else "failed"


def _a_status(value: Any, place: Place) -> int:
    if not 100 <= a_whole_number(value, place) <= 999:
        raise Misshapen(place, f"must be an HTTP status, from 100 to 999. {REPAIR}")
    return int(value)


_ENDS: Final = ("eof", "closed", "failed")


def _an_end(value: Any, place: Place) -> str:
    if value not in _ENDS:
        raise Misshapen(place, f"must be one of {', '.join(_ENDS)}. {REPAIR}")
    return str(value)


_FAILURE: Final = Shape({"type": a_string, "at": a_whole_number, "spent": a_truth}, "type", "at")

#: The checks of the keys that :func:`kept_answer` writes.
ANSWER: Final[Mapping[str, Check]] = {
    "response": Shape({"status": _a_status, "headers": pairs, **FIELDS, "end": _an_end}),
    "error": lambda value, place: Failure(**_FAILURE(value, place)),
}


def answer_in(fields: Fields, place: Place, read_file: ReadFile) -> Answer:
    """The answer that *fields* of a file, as :data:`ANSWER` returns them, stand for.

    Raises:
        Misshapen: if there is none, or its body does not fit together.
    """
    failure: Failure | None = fields.get("error")
    if "response" not in fields and failure is None:
        raise Misshapen(place, f'has neither "response" nor "error". {REPAIR}')
    response: Fields = fields.get("response", {})
    chunks = replayed(response, (place, "response"), read_file)
    end = response.get("end", _usual_end(failure))
    return Answer(response.get("status"), response.get("headers", ()), chunks, end, failure)
