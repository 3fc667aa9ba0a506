"""Local servers that speak the wire of the platforms."""
