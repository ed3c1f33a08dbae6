"""The report: one HTML page per sweep, complete in one file, which opens from disk.

grokjax.page.write("runs/weight_decay", "report.html")
grokjax.page.write(["runs/mainline", "runs/moduli"], "both.html")   # a tab each
grokjax.page.write(["runs/adamw", "runs/sgd"], "both.html", overlay=True)   # in the same charts

plotly.js, which the page contains, draws the visible steps of the curves from float32 arrays. Vega
(altair 6.3) has a smaller script, 1 MB instead of 4.8 MB, but needs a record for each point. With
20 measures of 300 runs x 100 steps, in Chromium 156 on two busy cores, its page had 17.7 MB
(plotly: 11.0 MB), its scripts took 435 MB (131 MB), and a zoom took up to 1.3 s (0.58 s).
"""

from grokjax.plots.page.write import EXPLORE, linked, render, write, write_of

__all__ = ["EXPLORE", "linked", "render", "write", "write_of"]
