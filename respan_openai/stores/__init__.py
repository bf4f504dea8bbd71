"""Where a local gateway keeps its cache, budgets, customers, prompts and log: memory, a file, or Redis."""

from .memory import MemoryStore
from .protocol import Charge, Store
from .redis import RedisStore
from .sqlite import SQLiteStore


__all__ = ["Charge", "MemoryStore", "RedisStore", "SQLiteStore", "Store"]
