"""Versions of what is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str:
    """The version of *package*, or ``(not installed)``: a copy of the source may be run where nothing is."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
