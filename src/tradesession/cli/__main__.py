"""`python -m tradesession.cli`: the command line where no script was installed."""

from __future__ import annotations

import sys

from tradesession.cli import main

sys.exit(main())
