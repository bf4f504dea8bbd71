"""A real openai client through a gateway in this process: no account, no key, no network.

It makes four calls (plain, streamed, with parameters, async) and prints for each what the client sent to the
gateway, what came back, and the record of the call. ``LocalGateway.echo()`` answers by repeating the last user
message. Without ``gateway=...`` the same lines call the hosted gateway, with the key in ``RESPAN_API_KEY``.
"""

from __future__ import annotations

import asyncio
import base64
import json

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

from respan_openai import LocalGateway, last_call, params, record_of, wrap


GATEWAY = LocalGateway.echo()
SHOWN = ("authorization", "content-type", "x-data-respan-params", "x-respan-route-provider")


def show(request) -> None:
    """Print a request as it goes over the wire; an event hook of the client's own HTTP client."""
    print(f"> {request.method} {request.url}")
    for name in SHOWN:
        if name in request.headers:
            print(f"> {name}: {readable(name, request.headers[name])}")
    print(f"> {request.content.decode()}")


def readable(name: str, value: str) -> str:
    """A header for people: the key masked, the base64 of the parameters decoded."""
    if name == "authorization":
        return "Bearer ***"
    return json.dumps(json.loads(base64.b64decode(value))) if name == "x-data-respan-params" else value


async def show_async(request) -> None:
    """As show(); an AsyncClient awaits its hooks."""
    show(request)


def tell(answer: str, record) -> None:
    """Print the answer and what is known about its call."""
    print(f"< {answer}")
    print(
        f"= {record.path} target={record.target} model={record.model} status={record.status} "
        f"attempts={len(record.attempts)} bytes={record.received} done={record.done} "
        f"ms={record.ms:.1f}\n"
    )


def blocking() -> None:
    """Three calls of an OpenAI client."""
    http_client = DefaultHttpxClient(event_hooks={"request": [show]})
    with wrap(OpenAI(api_key="not used here", http_client=http_client), gateway=GATEWAY) as client:
        print("1. A plain call")
        answer = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello, gateway!"}]
        )
        tell(answer.choices[0].message.content, record_of(answer))

        print("2. A streamed one; its record is done when the stream is")
        stream = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "one two three"}], stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        tell(" | ".join(piece for piece in pieces if piece), record_of(stream))

        print("3. With parameters: the block's travel in a header, the call's own in the body")
        with params(customer_identifier="user_123", metadata={"run": 7}):
            answer = client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": "Who asks?"}],
                fallback_models=["gpt-4o"],
            )
        tell(answer.choices[0].message.content, record_of(answer))


async def awaited() -> None:
    """The same with AsyncOpenAI, here with the Responses API."""
    http_client = DefaultAsyncHttpxClient(event_hooks={"request": [show_async]})
    async with wrap(AsyncOpenAI(api_key="not used here", http_client=http_client), gateway=GATEWAY) as client:
        print("4. Async, with the Responses API")
        answer = await client.responses.create(
            model="gpt-4o-mini", input="Hello from a task", thread_identifier="chat_9"
        )
        tell(answer.output_text, last_call())


if __name__ == "__main__":
    blocking()
    asyncio.run(awaited())
