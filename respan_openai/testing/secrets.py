"""Which values must not be written down, and what stands in their place.

1. A value is known because somebody told of it, because the environment has it under such a name, because a
   client sent it as its key, or because a text gave it away: by its shape, or by the field that it stood in.
   However it became known, it is looked for everywhere.
2. A value has the same placeholder wherever it occurs, so that what was equal stays equal.
3. A placeholder says nothing of the value, so that a cassette recorded with one key is replayed with another:
   ``{{env:NAME}}`` for what the environment has, ``{{secret:NAME}}`` for what was added under a name. What
   has neither is counted from the first time that it is replaced: ``{{secret:1}}`` where requests held it
   first, ``{{secret:answer-1}}`` where an answer did. So it depends on nothing but the order in which such
   values occur; where that may change from run to run, give names.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from ._credentials import is_variable_of_secrets
from .errors import CassetteError


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


__all__ = ["KEY_HEADERS", "MASKED", "Secrets", "is_placeholder"]


#: Stands for a value that is not told from others, because the field that it is in says enough.
MASKED: Final = "{{redacted}}"

#: Characters; what is shorter occurs by chance.
_SHORTEST: Final = 8
_MOST: Final = 1000

#: Headers in which clients send their keys, in lower case.
KEY_HEADERS: Final = ("authorization", "api-key", "x-api-key")

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME: Final = re.compile(r"(?!answer-)[a-z][a-z0-9_-]{0,40}")
_COUNTED: Final = rb"redacted|secret:(?P<kind>answer-)?(?P<number>[0-9]{1,4})"


_PLACEHOLDER: Final = re.compile(rb"\{\{(?:redacted|env:[A-Za-z0-9_]+|secret:[a-z0-9_-]+)\}\}")


def is_placeholder(text: bytes) -> bool:
    """Whether *text* is what stands for a value, whoever put it there, and nothing else."""
    return _PLACEHOLDER.fullmatch(text) is not None


class _Known(NamedTuple):
    what: str
    placeholder: bytes | None


class Secrets:
    """The values that one cassette must not hold; its ``repr`` shows none of them, and it cannot be pickled.

    Args:
        environ: Environment variables; ``None`` for those of the process. Those whose names end in ``_KEY``,
            ``_TOKEN``, ``_SECRET`` or ``_PASSWORD`` are secrets if they have at least 8 characters; of
            several with the same value, the first in alphabetical order gives the placeholder.

    Attributes:
        needles: What to look for, longest first, and the value that each stands for.
        shortest: Bytes of the shortest needle.
    """

    __slots__ = ("_counts", "_known", "_own", "needles", "shortest")

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._known: dict[bytes, _Known] = {}
        self._counts = {"": 0, "answer-": 0}
        self.needles: tuple[tuple[bytes, bytes], ...] = ()
        self.shortest = _SHORTEST
        variables = os.environ if environ is None else environ
        for name in sorted(filter(is_variable_of_secrets, variables)):
            value = variables[name].strip()
            if len(value) >= _SHORTEST:
                placeholder = b"{{env:%b}}" % name.encode() if _VARIABLE.fullmatch(name) else None
                self._know(value, _Known(f"the environment variable {name}", placeholder))
        self._settle()

    def __repr__(self) -> str:
        return f"<Secrets: {len(self)} values>"

    def __len__(self) -> int:
        return len(self._known)

    def __reduce__(self) -> NoReturn:
        raise TypeError("Secrets are not pickled. Make them anew where they are needed.")

    # -- what is told

    def add(self, value: str, name: str | None = None) -> None:
        """Keep *value* out of the cassette.

        Args:
            value: At least 8 characters.
            name: For its placeholder, which is then ``{{secret:NAME}}``: a small letter, then small letters,
                digits, ``-`` and ``_``, 41 characters at most. Without a name it is counted.

        Raises:
            CassetteError: if *value* is shorter, or *name* is not accepted.
        """
        if len(value) < _SHORTEST:
            raise CassetteError(
                f"A secret of {len(value)} characters would be replaced wherever it occurs by chance. "
                "Pass a pattern that tells it from other text with redact=[re.compile(...)]."
            )
        if name is not None and not _NAME.fullmatch(name):
            raise CassetteError(
                'The name of a secret is small letters, digits, "-" and "_", begins with a letter, '
                'not with "answer-", and has at most 41 characters.'
            )
        placeholder = None if name is None else b"{{secret:%b}}" % name.encode()
        if name is not None:
            self._known.pop(_bytes(value), None)
        self._know(value, _Known(f"the secret {name}" if name else "a secret that was added", placeholder))
        self._settle()

    def learn(self, headers: Mapping[str, str]) -> None:
        """Keep the keys in the *headers* of a request out of the cassette, those of at least 8 characters.

        They are looked for in ``Authorization``, ``api-key`` and ``x-api-key``. May be called from any
        thread.
        """
        before = len(self)
        for name, value in headers.items():
            key = value.rpartition(" ")[2]
            if name.lower() in KEY_HEADERS and len(key) >= _SHORTEST:
                self._know(key, _Known("a client's key", None))
        if len(self) > before:
            self._settle()

    def found(self, values: Iterable[tuple[bytes, str]]) -> bool:
        """Keep *values* out of the cassette, each with what it is; a text gave them away. Whether one is new.

        Raises:
            CassetteError: if more than a thousand are known then: so many cannot be looked for in a
                reasonable time.
        """
        new = {value: what for value, what in values if value not in self._known}
        if not new:
            return False
        if len(self) + len(new) > _MOST:
            raise CassetteError(
                f"More than {_MOST} different values look like secrets, too many to replace them. "
                "Leave out the body that holds them."
            )
        self._known |= {value: _Known(what, None) for value, what in new.items()}
        self._settle()
        return True

    def _know(self, value: str, known: _Known) -> None:
        self._known.setdefault(_bytes(value), known)

    def _settle(self) -> None:
        values = list(self._known.items())
        needles = {needle: value for value, _ in values for needle in (value, value.replace(b" ", b"+"))}
        self.needles = tuple(sorted(needles.items(), key=lambda item: (-len(item[0]), item[0])))
        self.shortest = min(map(len, needles), default=_SHORTEST)
        names = [re.escape(known.placeholder[2:-2]) for _, known in values if known.placeholder]
        self._own = re.compile(rb"\{\{(?:%b)\}\}" % b"|".join([_COUNTED, *names]))

    # -- what stands for them

    def placeholder(self, value: bytes, *, answered: bool) -> bytes:
        """What stands for *value*, which is known; *answered* tells whether it is replaced in an answer."""
        known = self._known[value]
        if known.placeholder is None:
            known = known._replace(placeholder=self._counted("answer-" if answered else ""))
            self._known[value] = known
        assert known.placeholder is not None  # noqa: S101 -- it was just made
        return known.placeholder

    def _counted(self, kind: str) -> bytes:
        self._counts[kind] += 1
        return b"{{secret:%b%d}}" % (kind.encode(), self._counts[kind])

    def placeholders(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Start and end of each placeholder in *text*; their numbers are not given to other values any more.

        A replayed answer holds placeholders, and what a test takes from it comes again in its next request.
        """
        for found in self._own.finditer(text) if b"{{" in text else ():
            if found["number"]:
                kind = (found["kind"] or b"").decode()
                self._counts[kind] = max(self._counts[kind], int(found["number"]))
            yield found.span()

    def what(self, value: bytes) -> str:
        """What *value* is, for messages."""
        return self._known[value].what


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")
