"""The OpenAI Agents SDK through the gateway, with parameters for a whole run.

The SDK takes a client, and the client an HTTP client: ``AsyncRespanTransport`` goes at the bottom, as it would
for any framework that takes no more than that. Needs ``openai-agents``. Runs offline.
"""

from __future__ import annotations

import asyncio

import openai
from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from respan_openai import AsyncRespanTransport, CallRecord, LocalGateway, params


if openai.VERSION.startswith(("1.", "2.")):
    import httpx
else:
    import httpx2 as httpx  # openai 3 is built on it


def tell(record: CallRecord) -> None:
    """Print each call that the agent made; a hook."""
    print(f"  {record.path} target={record.target} model={record.model} status={record.status}")


async def main() -> None:
    """One run over chat completions, and a streamed one over Responses."""
    set_tracing_disabled(disabled=True)  # its traces would go to OpenAI, with the client's key
    transport = AsyncRespanTransport(
        httpx.AsyncHTTPTransport(),
        gateway=LocalGateway.echo(),
        defaults={"metadata": {"app": "agents"}},
        on_call=tell,
    )
    async with AsyncOpenAI(
        api_key="not used here", http_client=DefaultAsyncHttpxClient(transport=transport)
    ) as client:
        with params(customer_identifier="user_123", thread_identifier="chat_9"):
            agent = Agent(name="Parrot", model=OpenAIChatCompletionsModel("gpt-4o-mini", client))
            result = await Runner.run(agent, "Hello from an agent")
            print(result.final_output)

            agent = Agent(name="Parrot", model=OpenAIResponsesModel("gpt-4o-mini", client))
            streamed = Runner.run_streamed(agent, "And in pieces")
            async for _event in streamed.stream_events():
                pass
            print(streamed.final_output)


if __name__ == "__main__":
    asyncio.run(main())
