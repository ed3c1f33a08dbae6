"""The report: one HTML page per sweep, complete in one file, which opens from disk.

grokjax.page.write("runs/weight_decay", "report.html")
grokjax.page.write(["runs/mainline", "runs/moduli"], "both.html")   # a tab each

plotly.js, which the page contains, draws the curves from float32 arrays. Compared with Vega (altair
6.3) for four charts of 20 measures, in Chromium 156 without a GPU on two busy cores::

                             30 runs x 300 steps    300 runs x 100 steps
    size of the page (MB)    plotly 7.9, Vega 6.0   plotly 11.0, Vega 17.7
    memory of its scripts    31, 123                131, 435
    longest frame of a zoom  0.45 s, 0.44 s         0.58 s, 1.3 s

(plotly's with spectra and tables, Vega's curves alone). Vega's script is smaller, 1 MB instead of
4.8 MB, but it needs a record for each point. plotly takes arrays, finds the nearest point itself,
and lets the page's scripts choose the points, so that only the visible steps are drawn.
"""

from grokjax.plots.page.write import render, write, write_of

__all__ = ["render", "write", "write_of"]
