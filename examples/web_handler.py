"""A web application with one client, and parameters for each request: no call has another's.

The handler opens a ``params(...)`` block with the caller's identity. Ten requests at once go through one
AsyncOpenAI client; the example prints whose call carried whose identifier. Needs ``starlette``. Runs offline.
"""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from respan_openai import LocalGateway, params, wrap


if openai.VERSION.startswith(("1.", "2.")):
    import httpx
else:
    import httpx2 as httpx  # openai 3 is built on it


async def ask(request: Request) -> JSONResponse:
    """One question of one user; the code below the block need not know who asks."""
    with params(customer_identifier=request.headers["x-user"]):
        return JSONResponse({"answer": await answer_to(request.query_params["q"])})


async def answer_to(question: str) -> str:
    """Somewhere deep in the application."""
    await asyncio.sleep(0.01)  # so that the requests are all under way at once
    answer = await CLIENT.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": question}]
    )
    return answer.choices[0].message.content or ""


async def remember(request) -> None:
    """Note what was asked in whose name; an event hook of the client's HTTP client."""
    header = json.loads(base64.b64decode(request.headers["x-data-respan-params"]))
    question = json.loads(request.content)["messages"][0]["content"]
    ON_THE_WIRE.append((question, header["customer_identifier"]))


@asynccontextmanager
async def lifespan(_app: Starlette):
    """Close the client with the application."""
    async with CLIENT:
        yield


ON_THE_WIRE: list[tuple[str, str]] = []
CLIENT = wrap(
    AsyncOpenAI(
        api_key="not used here",
        http_client=DefaultAsyncHttpxClient(event_hooks={"request": [remember]}),
    ),
    gateway=LocalGateway.echo(),
)
APP = Starlette(routes=[Route("/ask", ask)], lifespan=lifespan)


async def main() -> None:
    """Ten users at once."""
    transport = httpx.ASGITransport(APP)
    async with lifespan(APP), httpx.AsyncClient(transport=transport, base_url="http://app") as browser:
        answers = await asyncio.gather(
            *(
                browser.get("/ask", params={"q": f"I am {n}"}, headers={"X-User": f"user_{n}"})
                for n in range(10)
            )
        )
    for answer, (question, customer) in zip(answers, sorted(ON_THE_WIRE), strict=True):
        print(f"{question} -> sent for {customer} -> {answer.json()['answer']}")


if __name__ == "__main__":
    asyncio.run(main())
