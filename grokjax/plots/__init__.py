"""Figures of a sweep, drawn from a dataset of measures; nothing heavy is computed here.

A function `draw_*` fills one panel of any figure. A function `*_figure` makes a complete figure
with a title, without pyplot: it needs no display and may run in a thread. Colour is never the only
difference between two lines. Runs that did not grok are drawn, or counted, like all others.

`figure` registers a new figure; see `grokjax.plots.saving`. Import a new module of figures here:
the figures of a run are drawn in the order of their registration.
"""

from grokjax.plots.boundary import boundary_figure, draw_boundary
from grokjax.plots.curves import curves_figure, draw_curves
from grokjax.plots.frequencies import (
    draw_by_frequency,
    draw_spectrum,
    frequencies_figure,
    spectra_figure,
)
from grokjax.plots.run import draw_measures, draw_phase_ends, progress_band_figure, progress_figure
from grokjax.plots.saving import WHICH, all_figures, figure, overview, save_all
from grokjax.plots.style import STYLE, Levels
from grokjax.plots.sweep import (
    draw_phase_diagram,
    draw_steps_to_grok,
    phase_diagram_figure,
    steps_to_grok_figure,
)
from grokjax.results.view import swept

__all__ = [
    "STYLE",
    "WHICH",
    "Levels",
    "all_figures",
    "boundary_figure",
    "curves_figure",
    "draw_boundary",
    "draw_by_frequency",
    "draw_curves",
    "draw_measures",
    "draw_phase_diagram",
    "draw_phase_ends",
    "draw_spectrum",
    "draw_steps_to_grok",
    "figure",
    "frequencies_figure",
    "overview",
    "phase_diagram_figure",
    "progress_band_figure",
    "progress_figure",
    "save_all",
    "spectra_figure",
    "steps_to_grok_figure",
    "swept",
]
