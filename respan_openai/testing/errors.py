"""What can be wrong with a cassette itself; a request that it does not answer is no error of the cassette.

    Exception
    └── CassetteError             a cassette cannot be used as asked
        └── CassetteFileError     its file cannot be read

Neither is an ``openai.OpenAIError``: they are raised where a test is set up or taken down, not by a call, and
a test run that makes no calls must not have to import the SDK for them.
"""

from __future__ import annotations

from typing import Any


__all__ = ["CassetteError", "CassetteFileError"]


class CassetteError(Exception):
    """A cassette cannot be used as asked; the message says why, and what to do."""


class CassetteFileError(CassetteError):
    """A file is no cassette, or not one that this release can read. The file is left as it is.

    Attributes:
        path: Of the file, as it was given; empty if it was not.
        place: Where in the file: ``calls[2].response.status``; empty for the file as a whole.
        what: What is wrong there, and what to do. It quotes no values.
    """

    def __init__(self, path: str, place: str, what: str) -> None:
        super().__init__(": ".join(part for part in (path, place, what) if part))
        self.path = path
        self.place = place
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        return CassetteFileError, (self.path, self.place, self.what)
