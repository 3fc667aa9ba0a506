"""The error for an exporter whose library is not there."""

from __future__ import annotations

from tradesession.errors import ConfigurationError


def missing(extra: str, module: str, error: ModuleNotFoundError) -> ConfigurationError:
    """The error that names the extra. Raises `error` itself when it is about another module than the extra's."""
    if error.name is None or error.name.partition(".")[0] != module:
        raise error
    return ConfigurationError(f"this exporter needs the extra {extra}, and {module} is not installed: pip install 'tradesession[{extra}]'")
