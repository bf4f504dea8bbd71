"""The gateway in this process: the documented HTTP contract, without an account or a second process."""

from .echo import Echo
from .gateway import LocalGateway
from .prices import Price, Prices
from .prompts import Prompts, PromptVersion, StoredPrompt
from .providers import Azure, Via
from .settings import Model, Settings
from .transport import AsyncLocalTransport, LocalTransport


__all__ = [
    "AsyncLocalTransport",
    "Azure",
    "Echo",
    "LocalGateway",
    "LocalTransport",
    "Model",
    "Price",
    "Prices",
    "PromptVersion",
    "Prompts",
    "Settings",
    "StoredPrompt",
    "Via",
]
