"""Tokens: what they are, how they are obtained, where they rest, and who renews them."""
