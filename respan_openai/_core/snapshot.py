"""What is known about a target, as it is shown to users."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetHealth:
    """What the process knows about one target and credential, at one moment.

    Attributes:
        name: The target's, as the client that asked first called it.
        origin: Scheme, host and port.
        state: Of the breaker: ``closed`` (calls go there), ``open`` (they do not), or ``half-open`` (the next
            call goes there as a probe, or one is under way).
        failures: Faults in a row, up to now.
        retry_tokens: In the retry bucket, 0 to 100; a repeat costs 5 or 10.
        probe_in: Seconds until an open breaker admits a probe, 0.0 if it does; ``None`` while it is closed.
        paused_for: Seconds for which the server asked to be left alone; 0.0 if it did not.
        credential_bad: Whether the credential was refused less than a minute ago.
    """

    name: str
    origin: str
    state: str
    failures: int
    retry_tokens: float
    probe_in: float | None
    paused_for: float
    credential_bad: bool
