"""A support desk: two calls to a model, which the tests beside it replay."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai import OpenAI


CLERK = "You are a refunds clerk.\nAnswer in one sentence."


def reply(client: OpenAI, customer: str, question: str) -> str:
    """The clerk's answer."""
    answer = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "system", "content": CLERK}, {"role": "user", "content": question}],
        extra_body={"customer_identifier": customer},
    )
    return answer.choices[0].message.content or ""


def dictate(client: OpenAI, question: str) -> Iterator[str]:
    """The same, word by word."""
    with client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": question}], stream=True
    ) as stream:
        yield from (word for chunk in stream if (word := chunk.choices[0].delta.content))
