"""Scheme, host and port: where a credential may go."""

from __future__ import annotations

from urllib.parse import urlsplit


_DEFAULT_PORTS = {"http": 80, "https": 443}


def same_origin(one: str, other: str) -> bool:
    """Whether scheme, host and port are equal; a URL that cannot be read has no origin in common."""
    try:
        return origin_of(one) == origin_of(other)
    except ValueError:
        return False


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port, the default port filled in.

    Raises:
        ValueError: if the port is not a number between 0 and 65535.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    port = _DEFAULT_PORTS.get(scheme) if parts.port is None else parts.port
    return scheme, (parts.hostname or "").lower(), port
