"""OpenRouter as the gateway: Respan's parameters in OpenRouter's words.

A double stands in OpenRouter's place, prints each body that arrives, and answers. Then a parameter that
OpenRouter has nothing for: an error, before anything is sent. Runs offline.
"""

from __future__ import annotations

import json

import openai

from respan_openai import OpenRouter, ParamsError, params, wrap


if openai.VERSION.startswith(("1.", "2.")):
    import httpx
else:
    import httpx2 as httpx  # openai 3 is built on it


def openrouter(request: httpx.Request) -> httpx.Response:
    """Answer as OpenRouter does."""
    print(f"> {request.method} {request.url}")
    print(json.dumps(json.loads(request.content), indent=2))
    return httpx.Response(200, json=RESPONSE if request.url.path.endswith("/responses") else COMPLETION)


COMPLETION = {
    "id": "gen-1",
    "object": "chat.completion",
    "created": 0,
    "model": "anthropic/claude-sonnet-4.5",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello!"}},
    ],
}
RESPONSE = {
    "id": "gen-2",
    "object": "response",
    "created_at": 0,
    "model": "anthropic/claude-sonnet-4.5",
    "status": "completed",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "output": [
        {
            "id": "msg-1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello again!", "annotations": []}],
        }
    ],
}


def main() -> None:
    """A chat completion, a Response, and a call that OpenRouter could not serve as asked."""
    double = httpx.Client(transport=httpx.MockTransport(openrouter))
    plain = openai.OpenAI(api_key="not used here", http_client=double)
    router = OpenRouter("openrouter-key", referer="https://example.com", title="Example")
    with wrap(plain, gateway=router) as client:
        with params(customer_identifier="user_123", thread_identifier="chat_9"):
            completion = client.chat.completions.create(
                model="anthropic/claude-sonnet-4.5",
                messages=[{"role": "user", "content": "Hi"}],
                fallback_models=["openai/gpt-4o"],
                exclude_providers=["azure"],
            )
            print(f"< {completion.choices[0].message.content}\n")

            response = client.responses.create(
                model="anthropic/claude-sonnet-4.5",
                input="Hi",
                extra_body={"provider": {"sort": "price"}},  # OpenRouter's own go as they are
            )
            print(f"< {response.output_text}\n")

        try:
            client.responses.create(model="openai/gpt-4o", input="Hi", cache_enabled=True)
        except ParamsError as error:
            print(f"ParamsError: {error}")


if __name__ == "__main__":
    main()
