"""What servers write where they mean a number: as a number, or as text.

Pure. Tolerant: what is no number is None, never an error.
"""

from __future__ import annotations

import math
from decimal import Decimal


def finite(value: object) -> float | None:
    """A finite number, also as text. None for a flag (JSON's true is no number), for NaN and infinities, and for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
