"""What the sandboxed CPlugin can do in more than one way: figures one may want to change, and answers where the real server's is not known.

Pure. Each default is what was observed on an ASP.NET Core server or is documented. Settings may be changed while the sandbox runs and
hold from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tradesession.sandbox.signalr.settings import HubSettings


@dataclass(slots=True)
class Settings(HubSettings):
    """Seconds unless a name says otherwise. Those of the hubs are in `HubSettings`."""

    # --- what is not known of the real service ---
    any_platform: bool = True
    """Whether the hubs take every trade platform of the organization, or only those of their own kind."""
    kind: Literal["number", "text"] = "number"
    """How Added, Updated and Deleted travel."""
    times: Literal["zone", "no zone", "seven digits"] = "zone"
    """How dates travel: with Z, without a zone, or with seven digits after the second."""

    # --- the feed ---
    ticks_in_batches: bool = False
    """Whether subscribed ticks come as OnTicksBatch, not as OnTick. What turns it on at the real service is not known."""
    update_interval: float = 0.5
    """Between two items of the streams other than those of ticks."""

    # --- REST ---
    answer_kept: float = 60.0
    """How long the answer to an Idempotency-Key is kept; one of OutcomeUnknown is kept for an hour."""
    token_error_status: int = 400
    """HTTP status of invalid_client; RFC 6749 allows 401 as well."""
