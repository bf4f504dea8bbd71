"""A request that is about to be sent, as a question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import CassetteError
from .questions import question_of


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .recording import Question


__all__ = ["asked", "repeats_of"]


def asked(request: Any, call: Any, name: str | None, headers: Sequence[str]) -> Question:
    """What *request* asks, which goes to the target *name* for *call* (see ``_tapes.Deck``).

    *headers* are the names of those that are compared, in lower case.
    """
    if call is None:
        url, params, body = request.url, None, _content(request)
    else:
        url, params = call.url, call.params and call.params.params
        body = _content(request) if call.body is None else call.body
    header = request.headers.get if call is None else _headers_of(call)
    path, _, query = _target_of(url).partition("?")
    return question_of(
        request.method,
        path,
        query,
        header("content-type"),
        body,
        header=header,
        params=params,
        via=name,
        headers=headers,
    )


def repeats_of(request: Any) -> int:
    """How many times the SDK has sent the same before, as it says."""
    said = request.headers.get("x-stainless-retry-count", "0")
    return int(said) if said.isdecimal() and len(said) < 9 else 0


def _content(request: Any) -> bytes:
    """The body of *request*; a multipart one is read, and sent from memory then."""
    if not hasattr(request.stream, "__iter__"):
        raise CassetteError(
            "The body of this request can only be awaited, and its client does not, so that nobody can tell what "
            "is asked. Use an AsyncClient, or hand in the body as bytes."
        )
    content: bytes = request.read()
    return content


def _headers_of(call: Any) -> Callable[[str], str | None]:
    """Gives the first value of each header of *call* by its name in lower case."""
    names, values = zip(*reversed(call.headers), strict=True) if call.headers else ((), ())
    found = dict(zip(map(bytes.lower, names), values, strict=True))

    def header(name: str) -> str | None:
        value = found.get(name.encode())
        return None if value is None else value.decode("latin-1")

    return header


def _target_of(url: Any) -> str:
    """Path and query of a URL that is a library's own, or a text."""
    raw = getattr(url, "raw_path", None)
    if raw is not None:
        target: str = raw.decode("latin-1")
        return target
    return "/" + str(url).partition("://")[2].partition("/")[2]
