"""One page a sweep: report.html, with its data and its scripts in itself, opened from disk.

grokjax.page.write("runs/weight_decay", "report.html")
grokjax.page.write(["runs/mainline", "runs/moduli"], "both.html")   # a tab each

Curves are drawn by plotly.js, which the page holds whole, from arrays of float32. Against Vega, by
altair 6.3, with four charts of 20 measures, in Chromium 156 without a GPU on two busy cores:

                             30 runs x 300 steps    300 runs x 100 steps
    size of the page (MB)    plotly 7.9, Vega 6.0   plotly 11.0, Vega 17.7
    memory of its scripts    31, 123                131, 435
    longest frame of a zoom  0.45 s, 0.44 s         0.58 s, 1.3 s

(plotly's with spectra and tables, Vega's curves alone). Vega's script is smaller, 1 MB against 4.8,
but it wants a record for each point; plotly takes arrays, finds the nearest point on its own, and
draws what a page's script hands it, so that only the steps in sight are drawn.
"""

from grokjax.plots.page.write import render, write, write_of

__all__ = ["render", "write", "write_of"]
