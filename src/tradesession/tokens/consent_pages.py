"""The pages that a person's browser shows at the end of a consent. Self-contained, without script; every text is escaped."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Final

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #f4f6f9; --card: #ffffff; --good: #1a7f4b; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --paper: #12161c; --card: #1c222b; --good: #4cc38a; --bad: #ff8a80; }
}
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink);
  font: 17px/1.5 system-ui, sans-serif; }
main { background: var(--card); border-radius: 14px; padding: 2.2rem 2.6rem; margin: 1rem; max-width: 32rem;
  box-shadow: 0 6px 30px rgba(0, 0, 0, .12); }
h1 { font-size: 1.35rem; margin: 0 0 .6rem; }
h1::before { content: attr(data-mark); margin-right: .6rem; color: var(--good); }
.bad h1::before { color: var(--bad); }
p { margin: 0; overflow-wrap: anywhere; }
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every answer: nothing is kept, loaded, framed or guessed, and no address is passed on."""


def page(title: str, text: str, *, good: bool) -> str:
    """A page with a headline and a sentence."""
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f'<body class="{"good" if good else "bad"}"><main><h1 data-mark="{"✓" if good else "✗"}">{escape(title)}</h1>'
        f"<p>{escape(text)}</p></main></body></html>\n"
    )
