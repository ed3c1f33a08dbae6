"""Rules that choose the points of a phase diagram, compared on known functions.

Steps to grok are replaced by functions of two settings in the unit square: a line, a bay, a circle,
a ridge, and a cliff, beyond which nothing groks however fast it was before. Their decimal logarithm
has a noise between seeds of 0.05 or 0.17 (a factor of 1.1 or 1.5), and runs above the level are
censored. Every rule begins with 4 x 4 points and takes 16 more a round, three seeds each. The error
is the share of the square on the wrong side of the boundary.

    python -m experiments.refine_rules [--repeats 3] [--out DIR]

Needs scikit-learn and adaptive. OUT/refine_rules.json holds the mean error of each rule.
"""

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.spatial import Delaunay

from experiments import options
from experiments.written import command, save_json
from grokjax.results import choosing
from grokjax.results.surface import Runs, fitted

SEEDS, ROUND, SIZES, FINE = 3, 16, (32, 48, 64), 128
NOISES = (0.05, 0.17)
STEP_SIZE = 64
"""Intervals between candidates along each axis."""


def square(count: int, middle: bool = True) -> np.ndarray:
    """The points of a grid in the unit square: middles of cells, or with the edges."""
    axis = (np.arange(count) + 0.5) / count if middle else np.linspace(0, 1, count)
    return np.array(list(itertools.product(axis, axis)))


# --- Known functions: log10 of steps, relative to the level ---------------------------------------


def line(u: np.ndarray) -> np.ndarray:
    return 1.2 * (0.55 - u[:, 1]) + 0.6 * (0.5 - u[:, 0])


def bay(u: np.ndarray) -> np.ndarray:
    return 1.5 * (0.35 + 3.2 * (u[:, 0] - 0.55) ** 2 - u[:, 1])


def circle(u: np.ndarray) -> np.ndarray:
    return 2.5 * (np.hypot(u[:, 0] - 0.5, u[:, 1] - 0.5) - 0.32)


def ridge(u: np.ndarray) -> np.ndarray:
    return 0.72 * (np.abs(u[:, 0] - 0.3 - 0.4 * u[:, 1]) / 0.12 - 1)


def cliff(u: np.ndarray) -> np.ndarray:
    smooth = 0.35 - u[:, 1] + 0.6 * (0.3 - u[:, 0])
    return np.where(u[:, 0] > 0.72 - 0.1 * u[:, 1], 2.0, smooth)


FUNCTIONS = {x.__name__: x for x in (line, bay, circle, ridge, cliff)}


class Trained:
    """Points and the outcomes of their runs; infinite for a censored run."""

    def __init__(self, function: Callable, noise: float, seed: int):
        self.function, self.noise, self.rng = function, noise, np.random.default_rng(seed)
        self.points, self.outcomes = np.zeros((0, 2)), []

    def train(self, points: np.ndarray) -> None:
        """Train new points, or trained ones with more seeds."""
        for point in np.atleast_2d(points):
            value = self.function(point[None]) + self.noise * self.rng.standard_normal(SEEDS)
            value = np.where(value > 0, np.inf, value)
            same = np.flatnonzero(np.all(self.points == point, axis=1))
            if len(same):
                self.outcomes[same[0]] = np.append(self.outcomes[same[0]], value)
            else:
                self.points = np.vstack([self.points, point])
                self.outcomes.append(value)

    @property
    def count(self) -> int:
        """Points' worth of runs."""
        return sum(map(len, self.outcomes)) // SEEDS

    def share(self) -> np.ndarray:
        return np.array([np.isfinite(x).mean() for x in self.outcomes])

    def runs(self, only_signs: bool = False) -> Runs:
        at = np.repeat(np.arange(len(self.points)), list(map(len, self.outcomes)))
        value = np.concatenate(self.outcomes)
        censored = np.isinf(value)
        value = np.where(censored | only_signs, 0, value)
        return Runs(self.points, at, value, np.where(censored, 1, -1 if only_signs else 0))

    def means(self) -> np.ndarray:
        """Means in which a censored run counts as being at the level."""
        return np.array([np.minimum(x, 0).mean() for x in self.outcomes])


# --- Readings: which places of a fine grid grok ---------------------------------------------------

WHERE, CANDIDATES = square(FINE), square(STEP_SIZE + 1, middle=False)


def interpolated(trained: Trained) -> np.ndarray:
    share = trained.share()
    inside = LinearNDInterpolator(trained.points, share)(WHERE)
    outside = NearestNDInterpolator(trained.points, share)(WHERE)
    return np.where(np.isnan(inside), outside, inside) >= 0.5


def modelled(trained: Trained, only_signs: bool = False) -> np.ndarray:
    return fitted(trained.runs(only_signs)).mean(WHERE) < 0


# --- Rules: the points of the next round ----------------------------------------------------------


def random_points(trained: Trained) -> np.ndarray:
    return trained.rng.uniform(size=(ROUND, 2))


def delaunay(trained: Trained) -> np.ndarray:
    """Middles of the longest edges of triangles with the largest area times disagreement."""
    points, share = trained.points, trained.share()
    for _ in range(ROUND):
        corners = points[Delaunay(points).simplices]
        a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        area = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
        mixed = np.ptp(share[Delaunay(points).simplices], axis=1)
        best = corners[np.argmax(area * (mixed + 0.05))]
        lengths = [np.sum((best[i] - best[i - 1]) ** 2) for i in range(3)]
        i = int(np.argmax(lengths))
        new = (best[i] + best[i - 1]) / 2
        points = np.vstack([points, new])
        share = np.append(share, NearestNDInterpolator(trained.points, trained.share())(new))
    return points[len(trained.points) :]


def adaptive_learner(trained: Trained) -> np.ndarray:
    import adaptive

    learner = adaptive.Learner2D(lambda xy: 0.0, bounds=((0, 1), (0, 1)))
    for point, share in zip(trained.points.tolist(), trained.share().tolist(), strict=True):
        learner.tell(tuple(point), share)
    return np.array(learner.ask(ROUND)[0])


def censored_regressor(trained: Trained):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel = ConstantKernel(1.0) * RBF([0.3, 0.3]) + WhiteKernel(0.01)
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    return model.fit(trained.points, trained.means())


CENSORED_LEVEL = -0.02
"""Means of points where all runs are censored are 0, so the boundary is a little below."""


def regressor_straddle(trained: Trained) -> np.ndarray:
    """The straddle rule on scikit-learn's regressor, with its own guesses told back."""
    model, points = censored_regressor(trained), []
    x, y = trained.points, trained.means()
    model.optimizer = None
    model.kernel = model.kernel_
    for _ in range(ROUND):
        mean, sd = model.predict(CANDIDATES, return_std=True)
        best = int(np.argmax(choosing.Z * sd - np.abs(mean - CENSORED_LEVEL)))
        points.append(CANDIDATES[best])
        x, y = np.vstack([x, CANDIDATES[best]]), np.append(y, mean[best])
        model.fit(x, y)
    return np.array(points)


def regressor_reading(trained: Trained) -> np.ndarray:
    return censored_regressor(trained).predict(WHERE) < CENSORED_LEVEL


def straddle(trained: Trained) -> np.ndarray:
    """The straddle rule on the censored model."""
    surface, points = fitted(trained.runs()), []
    posterior = choosing.Posterior(surface, CANDIDATES)
    for _ in range(ROUND):
        score = choosing.Z * np.sqrt(posterior.variance) - np.abs(posterior.mean)
        best = int(np.argmax(score))
        posterior.observe(best, surface.noise**2 / SEEDS)
        points.append(CANDIDATES[best])
    return np.array(points)


def targeted(trained: Trained, only_signs: bool = False) -> np.ndarray:
    """The rule of the package."""
    surface = fitted(trained.runs(only_signs))
    choice = choosing.choose(surface, CANDIDATES, ROUND, SEEDS)
    again = trained.points[choice.again]
    return np.vstack([np.array(choice.points).reshape(-1, 2), again])


RULES: dict[str, tuple[Callable, Callable]] = {
    "random, interpolated": (random_points, interpolated),
    "Delaunay, interpolated": (delaunay, interpolated),
    "adaptive, interpolated": (adaptive_learner, interpolated),
    "scikit-learn regressor, straddle": (regressor_straddle, regressor_reading),
    "random, censored model": (random_points, modelled),
    "signs alone, targeted": (lambda x: targeted(x, True), lambda x: modelled(x, True)),
    "censored model, straddle": (straddle, modelled),
    "censored model, targeted": (targeted, modelled),
}


# --- The comparison -------------------------------------------------------------------------------


def errors_of(function: Callable, noise: float, seed: int) -> dict[str, dict[int, float]]:
    """By rule and number of points, the share of the square on the wrong side."""
    truth = function(WHERE) < 0
    wrong = lambda sides: float(np.mean(sides != truth))  # noqa: E731
    errors: dict[str, dict[int, float]] = {}
    for count in (8, 16):
        trained = Trained(function, noise, seed)
        trained.train(square(count))
        for name, reading in (("interpolated", interpolated), ("censored model", modelled)):
            errors.setdefault(f"grid, {name}", {})[count**2] = wrong(reading(trained))
    for rule, (choose, reading) in RULES.items():
        trained = Trained(function, noise, seed)
        trained.train(square(4))
        errors[rule] = {}
        for size in SIZES:
            while trained.count < size:
                trained.train(choose(trained))
            errors[rule][size] = wrong(reading(trained))
    return errors


def markdown(table: list[dict]) -> str:
    """The errors in percent at the largest number of points: those of both noises in a cell."""
    of = {(x["rule"], x["points"], x["function"], x["noise"]): x["error"] for x in table}
    rows = [(rule, points) for rule, points, *_ in of if points >= max(SIZES)]
    lines = [f"| rule, points | {' | '.join(FUNCTIONS)} |", "|---" * (1 + len(FUNCTIONS)) + "|"]
    for rule, points in dict.fromkeys(rows):
        cells = (
            " / ".join(f"{100 * of[rule, points, name, noise]:.1f}" for noise in NOISES)
            for name in FUNCTIONS
        )
        lines.append(f"| {rule}, {points} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    parser = options.parser("refine_rules", __doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", default="experiments/results")
    chosen = parser.parse_args(argv)
    warnings.filterwarnings("ignore")  # scikit-learn's, of lengths at their bounds
    table = []
    for (name, function), noise in itertools.product(FUNCTIONS.items(), NOISES):
        repeats = [errors_of(function, noise, seed) for seed in range(chosen.repeats)]
        for rule, sizes in repeats[0].items():
            for size in sizes:
                each = [one[rule][size] for one in repeats]
                row = {"function": name, "noise": noise, "rule": rule, "points": size}
                table.append({**row, "error": float(np.mean(each)), "errors": each})
        print(f"{name}, noise {noise}", flush=True)
    about = {"experiment": " ".join(__doc__.split()), "command": command("refine_rules", argv)}
    save_json({**about, "table": table}, Path(chosen.out) / "refine_rules.json")
    return 0


if __name__ == "__main__":
    options.start(main)
