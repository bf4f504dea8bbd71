"""Cassettes as files: found, read, and written so that nobody ever sees half of one, or a secret in one."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .errors import CassetteError, CassetteFileError
from .format import MAX_BYTES, dumps, loads
from .gate import leaks


if TYPE_CHECKING:
    from collections.abc import Iterable

    from .recording import Tape
    from .secrets import Secrets


__all__ = ["beside", "cassettes_in", "leaks_in", "opened", "removed", "write"]


def cassettes_in(paths: Iterable[Path]) -> list[Path]:
    """The cassettes that *paths* name: a file as it is, of a folder all below it, sorted.

    Raises:
        CassetteError: if there is nothing at a path.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise CassetteError(f"{path}: there is no such file or folder.")
        found += sorted(filter(_is_cassette, path.rglob("*.json"))) if path.is_dir() else [path]
    return found


def _is_cassette(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b'"respan_cassette"' in file.read(64)


def beside(path: Path) -> list[Path]:
    """The files with large bodies of the cassette *path*, sorted: what a cassette would name."""
    folder = path.with_name(f"{path.stem}.d")
    names = sorted(folder.iterdir()) if folder.is_dir() else []
    return [name for name in names if _BODY.fullmatch(name.name)]


_BODY: Final = re.compile(r"\d+\.\w+")


def opened(path: Path, *, at_once: bool = True) -> Tape:
    """The tape in *path*; *at_once* as for :func:`~respan_openai.testing.format.loads`.

    Raises:
        CassetteFileError: if it cannot be read as a cassette; the file is left as it is.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CassetteFileError(str(path), "", f"is larger than {MAX_BYTES >> 20} MiB. Split the test.")
        content = path.read_bytes()
    except OSError as exc:
        raise CassetteFileError(
            str(path), "", f"cannot be read ({exc.strerror or type(exc).__name__})."
        ) from None
    return loads(content, lambda name: (path.parent / name).read_bytes(), path=str(path), at_once=at_once)


def leaks_in(path: Path, secrets: Secrets) -> list[str]:
    """Where the cassette *path* or a file beside it holds one of *secrets*, and which; never its value.

    A file that cannot be looked at is in the list as well.
    """
    return [line for each in (path, *beside(path)) for line in _looked_at(each, secrets)]


def _looked_at(path: Path, secrets: Secrets) -> list[str]:
    try:
        if path.stat().st_size <= MAX_BYTES:
            return _leaks(str(path), path.read_bytes(), secrets)
        reason = f"larger than {MAX_BYTES >> 20} MiB"
    except OSError as exc:
        reason = f"cannot be read ({exc.strerror or type(exc).__name__})"
    return [f"{path}: {reason}, so nobody has looked for secrets in it"]


def _leaks(name: str, content: bytes, secrets: Secrets) -> list[str]:
    return [f"{name}: {leak.place}: {leak.what}" for leak in leaks(content, secrets)]


def write(path: Path, tape: Tape, secrets: Secrets) -> None:
    """Make *path* hold *tape*, and remove files beside it that belong to it no more.

    Raises:
        CassetteError: if it would hold one of *secrets*, or cannot be written. Then the file is as it was.
    """
    files: dict[str, bytes] = {}
    text = dumps(tape, files, name=path.stem).encode()
    contents = {**files, path.name: text}
    found = [line for name, content in contents.items() for line in _leaks(name, content, secrets)]
    if found:
        raise CassetteError(f"{path}: not written, because it would hold a secret. {'; '.join(found[:5])}.")
    try:
        for name, content in contents.items():
            _replace(path.parent / name, content)
        for old in {*beside(path)} - {path.parent / name for name in files}:
            _unlink(old)
    except OSError as exc:
        raise CassetteError(f"{path}: cannot be written ({exc.strerror or type(exc).__name__}).") from None


def removed(path: Path) -> None:
    """Remove the cassette *path* and the files beside it.

    Raises:
        CassetteError: if it cannot be removed.
    """
    try:
        for each in (*beside(path), path):
            _unlink(each)
    except OSError as exc:
        raise CassetteError(f"{path}: cannot be removed ({exc.strerror or type(exc).__name__}).") from None


def _unlink(path: Path) -> None:
    path.unlink()
    if path.parent.suffix == ".d":
        with suppress(OSError):  # it holds more
            path.parent.rmdir()


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
