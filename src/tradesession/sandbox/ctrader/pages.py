"""The pages that a person sees while giving consent, as plain HTML: no scripts, no files from elsewhere.

Pure. Whatever comes from a request is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from tradesession.sandbox.ctrader.state import Account, Application

_STYLE = """
:root { color-scheme: light dark; --ink: #17202b; --soft: #5b6878; --line: #d8dee6; --paper: #ffffff; --ground: #eef1f5; --main: #0b6bcb }
@media (prefers-color-scheme: dark) { :root { --ink: #e8edf3; --soft: #9aa7b6; --line: #34404e; --paper: #1a222c; --ground: #10161d } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--ground); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif }
main { width: min(30rem, calc(100vw - 2rem)); margin: 1rem; padding: 2rem; background: var(--paper); border: 1px solid var(--line);
       border-radius: 14px }
h1 { margin: 0 0 .5rem; font-size: 1.35rem } p { margin: 0 0 1rem; color: var(--soft) } strong { color: var(--ink) }
.note { font-size: .8rem; text-transform: uppercase; letter-spacing: .08em }
fieldset { border: 0; margin: 0 0 1.5rem; padding: 0 } legend { padding: 0; margin-bottom: .5rem; font-weight: 600 }
label { display: flex; align-items: center; gap: .75rem; padding: .6rem .75rem; border: 1px solid var(--line); border-radius: 8px;
        margin-bottom: .5rem }
label span { margin-left: auto; color: var(--soft); font-size: .85rem }
.choice { display: flex; gap: .75rem } button { flex: 1; padding: .7rem; border-radius: 8px; border: 1px solid var(--line);
        background: none; color: inherit; font: inherit; cursor: pointer } button.main { background: var(--main); border-color: var(--main);
        color: #fff }
"""

_SCOPES = {"accounts": "look at your trading accounts", "trading": "look at your trading accounts and trade on them"}


def consent_page(application: Application, scope: str, accounts: Iterable[Account], hidden: Mapping[str, str], note: str = "") -> str:
    """The question: which accounts, yes or no. `hidden` are the parameters of the request, carried along."""
    fields = "".join(f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in hidden.items())
    choices = "".join(_choice(account) for account in accounts)
    warning = f"<p><strong>{escape(note)}</strong></p>" if note else ""
    return _page(
        "Allow access?",
        f"""<p><strong>{escape(application.name)}</strong> wants to {escape(_SCOPES[scope])}.</p>{warning}
<form method="post">{fields}<fieldset><legend>Accounts</legend>{choices}</fieldset>
<div class="choice"><button name="decision" value="deny">Deny</button>
<button class="main" name="decision" value="allow">Allow</button></div></form>""",
    )


def refusal_page(reason: str) -> str:
    """What is wrong with the request, when nobody may be redirected."""
    return _page("This does not work", f"<p>{escape(reason)}</p>")


def _choice(account: Account) -> str:
    kind = "live" if account.is_live else "demo"
    return (
        f'<label><input type="checkbox" name="account" value="{account.id}" checked> {account.login}'
        f"<span>{escape(account.broker.title)}, {kind}</span></label>"
    )


def _page(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>
<style>{_STYLE}</style></head>
<body><main><p class="note">cTrader sandbox</p><h1>{escape(title)}</h1>{body}</main></body></html>"""
