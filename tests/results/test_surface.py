import numpy as np
import pytest
from scipy.stats import multivariate_normal

from grokjax.results import choosing
from grokjax.results.surface import Runs, Scales, Surface, fitted, kernel, likelihood

SCALES = Scales(np.log([0.4, 0.7]), np.log(0.8), np.log(0.2), 0.1)


def grid(count):
    axis = (np.arange(count) + 0.5) / count
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)


def runs_of(points, function, noise=0.1, seeds=3, seed=0):
    """Runs of a known function; those above the level say only that."""
    rng = np.random.default_rng(seed)
    at = np.repeat(np.arange(len(points)), seeds)
    value = function(points)[at] + noise * rng.standard_normal(len(at))
    return Runs(points, at, np.minimum(value, 0), (value > 0).astype(int))


def slope(points):
    return 1.5 * (0.5 - points[:, 0]) + 0.6 * (points[:, 1] - 0.5)


def test_evidence_and_posterior_of_uncensored_runs_are_the_exact_ones():
    points, rng = grid(3), np.random.default_rng(0)
    at = np.repeat(np.arange(9), 2)
    value = rng.standard_normal(18)
    surface = Surface(Runs(points, at, value, np.zeros(18, int)), SCALES)
    prior = kernel(points, points, SCALES)
    noisy = prior[np.ix_(at, at)] + 0.2**2 * np.eye(18)
    exact = multivariate_normal(np.full(18, 0.1), noisy).logpdf(value)
    assert surface.evidence == pytest.approx(exact, rel=1e-6)
    where = rng.uniform(size=(5, 2))
    across = kernel(where, points, SCALES)[:, at]
    mean = 0.1 + across @ np.linalg.solve(noisy, value - 0.1)
    variance = 0.8**2 - np.sum(across * np.linalg.solve(noisy, across.T).T, axis=1)
    np.testing.assert_allclose(surface.mean(where), mean, rtol=1e-4)
    np.testing.assert_allclose(surface.variance(where), variance, rtol=1e-4)


def test_derivatives_of_the_likelihood_are_those_of_its_values():
    runs = Runs(np.zeros((3, 1)), np.arange(3), np.array([0.1, 0.0, -0.2]), np.array([0, 1, -1]))
    outcome, h = np.array([0.15, -0.3, 0.1]), 1e-4
    _, slopes, weights = likelihood(runs, outcome, np.log(0.2))
    for i in range(3):
        at = [likelihood(runs, outcome + h * k * np.eye(3)[i], np.log(0.2))[0] for k in (-1, 0, 1)]
        assert slopes[i] == pytest.approx((at[2] - at[0]) / (2 * h), rel=1e-5)
        assert -weights[i] == pytest.approx((at[2] - 2 * at[1] + at[0]) / h**2, rel=1e-4)


def test_censored_runs_do_not_bend_the_surface():
    where = grid(40)
    surface = fitted(runs_of(grid(6), slope))
    wrong = np.mean((surface.mean(where) < 0) != (slope(where) < 0))
    assert wrong < 0.02 and surface.noise == pytest.approx(0.1, rel=0.3)
    # Two thirds of an interval's standard errors hold the truth where runs reach the level.
    below = slope(where) < 0
    error = np.abs(surface.mean(where) - slope(where)) / surface.sd(where)
    assert np.mean(error[below] < 2.5) > 0.9


def test_scales_of_many_points_are_fitted_to_some_and_all_are_used(monkeypatch):
    runs, where = runs_of(grid(7), slope), grid(40)
    every = fitted(runs)
    monkeypatch.setattr("grokjax.results.surface.LARGEST", 30)
    some = fitted(runs)
    assert len(some.runs.points) == 49
    assert not np.array_equal(some.scales.lengths, every.scales.lengths)
    assert np.mean((some.mean(where) < 0) != (every.mean(where) < 0)) < 0.02


def test_signs_alone_give_the_boundary():
    runs = runs_of(grid(8), slope)
    runs = runs._replace(value=0 * runs.value, sign=np.where(runs.sign, 1, -1))
    surface, where = fitted(runs), grid(40)
    assert np.mean((surface.mean(where) < 0) != (slope(where) < 0)) < 0.05


def test_chosen_points_are_near_the_boundary_and_differ():
    surface, candidates = fitted(runs_of(grid(4), slope, noise=0.03)), grid(32)
    choice = choosing.choose(surface, candidates, 8, 3)
    assert choice == choosing.choose(surface, candidates, 8, 3)
    assert len(set(choice.points)) == len(choice.points) > 4
    assert np.median(np.abs(slope(np.array(choice.points)))) < 0.2


def test_without_a_boundary_new_points_look_for_one():
    surface = fitted(runs_of(grid(4), lambda points: 1.0 + 0 * points[:, 0]))
    choice = choosing.choose(surface, grid(32), 8, 3)
    assert not choice.again and len(choice.points) == 8


def test_seeds_are_chosen_where_points_cannot_be_told_apart():
    # A flat outcome near the level: noise alone decides on which side a run is.
    flat = lambda points: 0.02 * (points[:, 0] - 0.5)  # noqa: E731
    surface = fitted(runs_of(grid(5), flat, noise=0.4))
    choice = choosing.choose(surface, grid(32), 8, 3)
    assert len(choice.again) > len(choice.points)
