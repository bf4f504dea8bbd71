"""Requests that hold what became known as a secret only after they were sent.

Written without it, such a request could never be played: the same test would send it as it was, before
anything gives the secret away. What an earlier answer gave away is no trouble, for a replayed one brings the
placeholder.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ._plain import canonical
from .gate import leaks
from .secrets import PLACEHOLDER


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._seen import Seen
    from .recording import Question, Recorded
    from .redact import Redactor
    from .rules import Rules


__all__ = ["late"]


def late(kept: Sequence[Seen], written: Sequence[Recorded], rules: Rules, redactor: Redactor) -> list[str]:
    """What is wrong with those of *kept* that a replay would not recognise, a text for each.

    *written* is the same calls, as *redactor* has made them to be written.
    """
    changed = [
        (seen, each.question)
        for seen, each in zip(kept, written, strict=True)
        if rules.key(seen.masked) != rules.key(each.question)
    ]
    replayed = _replayed([seen for seen, _ in changed], kept, redactor)
    return [
        _told(seen, rules, redactor)
        for (seen, question), asks in zip(changed, replayed, strict=True)
        if _blank(asks, rules) != _blank(question, rules)
    ]


def _replayed(changed: Sequence[Seen], kept: Sequence[Seen], redactor: Redactor) -> Iterator[Question]:
    """What each of *changed* would ask if the answers before it were replayed.

    They come in the order in which they were sent, and give nothing away themselves: what they hold of
    secrets was masked by then.
    """
    fresh = redactor.anew()
    landed = deque(sorted(kept, key=lambda seen: seen.landed))
    for seen in changed:
        while landed and landed[0].landed < seen.sent:
            answer = landed.popleft().answer
            if answer is not None:
                fresh.answer(answer)
        yield fresh.question(seen.masked)


def _blank(question: Question, rules: Rules) -> bytes:
    return PLACEHOLDER.sub(b"", canonical(rules.compared(question)).encode())


def _told(seen: Seen, rules: Rules, redactor: Redactor) -> str:
    found = leaks(canonical(rules.compared(seen.masked).tree), redactor.secrets)
    holds = "; ".join(f"{leak.place.removeprefix('$.')} holds {leak.what}" for leak in found[:3])
    return (
        f"{seen}: {holds or 'it holds a secret'}, which became known only after the request was sent. A "
        "replay would not recognise the request, so that nothing is saved. Name the secret beforehand, with "
        "redact=[...] or in an environment variable that ends in _KEY, _TOKEN, _SECRET or _PASSWORD."
    )
