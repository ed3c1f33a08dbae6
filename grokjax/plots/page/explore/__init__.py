"""The explore page: the mechanism of a few runs over training, in one HTML file.

grokjax.plots.page.explore.write("runs/quickstart")          # runs/quickstart/explore.html
grokjax.plots.page.explore.write("runs/quickstart", runs=[0, 2], steps=[0, 1000, 4000])

It opens from disk, without a network. A page of one run with p = 113 and 40 checkpoints has about
10 MB: 4.8 MB are plotly, 3.6 MB the weights of six checkpoints in half precision, from which the
browser computes logits and maps of neurons.
"""

from grokjax.plots.page.explore.write import write

__all__ = ["write"]
