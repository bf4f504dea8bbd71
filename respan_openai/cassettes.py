"""``python -m respan_openai.cassettes``: looks after recorded calls, as ``respan-openai cassettes`` does."""

from __future__ import annotations

import sys

from .testing.commands import main


if __name__ == "__main__":
    sys.exit(main())
