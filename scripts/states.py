"""Keeps the diagram in docs/sessions.md in step with the table of states: `--check` compares, without it the page is written."""

import re
import sys
from pathlib import Path

from tradesession.session.states import diagram

PAGE = Path(__file__).parents[1] / "docs" / "sessions.md"
BLOCK = re.compile(r"(<!-- states -->\n```mermaid\n).*?(```\n<!-- /states -->)", re.DOTALL)


def main() -> int:
    before = PAGE.read_text(encoding="utf-8")
    after = BLOCK.sub(lambda found: found[1] + diagram() + "\n" + found[2], before)
    if "--check" in sys.argv[1:]:
        if before != after:
            print("docs/sessions.md does not show the table of states as it is: run scripts/check --fix", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
