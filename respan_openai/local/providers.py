"""Who answers behind the gateway: endpoints of their own, Azure's deployments, any HTTP transport, or nobody but ``Echo``.

A provider's stored key leaves for its own origin only. A credential that came with a request replaces the
stored one whole: never is one's key sent to the other's address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .._core.call import Call, Mode, Outgoing
from .._headers import header_value
from ..exceptions import ConfigError, ParamsError
from ..openrouter import OpenRouter
from ..targets import Provider
from .contract import invalid
from .echo import Echo
from .forms import Form


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .._core.call import Raw
    from .._core.health import Health
    from .credentials import Credential
    from .router import Candidate


__all__ = ["Azure", "Choice", "Upstream", "Via", "base_url_of", "name_at", "request_for"]


#: What a ``LocalGateway`` takes for a provider.
Upstream = Provider | OpenRouter | Echo

_RESPONSES = "/responses"
_BEARER = b"Bearer "


class Azure(Provider):
    """Azure OpenAI: a model is a deployment, which stands in the path.

    Args:
        endpoint: ``https://<resource>.openai.azure.com``.
        api_key: Sent as ``api-key``, to this origin only; or a function that returns it, asked at each attempt.
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

    def _outgoing(self, path: str, kept: Raw, body: bytes | None, model: str | None) -> Outgoing:
        plain = super()._outgoing(path, kept, body, model)
        asked = model or _model_in_form(kept, body)
        deployment = "" if path == _RESPONSES else f"/deployments/{quote(asked, safe='')}"
        url = f"{self.base_url}/openai{deployment}{path}?api-version={quote(self.api_version)}"
        headers = [
            (b"api-key", value.removeprefix(_BEARER)) if name == b"Authorization" else (name, value)
            for name, value in plain.headers
        ]
        return plain._replace(url=url, headers=headers)


def _model_in_form(headers: Raw, body: bytes | None) -> str:
    kind = next((value.decode("latin-1") for name, value in headers if name.lower() == b"content-type"), "")
    form = Form.read(kind, body or b"")
    return "" if form is None else form.fields.get("model", "")


class Via(Provider):
    """A provider that is reached through a transport of its own instead of a socket of this gateway's.

    For whatever brings a transport, such as ``respan_gateway.Gateway().transport()`` (PyPI: respan-gateway), which
    speaks to Anthropic and Gemini.

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
                f"Via({name!r}) needs transport= with handle_request(), async_transport= with handle_async_request(), or "
                "both: without one, nobody can be asked."
            )
        super().__init__(name, base_url, api_key, models=models)
        self.transport = transport
        self.async_transport = async_transport


class Choice:
    """One candidate, as the flow knows its targets.

    Args:
        provider: The candidate's.
        candidate: As the router chose it.
        body: For the provider, with the model's name there (:func:`name_at`).
        health: What is known about it.

    Attributes:
        name: The provider's.
        provider: As given.
        candidate: As given.
        body: As given.
        outgoing: The newest request to it; ``None`` before it is asked.
    """

    guards = direct = prefill = False

    def __init__(self, provider: Upstream, candidate: Candidate, body: bytes, health: Health) -> None:
        self.name = provider.name
        self.provider = provider
        self.candidate = candidate
        self.body = body
        self.outgoing: Outgoing | None = None
        self._health = health

    def __repr__(self) -> str:
        return f"Choice({self.name!r}, {self.candidate.model!r})"

    @property
    def paths(self) -> Collection[str]:
        """Those of every provider."""
        return Provider.paths

    def build(self, call: Call) -> Outgoing:
        """The provider's request for the candidate's model, with its credential."""
        outgoing = request_for(self.provider, self.candidate.credential, call.path, call.headers, self.body)
        self.outgoing = outgoing = outgoing._replace(model=self.candidate.sent)
        return outgoing

    def health(self, call: Call) -> Health:  # noqa: ARG002 -- as every target
        """What this gateway knows about the provider, the credential and the model."""
        return self._health

    def shares_key_with(self, other: object) -> bool:
        """Whether *other* asks the same provider with the same key."""
        mine = self.candidate
        return isinstance(other, Choice) and (mine.provider, mine.credential) == (
            other.candidate.provider,
            other.candidate.credential,
        )

    def unfit(self, call: Call) -> str | None:  # noqa: ARG002 -- as every target
        """The router has seen to it."""
        return None


def name_at(provider: Upstream, model: str) -> str:
    """The name that *provider* has for *model*, by its own ``models`` or ``deployments``."""
    return provider.models.get(model, model) if isinstance(provider, Provider) else model


def request_for(
    provider: Upstream, credential: Credential | None, path: str, headers: Raw, body: bytes
) -> Outgoing:
    """The request for *path*, with *credential* in the place of the stored one if there is one.

    Raises:
        ContractError: 400 for a credential that this kind of provider does not know, and for what OpenRouter has no
            counterpart for.
    """
    asked = provider if credential is None else _with(provider, credential)
    if not isinstance(asked, OpenRouter):
        return asked.outgoing(path, headers, body)
    try:
        return asked.build(Call("POST", "", path.encode(), path, headers, body, mode=Mode.PASS))
    except ParamsError as exc:
        raise invalid(str(exc), exc.param) from None


def _with(provider: Upstream, credential: Credential) -> Upstream:
    if isinstance(provider, Echo):
        return provider
    key, base = credential.api_key, credential.api_base or provider.base_url
    if key is None:
        raise invalid(
            f"The credential for {provider.name!r} has no api_key, which is what this provider takes.",
            "credential_override",
        )
    if isinstance(provider, Azure):
        return Azure(base, key, credential.api_version or provider.api_version, name=provider.name)
    if isinstance(provider, OpenRouter):
        return OpenRouter(key, base)
    return Provider(provider.name, base, key)


def base_url_of(provider: Upstream) -> str | None:
    """Where *provider*'s stored key goes; ``None`` if it is asked in this process."""
    return None if isinstance(provider, Echo) else provider.base_url
