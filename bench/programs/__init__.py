"""Programs that run in a process of their own, on the project's Python: the servers, our client, and the bare minimum to compare with."""
