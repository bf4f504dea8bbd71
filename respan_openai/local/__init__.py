"""The gateway in this process: the documented HTTP contract, without an account or a second process."""

from .echo import Echo
from .gateway import AsyncLocalTransport, LocalGateway, LocalTransport


__all__ = ["AsyncLocalTransport", "Echo", "LocalGateway", "LocalTransport"]
