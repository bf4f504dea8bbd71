"""A file that only its owner reads, and that nobody else can put another one in the place of."""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..exceptions import ConfigError, StoreError


if TYPE_CHECKING:
    from collections.abc import Generator


__all__ = ["NETWORK", "SIDE_FILES", "alone_in", "mounted_as", "network_of", "prepare", "set_aside"]


#: What SQLite appends to the name of a database for the files that it keeps beside it.
SIDE_FILES = ("-wal", "-shm", "-journal")

#: File systems on which locks and shared memory do not reach the other machines.
NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs"}
    | {"gfs2", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
)


def prepare(path: Path) -> None:
    """Make sure that *path* is a file of our own that nobody else reads; make it if there is none.

    Its mode, and that of the files beside it, becomes 0600 if others could read or write it. On Windows,
    where a mode says little, only its kind is looked at.

    Raises:
        ConfigError: if the folder does not exist or is writable for all, or if the file is a link, a folder,
            a device, or somebody else's.
        StoreError: if the file cannot be made.
    """
    _check_folder(path.parent)
    for file in (path, *(_beside(path, suffix) for suffix in SIDE_FILES)):
        with suppress(FileNotFoundError):
            _check_file(file, file.lstat())
    try:
        # Only a new file is opened: closing one would release the locks that this process holds on it through
        # another connection (sqlite.org/howtocorrupt.html, section 2.2). SQLite gives its mode to the others.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    except OSError as exc:
        raise StoreError(f"{path} cannot be made: {exc.strerror}. Check the folder and its owner.") from exc


def _check_folder(folder: Path) -> None:
    try:
        mode = folder.stat().st_mode
    except OSError as exc:
        raise ConfigError(
            f"The folder {folder} cannot be used: {exc.strerror}. Make it first: mkdir -m 700."
        ) from exc
    if sys.platform != "win32" and mode & stat.S_IWOTH:
        raise ConfigError(
            f"The folder {folder} is writable for all users: they could put a file of theirs in the place of "
            "the store. Use a folder of your own (mkdir -m 700)."
        )


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path} is not a plain file, but a link, folder or device. Name the file itself.")
    if sys.platform == "win32":
        return
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"{path} belongs to the user with id {found.st_uid}, who could read and change it. "
            "Run as that user, or name a file of your own."
        )
    if found.st_mode & 0o077:
        path.chmod(found.st_mode & 0o600)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


#: Seconds; to open a file takes milliseconds.
_LOCK_SECONDS: Final = 10.0


@contextmanager
def alone_in(folder: Path) -> Generator[None]:
    """Keep out others who ask for the same, in this process or another, until the block is over.

    Without effect on Windows, and if the folder cannot be locked within 10 seconds: it may be another program's lock.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            _lock(folder, stack)
        yield


def _lock(folder: Path, stack: ExitStack) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    # The folder, because closing the file itself would release the locks that SQLite has on it.
    descriptor = os.open(folder, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    until = time.monotonic() + _LOCK_SECONDS
    while not _locks(descriptor):
        if time.monotonic() > until:
            return
        time.sleep(0.01)
    # Closing it would not do: a child that was forked meanwhile has the lock as well.
    stack.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)


def _locks(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def set_aside(path: Path) -> Path | None:
    """Give a damaged file, and those beside it, the name ``<name>.damaged-1``; for one process at a time.

    What another one has begun with that and not brought to its end, because it was killed, is done now.

    Returns:
        The new name, or ``None`` if there is such a file already.

    Raises:
        StoreError: if it cannot be renamed.
    """
    aside = _beside(path, ".damaged-1")
    try:
        if not _linked(path, aside):
            return None
        for suffix in SIDE_FILES:
            with suppress(FileNotFoundError):
                _beside(path, suffix).replace(_beside(aside, suffix))
        path.unlink()
    except OSError as exc:
        raise StoreError(
            f"{path} is damaged, and cannot be set aside: {exc.strerror}. Move it by hand."
        ) from exc
    return aside


def _linked(path: Path, aside: Path) -> bool:
    try:
        # Unlike a rename it fails if the name is taken, so that no older file is lost.
        os.link(path, aside)
    except FileExistsError:
        return path.samefile(aside)
    return True


def network_of(path: Path) -> str | None:
    """The kind of network file system that *path* lies on; ``None`` if it is none, or if that is not known.

    It is known on Linux.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
    except OSError:
        return None
    kind = mounted_as(path.stat().st_dev, mounts)
    return kind if kind in NETWORK else None


def mounted_as(device: int, mounts: str) -> str | None:
    """The file system of *device*, from the text of ``/proc/self/mountinfo`` (proc_pid_mountinfo(5))."""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if before.split(" ")[2:3] == [number]:
            return after.split(" ")[0]
    return None
