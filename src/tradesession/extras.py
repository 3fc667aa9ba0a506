"""The error for a part of tradesession whose extra is not installed: one wording for all of them.

Pure. Always holds: it is about the extra's own library; another module that is missing is told as it is.
"""

from __future__ import annotations

from tradesession.errors import ConfigurationError


def missing(what: str, extra: str, module: str, error: ImportError) -> ConfigurationError:
    """The error that says that `what` needs the extra. Raises `error` itself when it is about another module than the extra's."""
    if error.name is None or error.name.partition(".")[0] != module:
        raise error
    return ConfigurationError(f"{what} needs the extra {extra}, and {module} is not installed: pip install 'tradesession[{extra}]'")
