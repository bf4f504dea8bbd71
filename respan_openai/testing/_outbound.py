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
    header = _header_in(own.headers)
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


def _header_in(headers: Any) -> Callable[[str], str | None]:
    found = first_values(headers)

    def header(name: str) -> str | None:
        value = found.get(name.encode())
        return None if value is None else value.decode("latin-1")

    return header
