"""What a hub of the sandbox can do in more than one way. Each default is that of ASP.NET Core.

Pure. Settings may be changed while the server runs and hold from then on.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class HubSettings:
    """Seconds and bytes unless a name says otherwise."""

    # --- times of a hub connection ---
    keep_alive: float = 15.0
    """Silence of the server after which it sends a ping."""
    client_timeout: float = 30.0
    """Silence of a client that has pinged once, after which it is dropped."""
    handshake_timeout: float = 15.0
    """How long a socket may stay without a handshake."""
    disconnect_timeout: float = 15.0
    """How long an id lives without a socket: before its first one, and between two with stateful reconnect."""
    linger: float = 0.2
    """How long an id is still taken (409) after its socket went; then it is unknown (404)."""
    send_timeout: float = 10.0
    """How long something may wait for acknowledgements, with stateful reconnect, before the connection is closed without a word."""
    call_limit: float = 60.0
    """How long a call may run. Streams are not limited."""

    # --- sizes ---
    max_message: int = 32 * 1024
    """Largest record that the hub accepts, its end included."""
    parallel: int = 1
    """Calls of one client that run at once; the next one waits. Streams do not count."""
    replay_buffer: int = 100_000
    """Bytes that wait for an acknowledgement with stateful reconnect; the server holds back what goes beyond."""
    ack_interval: float = 1.0
    """How often it acknowledges, with stateful reconnect, what has arrived."""

    # --- answers ---
    arguments_may_be_left_out: bool = True
    """Whether the methods that CPlugin's own SDKs call without their argument take that for null. ASP.NET Core wants the null."""
    detailed_errors: bool = False
    """Whether the texts of ordinary exceptions reach the client."""
