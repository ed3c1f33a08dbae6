import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.measures import fourier, grids


def maps(p, count=3):
    return np.random.default_rng(p).normal(size=(count, p, p)).astype(np.float32) + 2


@pytest.mark.slow
@pytest.mark.parametrize("p", [7, 12, 31])
def test_terms_are_entries_of_the_2d_transform(p):
    x = maps(p)
    both = np.asarray(fourier.transform2d(x, p))
    found = np.asarray(grids.terms(x, p))
    for k in range(1, p // 2 + 1):
        rows = [0, 2 * k - 1, 2 * k]
        for i, row in enumerate(rows):
            for j, column in enumerate(rows):
                exists = row < p and column < p  # k = p/2 has no sine
                expected = both[:, row, column] if exists else 0.0
                np.testing.assert_allclose(found[i, j, :, k - 1], expected, atol=2e-5)


@pytest.mark.parametrize("p", [7, 12])
def test_from_terms_inverts_terms(p):
    x = maps(p)
    both = np.zeros((3, p, p), np.float32)
    own = (np.arange(p) + 1) // 2
    same = (own[:, None] == own) | (own[:, None] == 0) | (own == 0)
    both[:] = fourier.transform2d(x, p)
    both *= same
    both[:, 0, 0] = 0
    F = np.asarray(fourier.basis(p))
    expected = np.einsum("nfg,fa,gb->nab", both, F, F)
    back = np.asarray(grids.from_terms(grids.terms(x, p), p, p))
    np.testing.assert_allclose(back, expected, atol=2e-5)
    single = sum(
        grids.from_terms_of(grids.terms(x, p)[..., k], grids.rows(p, p)[:, k])
        for k in range(p // 2)
    )
    np.testing.assert_allclose(single, expected, atol=2e-5)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("p", [7, 12])
def test_coefficients_on_waves_of_the_sum(p, sign):
    x = maps(p)
    found = grids.terms(x, p)
    along = grids.sum_coefficients(found, p, sign)
    np.testing.assert_allclose(along, fourier.diagonal_coefficients(x, p, sign), atol=2e-5)
    part = grids.from_terms(grids.sum_terms(found, p, sign), p, p)
    a = np.arange(p)
    waves = np.asarray(fourier.waves(p))[..., (a[:, None] + sign * a) % p]
    expected = np.einsum("inf,ifab->nab", along, waves)
    np.testing.assert_allclose(part, expected, atol=2e-5)


def test_values_in_the_padding_do_not_matter():
    x = maps(12)
    padded = np.pad(x, ((0, 0), (0, 5), (0, 5)), constant_values=1e3)
    np.testing.assert_allclose(grids.terms(padded, 12)[..., :6], grids.terms(x, 12), atol=2e-4)
    assert not grids.block_power(grids.terms(padded, 12))[..., 6:].any()
    np.testing.assert_allclose(grids.mean(padded, 12), x.mean((1, 2)), rtol=1e-5)
    centred = np.asarray(grids.centred(padded, 12))
    np.testing.assert_allclose(centred[:, :12, :12], x - x.mean((1, 2), keepdims=True), atol=1e-5)
    assert not centred[:, 12:].any() and not centred[:, :, 12:].any()


def test_all_blocks_and_the_mean_compose_a_map_of_one_variable():
    p = 13
    x = np.broadcast_to(maps(p, 1)[:, :, :1], (1, p, p))
    found = grids.terms(x, p)
    rest = grids.power(grids.centred(x, p)) - jnp.sum(grids.block_power(found), -1)
    np.testing.assert_allclose(rest, 0.0, atol=1e-3)


def test_a_share_of_nothing_is_0():
    shares = grids.share(jnp.array([1.0, 0.0, 3.0]), jnp.array([2.0, 0.0, 0.0]))
    np.testing.assert_array_equal(shares, [0.5, 0.0, 0.0])
