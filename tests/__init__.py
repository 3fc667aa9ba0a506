"""The tests mirror the source; as packages, so that they can share helpers."""
