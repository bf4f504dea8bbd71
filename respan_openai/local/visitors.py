"""Who may come in over a socket, before the gateway itself looks at a call.

1. A gateway with keys asks for one: calls with ``Authorization: Bearer``, as ever; pages also with the
   password of HTTP Basic, because that is what a browser can ask its user for.
2. A gateway without keys is open to programs of its own machine. A browser there also runs the scripts of
   foreign pages: they get in neither under a name of theirs that resolves to this machine (DNS rebinding),
   nor with a request from their own origin, which would spend the user's money even if they cannot read the
   answer.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from .contract import ContractError, detail


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


__all__ = ["Doors", "check_local", "environment_for", "is_loopback"]


#: RFC 7617, section 2.
_CHALLENGE: Final = ("WWW-Authenticate", 'Basic realm="Respan local gateway", charset="UTF-8"')


class Doors(Protocol):
    """What is asked of a ``LocalGateway`` here."""

    @property
    def accepts_anyone(self) -> bool:
        """Whether it has no keys."""
        ...

    def admit(self, headers: Mapping[str, str]) -> Any:
        """Whose call one with *headers* is, with its ``environment``.

        Raises:
            ContractError: 401 for strangers.
        """
        ...


def is_loopback(address: str) -> bool:
    """Whether the IP *address* reaches nothing but its own machine."""
    try:
        return ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def check_local(headers: Mapping[str, str], hosts: Collection[str]) -> None:
    """Let in only who calls this machine by a name of its own, and from no other origin.

    Args:
        headers: Of the request, names in lower case.
        hosts: Names of this machine besides ``localhost``.

    Raises:
        ContractError: 403, for everybody else.
    """
    authority = headers.get("host", "")
    if not _is_local(authority, hosts):
        raise detail(
            403,
            "This gateway has no keys, so it answers only to names of its own machine, such as localhost. "
            "The Host header names another one.",
        )
    origin = headers.get("origin")
    if origin is not None and not _is_at(origin, authority):
        raise detail(403, "This gateway has no keys, so it takes no calls from pages of another origin.")


def _is_at(origin: str, authority: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == authority.lower()
    except ValueError:
        return False


def _is_local(authority: str, hosts: Collection[str]) -> bool:
    try:
        name = (urlsplit(f"//{authority}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    # RFC 6761, 6.3: names under localhost never resolve elsewhere.
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name) or name in hosts


def environment_for(doors: Doors, headers: Mapping[str, str]) -> str | None:
    """The environment whose calls the sender of *headers* may see; ``None`` (all) where there are no keys.

    Raises:
        ContractError: 401 without an accepted key, with the header that makes a browser ask for one.
    """
    if doors.accepts_anyone:
        return None
    try:
        caller = doors.admit({"authorization": _as_bearer(headers.get("authorization", ""))})
    except ContractError:
        raise detail(
            401,
            "The call log shows prompts. Send one of the gateway's api_keys as the password of HTTP Basic, "
            "or as Authorization: Bearer.",
            _CHALLENGE,
        ) from None
    environment: str = caller.environment
    return environment


def _as_bearer(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return authorization
    try:
        password = b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
    return f"Bearer {password}"
