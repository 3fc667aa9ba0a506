"""The drivers that move bytes: TLS TCP, WebSocket, HTTP."""
