"""One page a sweep: report.html, with its data and its scripts in itself, opened from disk.

grokjax.page.write("runs/weight_decay", "report.html")
grokjax.page.write(["runs/mainline", "runs/moduli"], "both.html")   # a tab each

Curves are drawn by plotly.js, which the page holds whole.
"""

from grokjax.page.write import render, write

__all__ = ["render", "write"]
