"""Figures of a sweep: a dataset of measures and axes in, axes out; nothing heavy is computed.

A function `draw_*` fills one panel of any figure. A function `*_figure` makes a whole titled figure
without pyplot, so that it needs no display and may run in a thread. What distinguishes two things
is never the colour alone. A run that did not grok is drawn, or counted where things are counted.
"""

from grokjax.plots.curves import curves_figure, draw_curves
from grokjax.plots.frequencies import (
    draw_by_frequency,
    draw_spectrum,
    frequencies_figure,
    spectra_figure,
)
from grokjax.plots.look import STYLE, Levels
from grokjax.plots.run import draw_measures, draw_phase_ends, progress_band_figure, progress_figure
from grokjax.plots.saving import WHICH, all_figures, overview, save_all
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
    "curves_figure",
    "draw_by_frequency",
    "draw_curves",
    "draw_measures",
    "draw_phase_diagram",
    "draw_phase_ends",
    "draw_spectrum",
    "draw_steps_to_grok",
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
