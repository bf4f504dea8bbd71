"""What a test asked and what it got, kept until its cassette is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Sequence

    from .recording import Answer, Question
    from .rules import Rules


__all__ = ["Seen", "without_retries"]


class Seen:
    """One request of the test, and what came back."""

    def __init__(self, number: int, question: Question) -> None:
        self.number = number
        self.question = question
        self.answer: Answer | None = None
        self.is_live = False
        #: The question as it is written.
        self.masked = question


def without_retries(live: Sequence[Seen], rules: Rules) -> list[Seen]:
    """*live* without failures after which the same request was answered: a rate limit must not become a fixture.

    One that failed to the end keeps every attempt, for so many are made when it is played.
    """
    keys = {seen.number: rules.key(seen.masked) for seen in live}
    answered = {keys[seen.number]: seen.number for seen in live if not _is_retried(seen)}
    return [
        seen for seen in live if not (_is_retried(seen) and answered.get(keys[seen.number], 0) > seen.number)
    ]


def _is_retried(seen: Seen) -> bool:
    status = None if seen.answer is None else seen.answer.status
    return status is None or status == 429 or status >= 500
