"""Where the cassette of a test lies: a name that a person recognises, and no other test has, on any system.

``tests/test_agent.py::TestRefund::test_late[eur-de]`` is recorded in
``test_agent/TestRefund.test_late[eur-de].json``, in the folder for cassettes. What would not be safe
everywhere is replaced, and the name gets ``~`` and eight digits of a hash: ``test_late[A_B]~1f0c9a3e.json``.
No other name has a ``~``.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path


__all__ = ["MAX_NAME", "SUFFIX", "Moved", "file_of", "moved_from"]


SUFFIX: Final = ".json"

#: Characters of the name of a file, its suffix included, or of a folder.
MAX_NAME: Final = 120

# Capitals are usual in the name of a class, and two classes of one module that differ in nothing else are
# not. In all other places they get a hash, since two names that differ only in them are one on Windows and
# macOS.
_PLAIN_TEST: Final = re.compile(r"(?:[A-Za-z_]\w*::)*[a-z_][a-z0-9_]*(?:\[[a-z0-9._-]*\])?", re.ASCII)
_PLAIN_FOLDER: Final = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_-])?")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._\[\]-]|^(?![A-Za-z0-9_])")

#: https://learn.microsoft.com/windows/win32/fileio/naming-a-file: not with any suffix either.
_RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)


class Moved(NamedTuple):
    """A recording of a test that had another name then.

    Attributes:
        path: Of its file.
        test: The node id at that time.
    """

    path: Path
    test: str


def file_of(node_id: str, folder: Path, *, nested: bool = False) -> Path:
    """Where the cassette of a test lies.

    The same for the same test on every system; different for different tests, also where upper and lower case
    are one, except for two classes whose names differ in nothing else. The hash is of what follows the
    folders, so that it is the same when pytest is started in another one.

    Args:
        node_id: As pytest has it: ``tests/test_agent.py::TestRefund::test_late[eur-de]``.
        folder: For cassettes; usually ``cassettes`` beside the file of the test.
        nested: Whether the folders of the test's file are repeated in *folder*: for one that several folders
            of tests have in common, where files of the same name would meet.
    """
    *folders, file, test = _parts(node_id)
    outer = [_safe(each, each, is_plain=_is_folder(each)) for each in folders] if nested else []
    module = file.removesuffix(".py")
    inner = _safe(module, file, is_plain=module != file and _is_folder(module))
    is_plain = _PLAIN_TEST.fullmatch(test) is not None
    name = _safe(test.replace("::", "."), f"{file}::{test}", is_plain=is_plain, suffix=SUFFIX)
    return folder.joinpath(*outer, inner, name)


def _parts(node_id: str) -> list[str]:
    """Folders, file, and the test in it."""
    path, _, test = node_id.partition("::")
    return [*path.replace("\\", "/").split("/"), test]


def _is_folder(name: str) -> bool:
    return _PLAIN_FOLDER.fullmatch(name) is not None


def _safe(name: str, hashed: str, *, is_plain: bool, suffix: str = "") -> str:
    """*name* itself, or one that is safe and tells the hash of *hashed*."""
    is_reserved = _RESERVED.match(name) is not None
    if is_plain and not is_reserved and len(name) + len(suffix) <= MAX_NAME:
        return name + suffix
    ending = f"~{sha256(hashed.encode(errors='surrogatepass')).hexdigest()[:8]}{suffix}"
    safe = _UNSAFE.sub("_", f"_{name}" if is_reserved else name)
    return safe[: MAX_NAME - len(ending)] + ending


def moved_from(
    node_id: str, folder: Path, *, nested: bool = False, taken: Container[str] = ()
) -> Moved | None:
    """The recording of a test whose parameters stood in another order in its name.

    Releases of pytest differ in that order. It is a test of the same function, whose id has the same parts
    between its dashes.

    Args:
        node_id: Of the test that has no file.
        folder: As for :func:`file_of`.
        nested: As for :func:`file_of`.
        taken: Node ids of other tests that there are: their files are their own.

    Returns:
        The first one in order of the names of the files; ``None`` if there is none.
    """
    wanted, place = _without_order(node_id), file_of(node_id, folder, nested=nested).parent
    for path in sorted(place.glob(f"*{SUFFIX}")):
        test = _recorded_test(path)
        if test is not None and test != node_id and test not in taken and _without_order(test) == wanted:
            return Moved(path, test)
    return None


def _without_order(node_id: str) -> tuple[str, str, list[str]]:
    *_, file, test = _parts(node_id)
    function, _, params = test.partition("[")
    return file, function, sorted(params.removesuffix("]").split("-"))


#: Bytes that the test's name is looked for in: it stands in the second line.
_HEAD: Final = 8192
_TEST: Final = re.compile(r'"test":\s*("(?:[^"\\]|\\.)*")')


def _recorded_test(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            found = _TEST.search(file.read(_HEAD).decode(errors="replace"))
        return None if found is None else str(json.loads(found[1]))
    except (OSError, ValueError):
        return None
