"""What became of a call, in words short enough to compare: its text, its attempts, its targets' health."""

from __future__ import annotations

from typing import Any

from respan_openai import Gateway, health


#: For a gateway that is no ``Scripted``.
KEY = "rk-gateway/canary+of=nobody"


async def said(world: Any, client: Any, *, stream: bool, **kwargs: Any) -> str:
    """The text of a chat completion, streamed or not."""
    if stream:
        return str(await world.text(client, **kwargs))
    return str((await world.call(client, **kwargs)).choices[0].message.content)


def story(record: Any) -> list[tuple[str, str | None]]:
    """Target and meaning of each attempt; no meaning for the one that was answered."""
    return [(attempt.target, attempt.meaning) for attempt in record.attempts]


def duplicates(record: Any) -> list[bool]:
    """Which of the attempts may be billed beside another."""
    return [attempt.possible_duplicate for attempt in record.attempts]


def faults_of(name: str) -> int:
    """Faults in a row that count against the target; 0 if it was never asked."""
    return sum(known.failures for known in health() if known.name == name)


def state_of(name: str) -> str:
    """Of the target's breaker."""
    (state,) = [known.state for known in health() if known.name == name]
    return state


def gateway_at(origin: str) -> Gateway:
    """A gateway where no server need be."""
    return Gateway(KEY, origin)
