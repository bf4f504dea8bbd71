"""A request that is about to be sent, as a question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._families import first_values
from .errors import CassetteError
from .questions import question_of


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._tapes import Outbound
    from .recording import Question


__all__ = ["asked"]


def asked(outbound: Outbound, names: Sequence[str]) -> tuple[Question, int]:
    """What *outbound* asks, and how many times the SDK has sent the same before, as it says.

    *names* are those of the headers that are compared, in lower case.
    """
    own, call = outbound.own, outbound.call
    header = own.headers.get if call is None else _first_in(own.headers)
    target = own.url.raw_path if call is None else call.raw_path
    path, _, query = target.decode("latin-1").partition("?")
    question = question_of(
        own.method,
        path,
        query,
        header("content-type"),
        _content(own) if call is None or call.body is None else call.body,
        header=header,
        params=None if call is None else call.params and call.params.params,
        via=outbound.name,
        headers=names,
    )
    said = header("x-stainless-retry-count") or ""
    return question, int(said) if said.isdecimal() and len(said) < 9 else 0


def _content(request: Any) -> bytes:
    """The body of *request*; a multipart one is read, and sent from memory then."""
    if not hasattr(request.stream, "__iter__"):
        raise CassetteError(
            "The body of this request can only be awaited, and its client does not, so that nobody can tell what "
            "is asked. Use an AsyncClient, or hand in the body as bytes."
        )
    content: bytes = request.read()
    return content


def _first_in(headers: Any) -> Callable[[str], str | None]:
    """Gives the first of the values of a header, which is the one that the call is served by."""
    found = first_values(headers)

    def header(name: str) -> str | None:
        value = found.get(name.encode())
        # As keys are learnt: a secret read in another encoding would not be known for one.
        return None if value is None else value.decode("utf-8", "surrogateescape")

    return header
