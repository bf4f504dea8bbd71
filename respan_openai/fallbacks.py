"""Where a call goes when the gateway cannot serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from ._core.call import Outgoing, parse_object, string_field, with_string
from ._core.health import health_of
from ._headers import FRAMING
from ._wire import CARRIERS
from .exceptions import ConfigError
from .targets import Gateway, Provider, is_object, origin_text, stripped, unfit_elsewhere


if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._core.call import Call
    from ._core.health import Health
    from ._core.plan import Target


__all__ = ["DIRECT", "Fallback"]


class _Direct:
    """The provider that the client was built for, with the client's own key: see :data:`DIRECT`."""

    name = "direct"
    paths = Gateway.paths
    guards = False
    direct = True

    def __repr__(self) -> str:
        return "DIRECT"

    def build(self, call: Call) -> Outgoing:
        body = stripped(call.path, call.body or b"") if is_object(call.body) else None
        headers = [item for item in call.headers if not _is_ours(item[0].lower())]
        if body is not None:
            headers = [item for item in headers if item[0].lower() != b"content-length"]
        return Outgoing(str(call.url), headers, body, string_field(body or call.body, "model"))

    def health(self, call: Call) -> Health:
        credential = call.header(b"authorization") or call.header(b"api-key") or ""
        return health_of(self.name, origin_text(str(call.url)), credential)

    def unfit(self, call: Call) -> str | None:
        # An Azure deployment stands in the path, so the body need not name a model.
        return None if b"/deployments/" in call.raw_path else unfit_elsewhere(call)


def _is_ours(name: bytes) -> bool:
    return name.decode("latin-1") in CARRIERS or name.startswith(b"x-respan-")


DIRECT: Final = _Direct()
"""The provider that the client was built for, asked with the client's own key and without Respan's parameters.

Only for failures of the gateway itself: what it refuses (401, 402, 403, a limit, a budget), and what it relays from
the provider, is never taken there.
"""


class AnotherModel:
    """A target, asked for another model than the call names."""

    def __init__(self, target: Target, model: str) -> None:
        self.base = self._target = target
        self._model = model
        self.name = target.name
        self.paths = target.paths
        self.guards = target.guards
        self.direct = target.direct

    def __repr__(self) -> str:
        return f"{self._model!r} at {self._target!r}"

    def build(self, call: Call) -> Outgoing:
        """The request for the other model."""
        renamed = self._renamed(call)
        outgoing = self._target.build(renamed)
        if outgoing.body is not None:
            return outgoing
        # A body that the target leaves alone is the original's, with its length: neither is this one's.
        extra = tuple(item for item in outgoing.extra if item[0].lower() not in FRAMING)
        return outgoing.replace(body=renamed.body, extra=extra)

    def health(self, call: Call) -> Health:
        """That of the target: it is the same door."""
        return self._target.health(call)

    def unfit(self, call: Call) -> str | None:
        """As the target says of the other model."""
        if not parse_object(call.body):
            return "its body is no JSON object, so its model cannot be changed"
        return self._target.unfit(self._renamed(call))

    def _renamed(self, call: Call) -> Call:
        return call.replace(body=with_string(call.body or b"{}", "model", self._model))


def base_of(target: Any) -> Any:
    """The target itself behind one that asks it for another model."""
    return getattr(target, "base", target)


class Fallback:
    """What ``fallbacks=`` takes, with lists for refusals that are no fault of the target.

    ``fallbacks=[DIRECT, ...]`` is short for ``Fallback(DIRECT, ...)``. The three lists are used for their one
    reason and never otherwise; in them a string stands for another model at the gateway.

    Args:
        targets: ``DIRECT``, ``Provider``, ``Gateway``, ``OpenRouter``: asked in this order if the gateway
            fails.
        on_context: Asked if the prompt is longer than the model's context (``context_length_exceeded``).
        on_content: Asked if a content filter refused the prompt (``content_filter``,
            ``content_policy_violation``). Empty unless you decide otherwise: it is a way around moderation.
        on_model: Asked if the model does not exist or is not open to this key (``model_not_found``).

    Raises:
        ConfigError: if an entry is none of these.

    Example::

        wrap(OpenAI(), fallbacks=Fallback(DIRECT, on_context=["gpt-4.1", Provider(...)]))
    """

    def __init__(
        self,
        *targets: object,
        on_context: Iterable[object] = (),
        on_content: Iterable[object] = (),
        on_model: Iterable[object] = (),
    ) -> None:
        self.targets: tuple[Any, ...] = tuple(_checked(target, model=False) for target in targets)
        self.named: dict[str, tuple[Any, ...]] = {
            "context": _list(on_context, "on_context"),
            "content": _list(on_content, "on_content"),
            "model": _list(on_model, "on_model"),
        }

    @property
    def all(self) -> tuple[Any, ...]:
        """Every entry, in whichever list."""
        return (*self.targets, *(entry for entries in self.named.values() for entry in entries))

    def __repr__(self) -> str:
        named = "".join(f", on_{name}={list(held)!r}" for name, held in self.named.items() if held)
        return f"Fallback({', '.join(map(repr, self.targets))}{named})"

    def at(self, gateway: Target) -> dict[str, tuple[Target, ...]]:
        """The named lists, their models taken to *gateway*."""
        return {
            name: tuple(AnotherModel(gateway, held) if isinstance(held, str) else held for held in entries)
            for name, entries in self.named.items()
            if entries
        }


def fallback_of(fallbacks: object) -> Fallback:
    """*fallbacks* as a ``Fallback``, whether it is one or a sequence of targets."""
    if fallbacks is None:
        return Fallback()
    if isinstance(fallbacks, Fallback):
        return fallbacks
    if isinstance(fallbacks, str | Gateway | Provider | _Direct):
        raise ConfigError("fallbacks must be a list, even of one: fallbacks=[DIRECT].")
    try:
        entries: tuple[object, ...] = tuple(cast("Iterable[object]", fallbacks))
    except TypeError:
        raise ConfigError(
            f"fallbacks is of type {type(fallbacks).__name__}; expected a list of targets, or Fallback(...)."
        ) from None
    return Fallback(*entries)


def _list(entries: Iterable[object], name: str) -> tuple[Any, ...]:
    if isinstance(entries, str):
        raise ConfigError(f"{name} must be a list, even of one: {name}=[{entries!r}].")
    return tuple(_checked(entry, model=True) for entry in entries)


def _checked(entry: object, *, model: bool) -> object:
    if isinstance(entry, Provider) and entry.needs_gateway:
        kind = type(entry).__name__
        raise ConfigError(
            f"{kind}({entry.name!r}) is asked through a transport of its own, which clients do not use. "
            f"Put a gateway around it: fallbacks=[LocalGateway([{kind}(...)])]."
        )
    if isinstance(entry, Gateway | Provider | _Direct) or (model and isinstance(entry, str) and entry):
        return entry
    also = ", or the name of another model" if model else ""
    hint = (
        " Models to try at the gateway go into the parameter fallback_models."
        if isinstance(entry, str)
        else ""
    )
    raise ConfigError(
        f"A fallback is of type {type(entry).__name__}; expected DIRECT, Provider(...), Gateway(...) or "
        f"OpenRouter(...){also}.{hint}"
    )
