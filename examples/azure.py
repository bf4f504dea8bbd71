"""An Azure OpenAI client through the gateway: the deployment's URL becomes the gateway's, its name the model.

Prints the request as the SDK built it for Azure, and as it went out. The gateway here has one provider, named
``azure`` as the hosted one's is, which repeats the last user message. Runs offline.
"""

from __future__ import annotations

import json

from openai import AzureOpenAI, DefaultHttpxClient

from respan_openai import Echo, LocalGateway, wrap


def show(request) -> None:
    """Print what goes to the gateway."""
    print(f"sent   {request.method} {request.url}")
    print(f"       model: {json.loads(request.content)['model']}")
    print(f"       x-respan-route-provider: {request.headers['x-respan-route-provider']}")
    print(f"       Azure's key among the headers: {'api-key' in request.headers}")


def main() -> None:
    """A chat completion, whose URL names the deployment, and a Response, whose body does."""
    azure = AzureOpenAI(
        azure_endpoint="https://my-resource.openai.azure.com",
        api_version="2025-04-01-preview",
        api_key="azure-key",
        http_client=DefaultHttpxClient(event_hooks={"request": [show]}),
    )
    with wrap(azure, gateway=LocalGateway([Echo("azure")])) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="my-gpt4", messages=[{"role": "user", "content": "Hello from a deployment"}]
        )
        print(f"built  {raw.http_request.method} {raw.http_request.url}")
        print(f"answer {raw.parse().choices[0].message.content}\n")

        raw = client.responses.with_raw_response.create(model="my-gpt4", input="And from Responses")
        print(f"built  {raw.http_request.method} {raw.http_request.url}")
        print(f"answer {raw.parse().output_text}")


if __name__ == "__main__":
    main()
