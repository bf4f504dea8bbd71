"""Four ways to say a parameter, which of them wins, and what a wrong one looks like.

Prints, for each call, the parameters in the body and those in the header ``X-Data-Respan-Params``: each key is
on the wire once, whatever was said twice in the code. Runs offline.
"""

from __future__ import annotations

import base64
import json

from openai import DefaultHttpxClient, OpenAI

from respan_openai import LocalGateway, ParamsError, body, params, wrap


ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}


def show(request) -> None:
    """Print where the parameters of a request are."""
    own = {name: value for name, value in json.loads(request.content).items() if name not in ASK}
    header = json.loads(base64.b64decode(request.headers.get("x-data-respan-params", "e30=")))
    print(f"  body   {json.dumps(own)}\n  header {json.dumps(header)}")


@params(thread_identifier="nightly", disable_log=True)
def nightly(client: OpenAI) -> None:
    """Every call inside has the decorator's parameters, also those that a library makes."""
    client.chat.completions.create(**ASK)


def main() -> None:
    """One call for each way."""
    http_client = DefaultHttpxClient(event_hooks={"request": [show]})
    plain = OpenAI(api_key="not used here", http_client=http_client)
    with wrap(plain, gateway=LocalGateway.echo(), defaults={"customer_identifier": "default"}) as client:
        print("defaults= of wrap()")
        client.chat.completions.create(**ASK)

        print("keywords of the call")
        client.chat.completions.create(**ASK, customer_identifier="call", fallback_models=["gpt-4o"])

        print("extra_body=body(...), which type checkers know")
        client.chat.completions.create(**ASK, extra_body=body(customer_identifier="call"))

        print("a params(...) block: the inner one wins, and a call over both")
        with params(customer_identifier="outer", metadata={"run": 7}), params(customer_identifier="inner"):
            client.chat.completions.create(**ASK)
            client.chat.completions.create(**ASK, customer_identifier="call")

        print("the decorator")
        nightly(client)

        print("more than 4 KiB of base64: in the body, as respan_params")
        with params(metadata={"notes": "x" * 4000}):
            large = client.with_options(http_client=DefaultHttpxClient(event_hooks={"request": [show_size]}))
            large.chat.completions.create(**ASK)
            large.close()

        print("a wrong name, a wrong type: nothing is sent")
        for wrong in ({"fallback_modles": ["gpt-4o"]}, {"cache_ttl": "soon"}):
            try:
                client.chat.completions.create(**ASK, **wrong)
            except ParamsError as error:
                print(f"  {error.param}: {error}")


def show_size(request) -> None:
    """As show(), for values too long to print."""
    inside = json.loads(request.content)["respan_params"]
    print(f"  body   respan_params with {sorted(inside)}")
    print(f"  header {'x-data-respan-params' in request.headers}")


if __name__ == "__main__":
    main()
