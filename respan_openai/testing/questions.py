"""From a request to a question: what was asked, without what depends on where it was sent."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from .._core.call import served_path
from ._contents import body_of
from ._gathered import Gathered, gathered
from .recording import Question


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


__all__ = ["question_of"]


def question_of(
    method: str,
    url_path: str,
    query: str,
    content_type: str | None,
    body: bytes,
    *,
    header: Callable[[str], str | None],
    params: Mapping[str, Any] | None = None,
    via: str | None = None,
    headers: Iterable[str] = (),
) -> Question:
    """The question that a request asks; the same one wherever and through whichever carriers it was sent.

    Raises nothing, whatever the request is. A body that cannot be read is compared byte for byte; only a path
    that the gateway serves can have the gateway's parameters in its body.

    Args:
        method: In any case.
        url_path: As sent, without origin and query. The base is dropped: ``/v1``, ``/api``,
            ``/api/openai/v1``, Azure's ``/openai/deployments/<name>``, and whatever else stands before
            ``/v<number>``.
        query: Without the question mark; Azure's ``api-version`` is dropped.
        content_type: The header's value.
        body: As sent.
        header: The value of a header by its lower-case name; ``None`` if it was not sent.
        params: The gateway's parameters that hold for the call without standing in it.
        via: Name of the target.
        headers: Names of the headers to compare.
    """
    method = method.upper()
    place = _place(method, url_path)
    content = body_of(content_type, body)
    found = (
        gathered(content, header, params) if place.is_served else Gathered(content, _outside(header, params))
    )
    return Question(
        method,
        place.path,
        _pairs(query),
        found.body,
        found.respan,
        via,
        place.deployment,
        _kept(headers, header),
    )


def _outside(header: Callable[[str], str | None], params: Mapping[str, Any] | None) -> dict[str, Any]:
    return gathered(None, header, params).respan


# -- where


class _Place(NamedTuple):
    path: str
    deployment: str | None
    is_served: bool


_DEPLOYMENT: Final = re.compile(r"/openai/deployments/([^/]+)(?=/)")
_BASE: Final = re.compile(r"^(?:/[^/]+)*?/v\d+(?=/)|^/(?:api|openai)(?=/)")


@lru_cache(maxsize=256)
def _place(method: str, url_path: str) -> _Place:
    azure = _DEPLOYMENT.search(url_path)
    served = served_path(method, url_path.encode("utf-8", "replace"))
    path = served or (url_path[azure.end() :] if azure else _BASE.sub("", url_path))
    return _Place(path, unquote(azure[1]) if azure else None, served is not None)


def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    if not query:
        return ()
    pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    return tuple(sorted(pair for pair in pairs if pair[0] != "api-version"))


def _kept(names: Iterable[str], header: Callable[[str], str | None]) -> tuple[tuple[str, str], ...]:
    if not names:
        return ()
    found = ((name, header(name)) for name in {name.lower() for name in names})
    return tuple(sorted((name, value) for name, value in found if value is not None))
