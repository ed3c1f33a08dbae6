"""A figure of one's own, drawn with the others."""

from matplotlib.figure import Figure

import grokjax


@grokjax.plots.figure("run", shows=lambda ds: "excluded_loss" in ds)
def excluded_figure(ds_run):
    "Excluded loss against restricted loss over training."
    figure = Figure(figsize=(5, 4))
    ax = figure.subplots()
    one = ds_run.squeeze("run") if "run" in ds_run.dims else ds_run
    ax.loglog(one.restricted_loss, one.excluded_loss, marker=".")
    ax.set_xlabel("restricted loss (nats)"), ax.set_ylabel("excluded loss (nats)")
    return figure


def get_config():
    return grokjax.config.default()
