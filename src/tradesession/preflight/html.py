"""The report as one HTML page that needs nothing else: no script, no font, no address that is fetched.

Pure. Always holds: everything that a server wrote is escaped, and the page says by a policy of its own that nothing may be loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html import escape
from typing import Final

from tradesession.preflight.report import Problem, Report, Result, Status
from tradesession.secrets import redact_url

AREAS: Final = {
    "server": "Server",
    "password": "Tokens by login and password",
    "assertion": "Tokens by assertion",
    "refresh": "Refresh tokens",
    "token": "What a token is good for",
    "groups": "/groups",
    "symbol_info": "/symbol_info",
    "history": "/history",
    "streaming": "/streaming",
}
"""The areas of the rules, for a person."""

_MARKS: Final = {Status.FAILED: "✗", Status.WARNING: "!", Status.PASSED: "✓", Status.SKIPPED: "-"}

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5c6674; --line: #d9dee5; --back: #ffffff; --card: #f5f7f9;
  --failed: #b3261e; --warning: #8a5a00; --passed: #1b6e3c; --skipped: #5c6674; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa5b4; --line: #343c48; --back: #14181e; --card: #1c222b;
  --failed: #ff8a80; --warning: #f2c14e; --passed: #7bd89b; --skipped: #9aa5b4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; } h3 { font-size: 1rem; margin: 0; }
p { margin: .25rem 0; } .soft { color: var(--soft); }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
ul.counts { display: flex; flex-wrap: wrap; gap: .75rem; list-style: none; margin: 1.25rem 0; padding: 0; }
ul.counts li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem; min-width: 7rem; }
ul.counts b { display: block; font-size: 1.5rem; line-height: 1.2; }
.failed { color: var(--failed); } .warning { color: var(--warning); } .passed { color: var(--passed); } .skipped { color: var(--skipped); }
article { border: 1px solid var(--line); border-left: .3rem solid var(--failed); border-radius: .5rem; background: var(--card);
  margin: .75rem 0; padding: .75rem 1rem; }
article.warned { border-left-color: var(--warning); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .9rem; margin: .6rem 0 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; } th, td { border-bottom: 1px solid var(--line); padding: .35rem .6rem .35rem 0;
  text-align: left; vertical-align: top; } th { color: var(--soft); font-weight: 600; }
td.mark { width: 1.5rem; font-weight: 700; } td.id { width: 16rem; }
@media (max-width: 40rem) { td.source, th.source { display: none; } td.id { width: auto; } }
"""


def render(report: Report) -> str:
    """The page."""
    failed, warned = report.with_status(Status.FAILED), report.with_status(Status.WARNING)
    target = escape(redact_url(report.target))
    verdict = "clean" if report.is_clean else f"{len(failed)} finding{'s' if len(failed) > 1 else ''}"
    when = datetime.fromtimestamp(int(report.started_at), UTC).isoformat(" ").replace("+00:00", " UTC")
    body = [
        f"<h1>Preflight: <span class='{'passed' if report.is_clean else 'failed'}'>{verdict}</span></h1>",
        f"<p><code>{target}</code></p>",
        f"<p class='soft'>{when}, {report.requests} requests in {report.seconds:.0f} s</p>",
        "<ul class='counts'>" + "".join(_count(report, status) for status in Status) + "</ul>",
        *_section("Findings", failed, "article"),
        *_section("Warnings", warned, "article class='warned'"),
        *_tables(report.results),
    ]
    head = (
        "<meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Preflight of {target}: {verdict}</title><style>{_STYLE}</style>"
    )
    return f"<!DOCTYPE html>\n<html lang='en'><head>{head}</head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"


def _count(report: Report, status: Status) -> str:
    return f"<li class='{status.value}'><b>{len(report.with_status(status))}</b>{status.value}</li>"


def _section(title: str, results: list[Result], tag: str) -> Iterator[str]:
    if results:
        yield f"<h2>{title}</h2>"
    for result in results:
        more = f"<p class='soft'>and {result.more} more like these</p>" if result.more else ""
        problems = "".join(map(_problem, result.problems))
        source = f"<p class='soft'>{escape(result.rule.source)}</p>"
        yield f"<{tag}><h3><code>{escape(result.rule.id)}</code></h3><p>{escape(result.rule.text)}</p>{source}{problems}{more}</article>"


def _problem(problem: Problem) -> str:
    where = f"<dt>Where</dt><dd><code>{escape(problem.where)}</code></dd>" if problem.where else ""
    return (
        f"<dl>{where}<dt>Expected</dt><dd>{escape(problem.expected)}</dd><dt>Found</dt><dd><code>{escape(problem.found)}</code></dd></dl>"
    )


def _tables(results: Iterable[Result]) -> Iterator[str]:
    """Every rule, area by area."""
    by_area: dict[str, list[Result]] = {area: [] for area in AREAS}
    for result in results:
        by_area.setdefault(result.rule.area, []).append(result)
    for area, found in by_area.items():
        if found:
            rows = "".join(map(_row, found))
            header = "<tr><th></th><th>Rule</th><th>What it says</th><th class='source'>Source</th></tr>"
            yield f"<h2>{escape(AREAS.get(area, area))}</h2><table><thead>{header}</thead><tbody>{rows}</tbody></table>"


def _row(result: Result) -> str:
    rule, status = result.rule, result.status
    reason = f"<br><span class='soft'>Skipped: {escape(result.reason)}</span>" if result.reason else ""
    mark = f"<td class='mark {status.value}' title='{status.value}'>{_MARKS[status]}</td>"
    return (
        f"<tr>{mark}<td class='id'><code>{escape(rule.id)}</code></td>"
        f"<td>{escape(rule.text)}{reason}</td><td class='source soft'>{escape(rule.source)}</td></tr>"
    )
