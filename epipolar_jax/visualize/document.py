"""A report as one page of text and tables: no scripts, fonts or network; names are escaped."""

import html
import pathlib
from collections.abc import Sequence

from epipolar_jax.visualize import palette

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>{palette}
body{{background:var(--ground);color:var(--text);font:16px/1.5 system-ui,sans-serif;
margin:0 auto;max-width:60rem;padding:1rem}}
h1{{font-size:1.4rem}}h2{{font-size:1.1rem;margin-top:2rem}}
.verdict{{background:var(--raised);border-left:4px solid var(--attention);padding:.6rem 1rem}}
.verdict.bad{{border-color:var(--right)}}
.scroll{{overflow-x:auto}}table{{border-collapse:collapse}}
td,th{{padding:.15rem .8rem;text-align:right;border-bottom:1px solid var(--rule)}}
td:first-child,th:first-child{{text-align:left}}p,figcaption{{color:var(--muted)}}
.verdict p{{color:var(--text);overflow-wrap:anywhere}}
svg{{width:100%;height:auto;background:var(--raised)}}
figure{{margin:0 0 1rem}}img{{max-width:100%;height:auto}}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def write(path: pathlib.Path, title: str, body: Sequence[str]) -> None:
  """Writes the page; the title is escaped here, the parts of the body are HTML."""
  text = _PAGE.format(title=html.escape(title), palette=palette.style_sheet(), body="\n".join(body))
  path.write_text(text, encoding="utf-8")


def verdict(sentences: Sequence[str], *, bad: bool = False) -> str:
  """The sentences in a box, orange at its side if they are bad."""
  inside = "".join(f"<p>{html.escape(x)}</p>" for x in sentences)
  return f'<div class="verdict{" bad" if bad else ""}">{inside}</div>'


def table(
  heading: Sequence[str],
  rows: Sequence[Sequence[str]],
  shades: Sequence[Sequence[float | None]] = (),
) -> str:
  """A table that scrolls by itself on a narrow screen.

  Args:
    heading: of the columns.
    rows: cells; the first of each names the row.
    shades: of the cells, from 0 (as it should be) to 1 (bad); None: not shaded. () shades none.
  """
  head = "".join(f"<th>{html.escape(x)}</th>" for x in heading)
  lines = []
  for i, row in enumerate(rows):
    shade = shades[i] if shades else [None] * len(row)
    lines.append("".join(map(_cell, row, shade)))
  body = "".join(f"<tr>{line}</tr>" for line in lines)
  return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _cell(text: str, shade: float | None) -> str:
  if shade is None:
    return f"<td>{html.escape(text)}</td>"
  red, green, blue = palette.RIGHT
  style = f"background:rgba({red},{green},{blue},{min(max(shade, 0.0), 1.0):.2f})"
  return f'<td style="{style}">{html.escape(text)}</td>'
