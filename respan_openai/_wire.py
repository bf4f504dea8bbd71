"""How parameters travel: the names of their three carriers, and what stands in them.

Apart from ``_params``, which says what parameters there are: every call needs the names, few need the checks.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final


CONTAINERS: Final = ("respan_params", "keywordsai_params")
"""Body fields that hold an object of parameters; the second is the first one's old name."""

HEADER: Final = "X-Data-Respan-Params"
"""Header that holds an object of parameters as base64 of JSON."""

LEGACY_HEADER: Final = "X-Data-Keywordsai-Params"
"""Old name of ``HEADER``; the gateway renames it."""

CARRIERS: Final = (HEADER.lower(), LEGACY_HEADER.lower())
"""Both header carriers, in lower case."""

HEADER_LIMIT: Final = 4096
"""Bytes of base64 up to which ``encode_header`` answers: half of what the strictest common server accepts."""

ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
"""Compact, and nothing that JSON has no word for."""


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """One dict of all *layers*: the later layer wins, key by key.

    Only ``variables`` merges inside, again with the later layer winning: so does the gateway
    (respan-api). The layers are taken as checked; they are not changed, and their values are shared.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        earlier, later = merged.get("variables"), layer.get("variables")
        merged.update(layer)
        if isinstance(earlier, Mapping) and isinstance(later, Mapping):
            merged["variables"] = {**earlier, **later}
    return merged


def dumps(params: Mapping[str, Any]) -> bytes:
    """Checked *params* as compact JSON in UTF-8."""
    return ENCODER.encode(params).encode()


def encode_header(params: Mapping[str, Any]) -> str | None:
    """Checked *params* as a value for ``HEADER``: base64, standard alphabet, of their JSON.

    ``None`` if it would have more than ``HEADER_LIMIT`` bytes: servers refuse headers that are too long, some
    by closing the connection. Put the parameters into the body as ``respan_params`` then.
    """
    text = dumps(params)
    if (len(text) + 2) // 3 * 4 > HEADER_LIMIT:
        return None
    return base64.b64encode(text).decode("ascii")
