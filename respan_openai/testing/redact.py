"""Recorded calls without what must not be written down.

A live request is redacted in the same way before it is looked up, so that both sides are compared as they are
in the file. What holds nothing secret comes back as the same object, and what was redacted once is not
changed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._asked import Asked
from ._hooks import Hooks
from ._sweep import Sweep
from .errors import CassetteError
from .recording import Recorded
from .secrets import Secrets


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._hooks import Hook
    from .recording import Answer, Question


__all__ = ["Redactor", "check_kept", "kept_headers"]


class Redactor:
    """Replaces what must not be written down, in the requests and answers of one cassette.

    Args:
        secrets: What is known; it grows by what gives itself away.
        redact: What a user wants to be kept out besides. A compiled pattern, or ``"~ PATTERN"``: what it
            matches, or its first group if it has one. A path, such as ``metadata.customer`` or
            ``messages[*].name``: strings there, in the JSON of a request, an answer or an event, and numbers
            in requests; ``respan.`` in front for the gateway's parameters, ``?`` for the query. A function
            that gets a text and returns the parts of it to keep out; it must find the same in every run. What
            it returns, and what patterns match, must have at least 4 characters.

    Attributes:
        secrets: As given. It is one for all calls, so that a value has one placeholder in the whole file.

    Raises:
        CassetteError: if something in *redact* is none of these. Methods raise it if what was found is too
            short to be replaced, or if more than a thousand values would be.
    """

    def __init__(self, secrets: Secrets, redact: Iterable[Hook] = ()) -> None:
        self._redact = tuple(redact)
        hooks = Hooks(self._redact)
        self.secrets = secrets
        self._asked = Asked(Sweep(secrets, hooks, answered=False), names_places=hooks.name_places)
        self._answered = Sweep(secrets, hooks, answered=True)

    def anew(self) -> Redactor:
        """Another one that is told to keep the same out, and knows no value yet."""
        return Redactor(Secrets({}), self._redact)

    def question(self, question: Question) -> Question:
        """*question*, as it is compared and written.

        Secrets are replaced in names and values of the path, the query, the body and the gateway's
        parameters. What is in a field for secrets is ``{{redacted}}``. A text that was changed has a new hash
        and size. What one field gives away is replaced in those before it too.
        """
        if self._asked.is_clean(question):
            return question
        while True:
            known = len(self.secrets)
            question = self._asked.question(question)
            if known == len(self.secrets):
                return question

    def answer(self, answer: Answer) -> Answer:
        """*answer*, as it is written.

        A secret that comes in several chunks or deltas is replaced in the first of them, and a chunk of which
        nothing is left is left out. All other bytes, borders and times stay as they are. What an answer that
        broke off has of a secret at its end is replaced if it is at least half of it.
        """
        parts = tuple(chunk.data for chunk in answer.chunks)
        new = self._answered.cleaned(*parts)
        chunks = (chunk._replace(data=part) for chunk, part in zip(answer.chunks, new, strict=True) if part)
        changed = answer if new == parts else answer._replace(chunks=tuple(chunks))
        headers = tuple((name, self._answered.text(value)) for name, value in answer.headers)
        return changed if headers == answer.headers else changed._replace(headers=headers)

    def recorded(self, recorded: Recorded) -> Recorded:
        """*recorded*, as it is written."""
        question, answer = self.question(recorded.question), self.answer(recorded.answer)
        is_same = question is recorded.question and answer is recorded.answer
        return recorded if is_same else Recorded(question, answer, recorded.origin)

    def calls(self, calls: Iterable[Recorded]) -> list[Recorded]:
        """*calls*, as they are written together: what one gives away is replaced in those before it too."""
        redacted, known = list(calls), -1
        while known != len(self.secrets):
            known = len(self.secrets)
            redacted = [self.recorded(each) for each in redacted]
        return redacted


# -- headers

_KEPT: Final = frozenset({"content-type", "retry-after", "retry-after-ms", "x-request-id", "x-should-retry"})
_NEVER: Final = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})


def check_kept(names: Sequence[str]) -> set[str]:
    """*names* of headers of an answer that are to be kept, in lower case.

    Raises:
        CassetteError: if one of them carries credentials.
    """
    lower = {name.lower() for name in names}
    if lower & _NEVER:
        raise CassetteError(
            f"keep_headers: {min(lower & _NEVER)} carries credentials, and is never recorded."
        )
    return lower


def kept_headers(
    headers: Iterable[tuple[str, str]], extra: Sequence[str] = (), *, request_id: str = "req_1"
) -> tuple[tuple[str, str], ...]:
    """Those *headers* of an answer that are written, in order, with their names in lower case.

    All others change with every recording and mean nothing to a client, or are nobody's business.

    Args:
        headers: Names and values.
        extra: Names of further headers to keep, in upper or lower case.
        request_id: In the place of the ``x-request-id``, which is another one in each recording.

    Raises:
        CassetteError: as :func:`check_kept`.
    """
    names = check_kept(extra)
    kept = ((name.lower(), value) for name, value in headers if name.lower() in _KEPT | names)
    return tuple((name, request_id if name == "x-request-id" else value) for name, value in kept)
