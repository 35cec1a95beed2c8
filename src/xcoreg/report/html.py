"""Small pieces of HTML, everything escaped."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["STYLE", "escape", "page", "paragraphs", "section", "table"]

STYLE = """
:root{--ink:#1b2530;--faint:#5b6873;--line:#d8dee4;--back:#f4f6f8;--good:#0b6e4f;--bad:#b3123f;--blue:#0072b2}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:1.2rem}
header{border-left:.5rem solid var(--good);background:#fff;padding:1rem 1.2rem;border-radius:.3rem}
header.bad{border-color:var(--bad)}
h1{font-size:1.5rem;margin:0 0 .4rem}
h2{font-size:1.15rem;margin:0 0 .7rem;border-bottom:1px solid var(--line);padding-bottom:.3rem}
section{background:#fff;margin:1rem 0;padding:1rem 1.2rem;border-radius:.3rem}
p{margin:.4rem 0;max-width:75ch}
.lead{font-size:1.08rem}
.faint,figcaption{color:var(--faint);font-size:.88rem}
.badge{display:inline-block;padding:.05rem .55rem;border-radius:1rem;color:#fff;background:var(--good);font-size:.95rem}
.bad .badge{background:var(--bad)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem;margin:.4rem 0}
th,td{text-align:left;padding:.28rem .8rem .28rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr.chosen{font-weight:600;background:#eef6f2}
td.wide{word-break:break-word;overflow-wrap:anywhere}
.bar{display:inline-block;height:.8rem;border-radius:.15rem;vertical-align:middle;min-width:2px}
figure{margin:0}
img{max-width:100%;height:auto;display:block}
.grid,.flicks{display:grid;grid-template-columns:minmax(0,1fr);gap:1.2rem}
@media (min-width:900px){.grid,.flicks{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:.5rem}
.stack{position:relative;overflow:hidden;background:#888}
.stack img{width:100%;image-rendering:auto}
.over{position:absolute;inset:0;animation:flick 1.4s steps(1) infinite}
@keyframes flick{0%{opacity:1}50%{opacity:0}}
.tag{position:absolute;left:.3rem;top:.3rem;background:rgba(0,0,0,.65);color:#fff;padding:0 .4rem;font-size:.78rem}
#still:checked~.flicks .over{animation:none;opacity:0}
#still:checked~.flicks .stack:hover .over{opacity:1}
details summary{cursor:pointer;font-weight:600}
ul{margin:.3rem 0;padding-left:1.2rem}
.warn{border-left:.3rem solid #e69f00;padding-left:.7rem}
@media (prefers-reduced-motion:reduce){.over{animation:none;opacity:0}.stack:hover .over{opacity:1}}
@media print{body{background:#fff;font-size:11pt}main{max-width:none;padding:0}section,header{padding:.5rem 0}
header{padding-left:.6rem}
figure,tr,.flick{break-inside:avoid}.switch{display:none}.over{position:static;animation:none;opacity:1}
.over .tag{top:auto}.grid,.flicks{grid-template-columns:1fr 1fr}.scroll{overflow:visible}}
"""


def escape(text: object) -> str:
    """Make a text safe in HTML.

    Examples
    --------
    >>> escape("a < b")
    'a &lt; b'
    """
    return html.escape(str(text))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", numbers: int = 0) -> str:
    """Make a table of cells that are HTML already.

    Parameters
    ----------
    head : sequence of str
        Column names; none for a table of names and values.
    rows : iterable of sequence of str
        A first cell that starts with "*" marks the row.
    caption : str
    numbers : int
        How many of the columns after the first hold numbers.

    Returns
    -------
    str

    Examples
    --------
    >>> table([], [["a", "1"]])
    '<div class="scroll"><table><tbody><tr><th scope="row">a</th><td class="wide">1</td></tr></tbody></table></div>'
    """
    kinds = ["", *["n"] * numbers]

    def cell(i: int, text: str) -> str:
        kind = kinds[i] if i < len(kinds) else ("wide" if not head else "")
        mark = f' class="{kind}"' if kind else ""
        return f'<th scope="row">{text}</th>' if i == 0 else f"<td{mark}>{text}</td>"

    def row(cells: Sequence[str]) -> str:
        chosen = cells[0].startswith("*")
        body = "".join(cell(i, text.removeprefix("*") if i == 0 else text) for i, text in enumerate(cells))
        return f'<tr class="chosen">{body}</tr>' if chosen else f"<tr>{body}</tr>"

    top = "".join(f'<th scope="col"{" class=n" if 0 < i <= numbers else ""}>{name}</th>' for i, name in enumerate(head))
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    # Not a caption element: it would be as wide as the table, which a phone scrolls.
    told = f'<p class="faint">{caption}</p>' if caption else ""
    return f'{told}<div class="scroll"><table>{top}<tbody>{"".join(row(one) for one in rows)}</tbody></table></div>'


def paragraphs(lines: Iterable[str], kind: str = "") -> str:
    """Make paragraphs of plain texts.

    Examples
    --------
    >>> paragraphs(["a & b"])
    '<p>a &amp; b</p>'
    """
    mark = f' class="{kind}"' if kind else ""
    return "".join(f"<p{mark}>{escape(line)}</p>" for line in lines)


def section(title: str, body: str) -> str:
    """Make a section; nothing of an empty one.

    Examples
    --------
    >>> section("A", "<p>b</p>")
    '<section><h2>A</h2><p>b</p></section>'
    """
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def page(title: str, body: str) -> str:
    """Make a whole page.

    Examples
    --------
    >>> page("A", "b").startswith("<!DOCTYPE html>")
    True
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )
