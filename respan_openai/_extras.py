"""Packages that come with an extra: imported where they are used, and missed in words that help."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .exceptions import ConfigError


__all__ = ["needed"]


def needed(module: str, extra: str, why: str, error: type[Exception] = ConfigError) -> Any:
    """The module of that name.

    Args:
        module: Its name.
        extra: The extra of this package that brings it.
        why: Begins the message: what needs which package.
        error: What is raised.

    Raises:
        ConfigError: or *error*, if it is not there; the message says what to install.
        ImportError: if it is there, and misses something itself.
    """
    try:
        return import_module(module)
    except ImportError as exc:
        if (exc.name or "").partition(".")[0] != module.partition(".")[0]:
            raise
        raise error(f"{why}: pip install 'respan-openai[{extra}]'.") from None
