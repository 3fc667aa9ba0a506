"""Links, sessions and their streams, for every platform."""
