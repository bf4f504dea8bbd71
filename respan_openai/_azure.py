"""Azure OpenAI's way of addressing a model, read from a request.

A deployment stands in the path (``/openai/deployments/<name>/chat/completions?api-version=...``), or,
for Responses and the v1 surface, in the body's ``model`` (openai/lib/azure.py, ``_build_request``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from ._core.call import string_field
from ._core.values import Value


if TYPE_CHECKING:
    from ._core.call import Call


PREFIX = "azure/"

_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")


class Deployment(Value):
    """One Azure OpenAI deployment.

    Attributes:
        model: As the gateway names it: ``azure/<deployment>``; ``None`` if the request names none.
        api_base: The resource's origin, with a slash at its end.
        api_version: ``None`` on the v1 surface, which has none.
    """

    def __init__(self, model: str | None, api_base: str, api_version: str | None) -> None:
        self.model = model
        self.api_base = api_base
        self.api_version = api_version


def deployment_of(call: Call) -> Deployment | None:
    """The deployment that *call* asks for, or ``None`` if it does not speak to Azure."""
    if b"/openai" not in call.raw_path:
        return None
    url = urlsplit(str(call.url))
    version = parse_qs(url.query).get("api-version", [None])[0]
    if version is None and not (url.hostname or "").endswith(_HOSTS):
        return None
    name = _name_in_path(url.path) or string_field(call.body, "model")
    if name is not None and not name.startswith(PREFIX):
        name = PREFIX + name
    return Deployment(name, f"{url.scheme}://{url.netloc}/", version)


def _name_in_path(path: str) -> str | None:
    _, found, rest = path.partition("/openai/deployments/")
    return unquote(rest.partition("/")[0]) if found else None
