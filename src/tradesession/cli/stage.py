"""Where `scripts/demo` plays: numbered chapters on a screen, with their steps."""

from __future__ import annotations

from tradesession.cli.output import Screen


class Stage:
    """The screen, and the number of the chapter."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._chapters = 0

    def chapter(self, title: str) -> None:
        """The next chapter begins."""
        self._chapters += 1
        self.screen.say()
        self.screen.say(f"{self._chapters}. {title}", "bold")
