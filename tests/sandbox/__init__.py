"""Tests of the sandbox, with a client of their own that shares no code with the library."""
