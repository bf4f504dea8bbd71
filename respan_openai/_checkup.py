"""What is installed and set on this machine, told without a single value."""

from __future__ import annotations

import http.client
import os
import platform
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Final

from ._versions import version_of
from .targets import gateway_base


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["checkup"]


_PACKAGES: Final = (
    "respan-openai",
    "openai",
    "httpx2",
    "httpx",
    "uvicorn",
    "redis",
    "genai-prices",
    "typer",
    "rich",
)
_VARIABLES: Final = (
    "RESPAN_API_KEY",
    "RESPAN_BASE_URL",
    "KEYWORDSAI_API_KEY",
    "KEYWORDSAI_BASE_URL",
    "RESPAN_SERVE_API_KEYS",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_ENDPOINT",
    "OPENAI_API_VERSION",
    "OPENROUTER_API_KEY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
)
_REACH_SECONDS: Final = 10


def checkup(*, reach: bool) -> Iterator[str]:
    """Lines that tell versions, and which environment variables are set.

    Args:
        reach: Whether the gateway that ``RESPAN_BASE_URL`` names, or the hosted one, is asked for a sign of
            life; without a key, within 10 seconds.
    """
    yield f"Python {platform.python_version()}"
    yield from (f"{name} {version_of(name)}" for name in _PACKAGES)
    yield from (f"{name}: {'set' if os.environ.get(name) else 'not set'}" for name in _VARIABLES)
    if reach:
        yield _reached(gateway_base(None))


def _reached(base: str) -> str:
    # No key is sent: any answer, and 401 is the one to expect, says that the gateway is there.
    headers = {"User-Agent": "respan-openai"}
    request = urllib.request.Request(f"{base}/models", headers=headers)  # noqa: S310 -- http(s): checked_base
    try:
        with urllib.request.urlopen(request, timeout=_REACH_SECONDS) as answer:  # noqa: S310 -- as above
            status = answer.status
    except urllib.error.HTTPError as exc:
        with exc:
            status = exc.code
    except (OSError, http.client.HTTPException) as exc:
        reason = getattr(exc, "reason", exc)
        return f"The gateway cannot be reached ({type(reason).__name__})."
    return f"The gateway answers (HTTP {status})."
