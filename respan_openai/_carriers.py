"""Each parameter in exactly one place on the wire.

The gateway reads three carriers and lets the top level of the body win over ``respan_params``, and that
over the header (reference 003, "Merge order"). Newer clients document another order, so a key that is
sent twice may mean two things; here the lower carrier loses it before anything is sent.

What the user wrote into a call stays where it was. What comes from ``params(...)`` or ``defaults`` goes
into the header while that fits, because then a body of any size is neither parsed nor copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ._core.call import dump_object, holds, parse_object
from ._core.values import Value
from ._wire import CONTAINERS, HEADER_LIMIT, encode_header, merge
from .exceptions import ParamsError


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_CONTAINER = CONTAINERS[0]
#: The end of both containers' names, so one search finds either.
CONTAINER_NEEDLE = b'_params"'


class Ambient:
    """Parameters that hold for a call without standing in it, with what can be prepared for many calls."""

    __slots__ = ("_header", "_needles", "params")

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params
        self._header: str | bool | None = False  # False: not asked for yet
        self._needles = tuple(b'"%s"' % name.encode() for name in params)

    def header(self) -> str | None:
        """The header carrier's value; ``None`` if it would be larger than the header may be."""
        if self._header is False:
            self._header = encode_header(self.params)
        return self._header  # type: ignore[return-value]

    def may_meet(self, body: bytes) -> bool:
        """Whether *body* names one of these parameters, or a container that could; never wrongly False."""
        return any(holds(body, needle) for needle in self._needles)

    def under(self, inner: Ambient | None) -> Ambient:
        """These, overridden key by key by *inner*."""
        return self if inner is None else Ambient(merge(self.params, inner.params))


class Placed(Value):
    """Where the parameters go: the header's value, and the new body; ``None`` leaves either out or alone."""

    def __init__(self, header: str | None, body: bytes | None) -> None:
        self.header = header
        self.body = body


_UNTOUCHED = Placed(None, None)


def place(ambient: Ambient | None, body: bytes | None, headers: Sequence[str]) -> Placed:
    """Find the place of each parameter of one call.

    Args:
        ambient: From ``params(...)`` and ``defaults``.
        body: The JSON body; ``None`` for multipart and GET, which have no room but the header.
        headers: Header carriers that the user set on the call himself, current and legacy.

    Raises:
        ParamsError: if a carrier cannot be read, or parameters have no place that is large enough.
    """
    if headers:
        from ._params import decode_header  # few calls bring a header of their own

        explicit = merge(*(decode_header(value) for value in headers))
        ambient = Ambient(explicit) if ambient is None else ambient.under(Ambient(explicit))
    if body is not None:
        if not holds(body, CONTAINER_NEEDLE) and (ambient is None or not ambient.may_meet(body)):
            return _UNTOUCHED if ambient is None else _place_beside(ambient, body)
        if parsed := parse_object(body):
            return _place_among(ambient, parsed)
    return _UNTOUCHED if ambient is None else Placed(_header_only(ambient), None)


def _header_only(ambient: Ambient) -> str:
    value = ambient.header()
    if value is None:
        names = ", ".join(f"`{name}`" for name in sorted(ambient.params))
        raise ParamsError(
            f"{names}: together larger than {HEADER_LIMIT} bytes of base64, and a call without a JSON body has "
            "no place for them but a header. Shorten them for this call.",
            param=next(iter(ambient.params)),
        )
    return value


def _place_beside(ambient: Ambient, body: bytes) -> Placed:
    header = ambient.header()
    if header is not None:
        return Placed(header, None)
    trimmed = body.strip()
    if trimmed[:1] != b"{" or trimmed[-1:] != b"}":
        return Placed(_header_only(ambient), None)
    inner = trimmed[1:-1].strip()
    container = dump_object({_CONTAINER: dict(ambient.params)})[1:]
    return Placed(None, b"{" + inner + (b"," if inner else b"") + container)


def _place_among(ambient: Ambient | None, parsed: dict[str, Any]) -> Placed:
    before = {name: parsed.get(name) for name in (*CONTAINERS, "variables")}
    container = _container_of(parsed)
    _fold_variables(parsed, container)
    left = {} if ambient is None else dict(ambient.params)
    _fold_variables(container if "variables" in container else parsed, left)
    container = {name: value for name, value in container.items() if name not in parsed}
    left = {name: value for name, value in left.items() if name not in parsed and name not in container}
    header = encode_header(left) if left else None
    if left and header is None:
        container = {**left, **container}
    if container:
        parsed[_CONTAINER] = container
    after = {name: parsed.get(name) for name in before}
    return Placed(header, dump_object(parsed) if after != before else None)


def _container_of(parsed: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in reversed(CONTAINERS):
        value = parsed.pop(name, None)
        if value is None:
            continue
        if not isinstance(value, dict):
            raise ParamsError(
                f"`{name}` is of type {type(value).__name__}; expected an object. The gateway would serve the "
                "call and silently ignore every parameter in it.",
                param=name,
            )
        merged = merge(merged, cast("dict[str, Any]", value))
    return merged


def _fold_variables(upper: dict[str, Any], lower: dict[str, Any]) -> None:
    # The only key that merges inside (params.yaml, merge_order); the upper carrier keeps the result.
    if isinstance(upper.get("variables"), dict) and isinstance(lower.get("variables"), dict):
        upper["variables"] = {**lower.pop("variables"), **upper["variables"]}
