"""Where a credential that came with a request may go.

1. An origin is allowed if it is named in code (``Settings.api_bases``) or is the provider's own; every other
   one is refused, since whoever writes requests could otherwise reach into the gateway's network or be sent
   its data.
2. Origins are compared whole: scheme, host and port as text. No address is resolved or translated, so that
   another spelling of a private one (decimal, octal, mapped to IPv6, with a dot at its end) is just another
   origin.
3. What is sent to is put together anew from the parts that were compared: no second parser finds another
   host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .._check import fail, shown
from .._core.origin import origin_of
from ..exceptions import ConfigError
from ..targets import checked_base, origin_text


if TYPE_CHECKING:
    from collections.abc import Collection

    from .._check import Place


__all__ = ["permitted"]

_DEFAULT_PORTS = {("http", 80), ("https", 443)}


def permitted(url: str, place: Place, origins: Collection[str] | None) -> str:
    """*url* in its one form, without a slash at its end.

    Args:
        url: Base URL of a provider.
        place: Where it stands in the request, for errors.
        origins: Those that are allowed, as ``origin_text`` writes them; ``None`` allows every one, for what
            is configured in code.

    Raises:
        ParamsError: if *url* is not an absolute http or https URL; if it has a user, a query, a fragment,
            white space, control or non-ASCII characters or ``..`` in it; or if its origin is not one of
            *origins*.
    """
    _check_form(url, place)
    if origins is not None and origin_text(url) not in origins:
        raise fail(
            place,
            f"has the origin {shown(_origin(url))}, which this gateway sends nothing to: a request could "
            "reach into its network otherwise. Leave it out to use the provider's own address, or name the "
            "origin in Settings(api_bases=[...]).",
        )
    return _origin(url) + urlsplit(url).path.rstrip("/")


def _check_form(url: str, place: Place) -> None:
    try:
        checked_base(url)
        readable = url.isprintable()
    except ConfigError:
        readable = False
    if not readable:
        raise fail(
            place,
            "must be an absolute http or https URL without user, query, fragment, '..', white space, control "
            "or non-ASCII characters, such as https://mine.openai.azure.com.",
        )


def _origin(url: str) -> str:
    scheme, host, port = origin_of(url)
    authority = f"[{host}]" if ":" in host else host
    return f"{scheme}://{authority}" if (scheme, port) in _DEFAULT_PORTS else f"{scheme}://{authority}:{port}"
