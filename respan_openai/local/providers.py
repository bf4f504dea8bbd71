"""Who answers behind the gateway: endpoints, Azure's deployments, any transport, or nobody but ``Echo``.

A provider's stored key leaves for its own origin only. A credential that came with a request replaces the
stored one whole: never is one's key sent to the other's address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .._check import shown
from .._core.call import string_field
from .._headers import header_value
from ..exceptions import ConfigError, ParamsError
from ..openrouter import OpenRouter
from ..targets import Provider, is_object
from .echo import Echo


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Self

    from .._core.call import Call, Outgoing, Raw


__all__ = ["Azure", "Upstream", "Via", "base_url_of", "name_at", "paths_of"]


#: What a ``LocalGateway`` takes for a provider.
Upstream = Provider | OpenRouter | Echo

_RESPONSES = "/responses"
_BEARER = b"Bearer "


class Azure(Provider):
    """Azure OpenAI: a model is a deployment, which stands in the path.

    Args:
        endpoint: ``https://<resource>.openai.azure.com``.
        api_key: Sent as ``api-key``, to this origin only; or a function that returns it, asked at each
            attempt.
        api_version: Query of each request, such as ``2024-10-21``.
        name: In records and in the model's prefix.
        deployments: Name of a model to that of its deployment; one that is not in it is its own deployment. A
            request's ``model_name_map`` wins.

    Raises:
        ConfigError: as for :class:`Provider`.
    """

    def __init__(
        self,
        endpoint: str,
        api_key: Any,
        api_version: str,
        *,
        name: str = "azure",
        deployments: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, endpoint, api_key, models=deployments)
        self.api_version = header_value(api_version, what="api_version").decode()

    def with_credential(self, key: str, base_url: str | None = None, api_version: str | None = None) -> Self:
        """As for :class:`Provider`; with another *api_version*, too, if one is given."""
        other = super().with_credential(key, base_url)
        if api_version is not None:
            other.api_version = header_value(api_version, what="api_version").decode()
        return other

    def unfit(self, call: Call) -> str | None:
        """As for :class:`Provider`; nor can a call whose model has no place in a path."""
        if not is_object(call.body):
            return "its model stands in a body that is not JSON, and Azure wants a deployment in the path"
        return super().unfit(call) or self._unfit_model(call)

    def _unfit_model(self, call: Call) -> str | None:
        try:
            _folder(call.path, self._named(string_field(call.body, "model") or ""))
        except ParamsError as exc:
            return str(exc)
        return None

    def _outgoing(self, path: str, kept: Raw, body: bytes | None, model: str | None) -> Outgoing:
        folder = _folder(path, model or "")
        plain = super()._outgoing(path, kept, body, model)
        url = f"{self.base_url}/openai{folder}{path}?api-version={quote(self.api_version)}"
        headers = [
            (b"api-key", value.removeprefix(_BEARER)) if name == b"Authorization" else (name, value)
            for name, value in plain.headers
        ]
        return plain.replace(url=url, headers=headers)


def _folder(path: str, model: str) -> str:
    """Where *path* of the deployment *model* lies; that of Responses names it in the body."""
    if path == _RESPONSES:
        return ""
    try:
        name = quote(model, safe="")
    except UnicodeEncodeError:
        name = ""
    if not name.strip("."):  # whoever normalises the path takes "." and ".." out of it
        raise ParamsError(
            f"`model`: {shown(model)} is no name of a deployment, which Azure wants in the path of a URL. "
            "Name the deployment, or the model that it stands for in Azure(deployments={...}).",
            param="model",
        )
    return f"/deployments/{name}"


class Via(Provider):
    """A provider that is reached through a transport of its own instead of a socket of this gateway's.

    For whatever brings a transport, such as ``respan_gateway.Gateway().transport()`` (PyPI: respan-gateway),
    which speaks to Anthropic and Gemini. For a ``LocalGateway`` only: ``fallbacks`` of a client know no
    transport but the client's own.

    Args:
        name: In records and in the model's prefix.
        transport: For blocking callers, of httpx or httpx2, whichever the caller's is.
        async_transport: For awaiting callers. One of the two at least.
        base_url: Of the requests that the transport gets.
        api_key: Sent as bearer token; default none worth keeping secret.
        models: As for :class:`Provider`.

    Raises:
        ConfigError: if there is no transport, or as for :class:`Provider`.
    """

    needs_gateway = True

    def __init__(
        self,
        name: str,
        transport: Any = None,
        async_transport: Any = None,
        *,
        base_url: str = "http://provider.invalid/v1",
        api_key: str = "unused",
        models: Mapping[str, str] | None = None,
    ) -> None:
        if not (hasattr(transport, "handle_request") or hasattr(async_transport, "handle_async_request")):
            raise ConfigError(
                f"Via({name!r}) needs transport= with handle_request(), async_transport= with "
                "handle_async_request(), or both: without one, nobody can be asked."
            )
        super().__init__(name, base_url, api_key, models=models)
        self.transport = transport
        self.async_transport = async_transport


def name_at(provider: Upstream, model: str) -> str:
    """The name that *provider* has for *model*, by its own ``models`` or ``deployments``."""
    return provider.models.get(model, model) if isinstance(provider, Provider) else model


def paths_of(provider: Upstream) -> Collection[str]:
    """Those that *provider* serves; an echo does whatever a provider may."""
    return Provider.paths if isinstance(provider, Echo) else provider.paths


def base_url_of(provider: Upstream) -> str | None:
    """Where *provider*'s stored key goes; ``None`` if it is asked in this process."""
    return None if isinstance(provider, Echo) else provider.base_url
