"""Which of the SDK's headers a target may see: an allow-list, because an unknown header may hold a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._core.call import Raw
from ._warn import warn
from ._wire import CARRIERS, LEGACY_HEADER
from .exceptions import ConfigError


if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    Framing = tuple[tuple[bytes, bytes], ...]

    #: What becomes of one of the SDK's headers.
    Fate = Literal["drop", "keep", "framing", "carrier"]


#: Describe the body, the connection or the SDK, or link a trace (W3C Trace Context); none identifies an account.
_ALLOWED = frozenset({
    b"accept",
    b"accept-encoding",
    b"connection",
    b"content-encoding",
    b"content-type",
    b"idempotency-key",
    b"openai-beta",
    b"traceparent",
    b"tracestate",
    b"user-agent",
    b"x-client-request-id",
    b"x-request-id",
})  # fmt: skip
_ALLOWED_PREFIXES = (b"x-stainless-", b"x-respan-")

#: The provider's own: credentials, accounts, and the host they belong to. Dropped without a word.
_PROVIDERS = frozenset({
    b"api-key",
    b"authorization",
    b"cookie",
    b"host",
    b"openai-organization",
    b"openai-project",
    b"proxy-authorization",
    b"x-api-key",
})  # fmt: skip

#: Where the body ends; they go with the body, not with the call.
FRAMING = frozenset({b"content-length", b"transfer-encoding"})

_LEGACY = LEGACY_HEADER.lower().encode()
_CARRIERS = frozenset(name.encode() for name in CARRIERS)


_MOST_PLANS = 64
_MOST_NAMES = 1024


class HeaderRule(dict[bytes, "Fate"]):
    """Header name to its fate. A dictionary that fills itself, so a name is judged once.

    Args:
        extra: Names to forward besides the built-in ones.
        target: For the warning about a name that is dropped and might have been wanted.
    """

    def __init__(self, extra: Iterable[str] = (), *, target: str) -> None:
        super().__init__()
        self._extra = frozenset(_name(name) for name in extra)
        self._target = target
        # A client sends the same few sets of headers over and over.
        self._plans: dict[tuple[bytes, ...], tuple[list[int], list[int], list[int]]] = {}

    def __missing__(self, name: bytes) -> Fate:
        lowered = name.lower()
        fate = self._judge(lowered)
        # Bounded, and so are the warnings: who calls a server may make up names without end.
        if len(self) < _MOST_NAMES:
            self[name] = fate
            if fate == "drop" and lowered not in _PROVIDERS:
                self._tell(lowered.decode("latin-1"))
        return fate

    def _judge(self, name: bytes) -> Fate:
        if name in _CARRIERS:
            return "carrier"
        if name in FRAMING:
            return "framing"
        if name in _ALLOWED or name in self._extra or name.startswith(_ALLOWED_PREFIXES):
            return "keep"
        return "drop"

    def _tell(self, name: str) -> None:
        warn(
            f"The header {name!r} is not sent to {self._target}, because it may hold a key of the provider. "
            f"If it is meant for the gateway, name it: headers=[{name!r}].",
        )

    def split(self, headers: Raw) -> tuple[Raw, Framing, list[str]]:
        """Sort *headers* by what becomes of them.

        Returns those to be sent on; those that tell where the body ends, for whoever sends the body on as it is; and
        the values of the parameter carriers, the legacy one first.
        """
        names = tuple([name for name, _ in headers])
        plan = self._plans.get(names)
        if plan is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            plan = self._plans[names] = self._plan(names)
        keep, framing, carriers = plan
        return (
            [headers[at] for at in keep],
            tuple([headers[at] for at in framing]),
            [headers[at][1].decode("latin-1") for at in carriers] if carriers else [],
        )

    def _plan(self, names: tuple[bytes, ...]) -> tuple[list[int], list[int], list[int]]:
        fates = [self[name] for name in names]
        keep, framing, carriers = (
            [at for at, fate in enumerate(fates) if fate == wanted]
            for wanted in ("keep", "framing", "carrier")
        )
        carriers.sort(key=lambda at: names[at].lower() != _LEGACY)
        return keep, framing, carriers


def _name(name: str) -> bytes:
    lowered = name.strip().lower().encode("latin-1", "replace")
    if lowered in _PROVIDERS or lowered in _CARRIERS:
        raise ConfigError(
            f"headers=[{name!r}]: this header belongs to the provider or to this package, and is never forwarded."
        )
    return lowered


def header_value(value: str, *, what: str) -> bytes:
    """*value* as bytes for a header.

    Raises:
        ConfigError: if a header cannot carry it; anything but printable ASCII could end the header early.
    """
    if not value or not value.isascii() or not value.isprintable():
        raise ConfigError(f"{what} must be a non-empty string of printable ASCII characters.")
    return value.encode()
