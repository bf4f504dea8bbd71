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
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from ._credentials import is_variable_of_secrets, keys_in
from .errors import CassetteError


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


__all__ = ["MASKED", "PLACEHOLDER", "SHORTEST_NUMBER", "Secrets", "is_placeholder"]


#: Stands for a value that is not told from others, because the field that it is in says enough.
MASKED: Final = "{{redacted}}"

#: Characters; what is shorter occurs by chance.
_SHORTEST: Final = 8
_MOST: Final = 1000

#: With as many digits.
SHORTEST_NUMBER: Final = 10 ** (_SHORTEST - 1)

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME: Final = re.compile(r"(?!answer-)[a-z][a-z0-9_-]{0,40}")
_COUNTED: Final = rb"redacted|secret:(?P<kind>answer-)?(?P<number>[0-9]{1,4})"

#: Whatever stands for a value.
PLACEHOLDER: Final = re.compile(rb"\{\{(?:redacted|env:[A-Za-z0-9_]+|secret:[a-z0-9_-]+)\}\}")


def is_placeholder(text: bytes) -> bool:
    """Whether *text* is what stands for a value, whoever put it there, and nothing else."""
    return PLACEHOLDER.fullmatch(text) is not None


class _Known(NamedTuple):
    what: str
    placeholder: bytes | None


class Secrets:
    """The values that one cassette must not hold; its ``repr`` shows none of them, and it cannot be pickled.

    Every method may be called from several threads.

    Args:
        environ: Environment variables; ``None`` for those of the process. Those whose names end in ``_KEY``,
            ``_TOKEN``, ``_SECRET`` or ``_PASSWORD`` are secrets if they have at least 8 characters; of
            several with the same value, the first in alphabetical order gives the placeholder.

    Attributes:
        needles: What to look for, longest first, and the value that each stands for.
        shortest: Bytes of the shortest needle.
    """

    __slots__ = ("_counts", "_environ", "_known", "_lock", "_own", "needles", "shortest")

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._lock = threading.RLock()
        self._environ = os.environ if environ is None else environ
        self._known: dict[bytes, _Known]
        self._counts = {"": 0, "answer-": 0}
        self.needles: tuple[tuple[bytes, bytes], ...] = ()
        self.shortest = _SHORTEST
        self._settle({})
        self.look_around()

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
        what = f"the secret {name}" if name else "a secret that was added"
        with self._lock:
            # What had no name, or another one, is called by this.
            known = {
                each: told for each, told in self._known.items() if name is None or each != _bytes(value)
            }
            self._settle({_bytes(value): _Known(what, placeholder), **known})

    def look_around(self) -> None:
        """Read the environment again: a test or a ``.env`` file may have added to it since."""
        found: dict[str, _Known] = {}
        for name in sorted(filter(is_variable_of_secrets, self._environ)):
            found.setdefault(self._environ.get(name, "").strip(), _variable(name))
        self._know(found)

    def learn(self, sent: Iterable[tuple[str, str]]) -> None:
        """Keep the keys that a request is sent with out of the cassette, those of at least 8 characters.

        Args:
            sent: Names and values of its headers; the query of its URL has the name ``?``. Keys are in
                ``Authorization``, ``Proxy-Authorization`` and what ends as an environment variable does; in a
                query also in ``key``, ``token``, ``code``, ``sig`` and the like. The password in ``Basic`` is
                a key, too. A word such as ``placeholder`` is none, nor is what is short and without a digit in
                a header that may be about something else, such as ``X-Partition-Key``.
        """
        found = (key for name, value in sent for key in keys_in(name, value))
        new = [key for key in found if not is_placeholder(_bytes(key))]
        self._know(dict.fromkeys(new, _Known("a client's key", None)))

    def found(self, values: Iterable[tuple[bytes, str]]) -> bool:
        """Keep *values* out of the cassette, each with what it is; a text gave them away. Whether one is new.

        Raises:
            CassetteError: if more than a thousand are known then: so many cannot be looked for in a
                reasonable time.
        """
        with self._lock:
            new = {value: what for value, what in values if value not in self._known}
            if not new:
                return False
            if len(self) + len(new) > _MOST:
                raise CassetteError(
                    f"More than {_MOST} different values look like secrets, too many to replace them. "
                    "Leave out the body that holds them."
                )
            self._settle(self._known | {value: _Known(what, None) for value, what in new.items()})
            return True

    def _know(self, found: Mapping[str, _Known]) -> None:
        """Add what is long enough and not known yet."""
        with self._lock:
            values = {_bytes(value): known for value, known in found.items() if len(value) >= _SHORTEST}
            if not values.keys() <= self._known.keys():
                self._settle({**values, **self._known})

    def _settle(self, known: dict[bytes, _Known]) -> None:
        """Look for what is *known* from now on."""
        values = list(known.items())
        needles = {needle: value for value, _ in values for needle in (value, value.replace(b" ", b"+"))}
        self.needles = tuple(sorted(needles.items(), key=lambda item: (-len(item[0]), item[0])))
        self.shortest = min(map(len, needles), default=_SHORTEST)
        names = [re.escape(told.placeholder[2:-2]) for _, told in values if told.placeholder]
        self._own = re.compile(rb"\{\{(?:%b)\}\}" % b"|".join([_COUNTED, *names]))
        # Last: who sees that there is one more and has looked before looks again, and must find what to look for.
        self._known = known

    # -- what stands for them

    def placeholder(self, value: bytes, *, answered: bool) -> bytes:
        """What stands for *value*, which is known; *answered* tells whether it is replaced in an answer."""
        with self._lock:
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
                self._is_taken((found["kind"] or b"").decode(), int(found["number"]))
            yield found.span()

    def _is_taken(self, kind: str, number: int) -> None:
        with self._lock:
            self._counts[kind] = max(self._counts[kind], number)

    def what(self, value: bytes) -> str:
        """What *value* is, for messages."""
        return self._known[value].what


def _variable(name: str) -> _Known:
    placeholder = b"{{env:%b}}" % name.encode() if _VARIABLE.fullmatch(name) else None
    return _Known(f"the environment variable {name}", placeholder)


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")
