"""A recorded call in plain values: what was asked, in a form that says nothing about where, and what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = [
    "Answer",
    "Body",
    "Chunk",
    "Failure",
    "Json",
    "Multipart",
    "Part",
    "Question",
    "Raw",
    "Recorded",
    "Tape",
]


class Json(NamedTuple):
    """A JSON body, parsed."""

    value: Any


class Part(NamedTuple):
    """A part of a multipart body.

    Attributes:
        name: Of the field.
        filename: ``None`` for what is no file.
        type: Content type, if the part says one.
        text: Of a field that is no file; ``None`` for a file.
        sha256: Of the content, in hexadecimal.
        size: In bytes.
    """

    name: str
    filename: str | None
    type: str | None
    text: str | None
    sha256: str
    size: int


class Multipart(NamedTuple):
    """A body of ``multipart/form-data``, without its boundary."""

    parts: tuple[Part, ...]


class Raw(NamedTuple):
    """Any other body.

    Attributes:
        type: Content type, if there is one.
        text: Of what is short, and text; ``None`` otherwise.
        sha256: Of the whole, in hexadecimal.
        size: In bytes.
    """

    type: str | None
    text: str | None
    sha256: str
    size: int


Body = Json | Multipart | Raw | None


class Question(NamedTuple):
    """A request, without what depends on where it was sent.

    Attributes:
        method: Upper case.
        path: As the gateway documents it where it serves it (``/chat/completions``), else as it was sent.
        query: Sorted.
        body: Without the gateway's parameters; ``None`` for an empty one.
        respan: The gateway's parameters, whichever carrier brought them.
        via: Name of the target that was asked; for readers only, never compared.
        deployment: Azure's, where the path named one; never compared.
        headers: Those that are to be compared, sorted, lower-case names; no others are known.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Body = None
    respan: Mapping[str, Any] = {}
    via: str | None = None
    deployment: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Chunk(NamedTuple):
    """Bytes of a body as they came, content-decoded.

    Attributes:
        at: Milliseconds since the request was sent.
        data: Never empty.
    """

    at: int
    data: bytes


class Failure(NamedTuple):
    """What the HTTP library raised.

    Attributes:
        type: Name of its class, such as ``ReadTimeout``.
        at: Milliseconds since the request was sent.
        spent: Whether it left its call no time: then nobody else is asked, though to play it takes none.
    """

    type: str
    at: int
    spent: bool = False


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: ``None`` if no answer began.
        headers: Those that are kept, in order, lower-case names.
        chunks: The body; empty if there was none.
        end: ``eof``: whole; ``closed``: the reader left early; ``failed``: it broke off with *failure*.
        failure: Behind the last chunk, or in the place of everything.
    """

    status: int | None
    headers: tuple[tuple[str, str], ...] = ()
    chunks: tuple[Chunk, ...] = ()
    end: Literal["eof", "closed", "failed"] = "eof"
    failure: Failure | None = None


class Recorded:
    """One call; equal to another that says the same, and not to be changed.

    Args:
        question: As the attribute.
        answer: As the attribute, or what reads it: called once, when somebody first asks for it.
        origin: As the attribute.

    Attributes:
        question: What was asked.
        origin: ``None`` for what was recorded here; else where it comes from (``vcr``, ``cassetter``, ``hand``).
    """

    __slots__ = ("_answer", "origin", "question")

    def __init__(
        self, question: Question, answer: Answer | Callable[[], Answer], origin: str | None = None
    ) -> None:
        self.question: Final = question
        self.origin: Final = origin
        self._answer = answer

    @property
    def answer(self) -> Answer:
        """What came back.

        Raises:
            CassetteFileError: if it is still to be read, and what the file says about it is no answer.
        """
        if not isinstance(self._answer, Answer):
            self._answer = self._answer()
        return self._answer

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recorded):
            return NotImplemented
        return (self.question, self.origin, self.answer) == (other.question, other.origin, other.answer)

    def __hash__(self) -> int:
        return hash((self.question.method, self.question.path, self.origin))

    def __repr__(self) -> str:
        return f"Recorded({self.question!r}, {self.answer!r}, {self.origin!r})"


class Tape(NamedTuple):
    """What a cassette's file holds.

    Attributes:
        calls: In the order in which they were sent.
        test: Node id of the test that recorded it.
        recorded: Date, ``YYYY-MM-DD``.
        by: Versions of the SDK and of this package.
    """

    calls: tuple[Recorded, ...]
    test: str | None = None
    recorded: str | None = None
    by: str | None = None
