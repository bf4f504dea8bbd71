"""A question as a file keeps it, and back."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from ._shapes import (
    REPAIR,
    Misshapen,
    Shape,
    a_string,
    a_whole_number,
    an_object,
    anything,
    list_of,
    pairs,
)
from .recording import Json, Multipart, Part, Question, Raw


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._shapes import Check, Place
    from .recording import Body

    Fields = dict[str, Any]


__all__ = ["a_request", "kept_pairs", "kept_request"]


# -- to a file


def kept_request(question: Question) -> Fields:
    """What a file says about *question*."""
    return {
        "method": question.method,
        "path": question.path,
        **_given({"via": question.via, "deployment": question.deployment}),
        **({"query": kept_pairs(question.query)} if question.query else {}),
        **({"headers": kept_pairs(question.headers)} if question.headers else {}),
        **({"respan": dict(question.respan)} if question.respan else {}),
        **({} if question.body is None else _KEEPING[type(question.body)](question.body)),
    }


def kept_pairs(items: tuple[tuple[str, str], ...]) -> Any:
    """An object, or a list of pairs if a name comes twice."""
    fields = dict(items)
    return fields if len(fields) == len(items) else [list(item) for item in items]


def _given(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}


def _json(body: Json) -> Fields:
    return {"json": body.value}


def _multipart(body: Multipart) -> Fields:
    return {"multipart": [_part(part) for part in body.parts]}


def _part(part: Part) -> Fields:
    head = {"name": part.name, "filename": part.filename, "type": part.type}
    return _given({**head, **_content(part.text, part.sha256, part.size)})


def _raw(body: Raw) -> Fields:
    return {"raw": _given({"type": body.type, **_content(body.text, body.sha256, body.size)})}


def _content(text: str | None, digest: str, size: int) -> Fields:
    """What is known of a content; its digest and size can be told from a text."""
    derived = None if text is None else _digest(text)
    told = {} if derived == (digest, size) else {"sha256": digest, "bytes": size}
    return {"text": text, **told}


def _digest(text: str) -> tuple[str, int]:
    data = text.encode(errors="surrogatepass")
    return sha256(data).hexdigest(), len(data)


_KEEPING: Final[Mapping[Any, Callable[[Any], Fields]]] = {Json: _json, Multipart: _multipart, Raw: _raw}


# -- from a file


_CONTENT: Final[Mapping[str, Check]] = {
    "type": a_string,
    "text": a_string,
    "sha256": a_string,
    "bytes": a_whole_number,
}
_CONTENT_SHAPE: Final = Shape(_CONTENT)
_PART_SHAPE: Final = Shape({"name": a_string, "filename": a_string, **_CONTENT}, "name")


def _a_part(value: Any, place: Place) -> Part:
    fields = _PART_SHAPE(value, place)
    return Part(fields["name"], fields.get("filename"), *_a_content(fields, place))


def _a_raw_body(value: Any, place: Place) -> Raw:
    return Raw(*_a_content(_CONTENT_SHAPE(value, place), place))


def _a_content(fields: Fields, place: Place) -> tuple[str | None, str | None, str, int]:
    text = fields.get("text")
    if "sha256" in fields and "bytes" in fields:
        digest, size = fields["sha256"], fields["bytes"]
    elif text is None or "sha256" in fields or "bytes" in fields:
        raise Misshapen(place, f'must have a "text", or "sha256" and "bytes". {REPAIR}')
    else:
        digest, size = _digest(text)
    return fields.get("type"), text, digest, size


_a_multipart_body: Final = list_of(_a_part)

_SHAPE: Final = Shape(
    {
        "method": a_string,
        "path": a_string,
        "via": a_string,
        "deployment": a_string,
        "query": pairs,
        "headers": pairs,
        "respan": an_object,
        "json": anything,
        "multipart": _a_multipart_body,
        "raw": _a_raw_body,
    },
    "method",
    "path",
)
_BODIES: Final[Mapping[str, Callable[[Any], Body]]] = {
    "json": Json,
    "multipart": Multipart,
    "raw": lambda raw: raw,
}


def a_request(value: Any, place: Place) -> Question:
    """The check for what :func:`kept_request` returns; it returns the question.

    Raises:
        Misshapen: if it is none.
    """
    fields = _SHAPE(value, place)
    body: Body = None
    forms = _BODIES.keys() & fields
    if len(forms) > 1:
        raise Misshapen(place, f"has more than one of {', '.join(_BODIES)}. {REPAIR}")
    for form in forms:
        body = _BODIES[form](fields.pop(form))
    return Question(**fields, body=body)
