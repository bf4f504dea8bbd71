"""The gateway's parameters, out of whichever carrier brought them.

1. The top level of the body wins over ``respan_params``, that over ``keywordsai_params``, that over the
   headers, and those over what holds for the call without standing in it; ``variables`` alone merge inside
   (reference 000-003).
2. What cannot be read stays in sight, as it came: a container in the body, a header under its own name.
3. A name that is OpenAI's too stays in the body if its value has OpenAI's form, and then no lower carrier has
   a say.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._core.plain import is_list, is_object
from ._plain import is_deep
from .recording import Json, Multipart


if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from .recording import Body, Part


__all__ = ["Gathered", "gathered"]


class Gathered(NamedTuple):
    """A body without the gateway's parameters, and these."""

    body: Body
    respan: dict[str, Any]


def gathered(body: Body, header: Callable[[str], str | None], params: Mapping[str, Any] | None) -> Gathered:
    """Part *body* from the parameters in it, which are joined with those of the headers and with *params*.

    Names are today's ones; a parameter that is ``None`` counts as not given. Values are not checked.
    """
    words = _words()
    fields = _fields_of(body)
    if params is None and words.all_names.isdisjoint(fields) and {*map(header, words.carriers)} == {None}:
        return Gathered(body, {})
    top = {name: value for name, value in fields.items() if name in words.names and _is_ours(name, value)}
    inner = {name: fields[name] for name in words.containers if is_object(fields.get(name))}
    lower = [inner[name] for name in reversed(words.containers) if name in inner]
    layers = [*filter(None, (params, *_carried(header), *lower, top))]
    respan = words.merge(*map(_settled, layers)) if layers else {}
    left = _without(body, top.keys() | inner.keys())
    stay = _fields_of(left)
    return Gathered(left, {name: value for name, value in respan.items() if name not in stay})


class _Words(NamedTuple):
    all_names: frozenset[str]
    names: Container[str]
    containers: Sequence[str]
    carriers: Sequence[str]
    legacy: Mapping[str, str]
    merge: Callable[..., dict[str, Any]]


@cache
def _words() -> _Words:
    # Late, because they bring the SDK along; kept, because to look for a module costs as much as a merge.
    from .._params import FIELDS, LEGACY, NAMES
    from .._wire import CARRIERS, CONTAINERS, merge

    return _Words(FIELDS, NAMES, CONTAINERS, CARRIERS, LEGACY, merge)


def _fields_of(body: Body) -> dict[str, Any]:
    if isinstance(body, Json):
        return body.value if is_object(body.value) else {}
    return _texts(body.parts) if isinstance(body, Multipart) else {}


def _texts(parts: Sequence[Part]) -> dict[str, str]:
    names = [part.name for part in parts]
    return {part.name: part.text for part in parts if part.text is not None and names.count(part.name) == 1}


def _without(body: Body, names: set[str]) -> Body:
    if not names or body is None:
        return body
    if isinstance(body, Multipart):
        return Multipart(tuple(part for part in body.parts if part.name not in names))
    return Json({name: value for name, value in _fields_of(body).items() if name not in names})


def _carried(header: Callable[[str], str | None]) -> list[dict[str, Any]]:
    found = ((name, header(name)) for name in reversed(_words().carriers))
    return [_decoded(name, value) for name, value in found if value is not None]


def _decoded(name: str, value: str) -> dict[str, Any]:
    try:
        params = json.loads(base64.b64decode(value, validate=True).decode())
    except (ValueError, RecursionError):
        params = None
    return params if is_object(params) and not is_deep(params) else {name: value}


def _settled(layer: Mapping[str, Any]) -> dict[str, Any]:
    legacy = _words().legacy
    given = {name: value for name, value in layer.items() if value is not None}
    old = {legacy[name]: value for name, value in given.items() if name in legacy}
    return {**old, **{name: value for name, value in given.items() if name not in legacy}}


# -- names with two meanings


def _is_ours(name: str, value: Any) -> bool:
    return name not in _IS_OPENAIS or not _IS_OPENAIS[name](value)


def _is_metadata(value: Any) -> bool:
    # 16 pairs, 64 and 512 characters: openai/types/shared/metadata.py
    return not is_object(value) or (len(value) <= 16 and all(_is_pair(*pair) for pair in value.items()))


def _is_pair(key: str, text: Any) -> bool:
    return len(key) <= 64 and isinstance(text, str) and len(text) <= 512


def _is_prompt(value: Any) -> bool:
    return not is_object(value) or ("id" in value and "prompt_id" not in value)


_IS_OPENAIS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "echo": lambda _: True,
    "metadata": _is_metadata,
    "models": lambda value: not is_list(value),
    "prompt": _is_prompt,
}
