"""Pure protocol machines: framing, correlation, keepalive, quotas. No sockets, no clocks, no tasks: time and randomness are parameters."""
