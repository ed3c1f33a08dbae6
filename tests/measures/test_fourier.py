import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grokjax.measures import fourier

# Odd and even moduli, alone and in larger arrays of either parity.
SHAPES = [(3, 3), (13, 13), (7, 13), (12, 13), (12, 12), (7, 12), (8, 12), (59, 64)]
each_shape = pytest.mark.parametrize(("p", "size"), SHAPES)

# The modulus is traced: one program for every size of arrays.
basis = jax.jit(fourier.basis, static_argnums=1)
waves_of = jax.jit(fourier.waves, static_argnums=1)
transform = jax.jit(fourier.transform, static_argnums=2)
transform2d = jax.jit(fourier.transform2d)
power_by_frequency = jax.jit(fourier.power_by_frequency)
diagonal_coefficients = jax.jit(fourier.diagonal_coefficients)
wave = jax.jit(fourier.wave)


def explicit_basis(p):
    """float64 rows: constant, then cos and sin of each frequency, each divided by its norm."""
    x = np.arange(p)
    rows = [np.ones(p)]
    for k in range(1, p // 2 + 1):
        rows += [np.cos(2 * np.pi * k * x / p), np.sin(2 * np.pi * k * x / p)]
    return np.stack([row / np.linalg.norm(row) for row in rows[:p]])


def explicit_waves(p, sign):
    """Unit cos and sin of w_k (a + sign b) as float64 [2, f, a, b]; the sine of p/2 is zero."""
    total = np.arange(p)[:, None] + sign * np.arange(p)[None, :]
    grids = [
        [function(2 * np.pi * k * (total % p) / p) for k in range(1, p // 2 + 1)]
        for function in (np.cos, np.sin)
    ]
    norms = np.linalg.norm(grids, axis=(-2, -1), keepdims=True)
    return np.where(norms > 1e-9, grids / np.maximum(norms, 1e-9), 0.0)


def random_array(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def grid_with_garbage_outside(p, size, *leading):
    inside = random_array(*leading, p, p)
    array = np.full((*leading, size, size), 1e3, np.float32)
    array[..., :p, :p] = inside
    return array, inside


@pytest.mark.parametrize("p", [3, 4, 113, 114, 400, 997])
def test_basis_equals_cosines_and_sines_computed_in_float64(p):
    np.testing.assert_allclose(basis(p, 997)[:p, :p], explicit_basis(p), rtol=0, atol=1e-7)


def test_one_program_serves_every_modulus_up_to_the_size_of_its_arrays():
    for p in range(2, 14):
        expected = np.zeros((13, 13))
        expected[:p, :p] = explicit_basis(p)
        np.testing.assert_allclose(basis(p, 13), expected, rtol=0, atol=1e-7)


def test_wave_keeps_its_precision_for_large_and_negative_multiples():
    multiple = np.concatenate([np.arange(-2000, 2000), 10**9 + np.arange(500)])
    for p in (2, 5, 8, 113, 1000):
        angle = 2 * np.pi * (multiple % p) / p
        cos, sin = wave(jnp.asarray(multiple, jnp.int32), p)
        np.testing.assert_allclose(cos, np.cos(angle), rtol=0, atol=1e-7)
        np.testing.assert_allclose(sin, np.sin(angle), rtol=0, atol=1e-7)


@pytest.mark.parametrize("p", [4, 7, 12, 113])
def test_transform_agrees_with_numpys_fft(p):
    x = random_array(3, p)
    fft = np.fft.rfft(x.astype(np.float64), axis=-1)
    coefficients = transform(x, p, -1)
    paired = np.sqrt(2 / p) * fft[:, 1 : (p + 1) // 2]
    np.testing.assert_allclose(coefficients[:, 0], fft[:, 0].real / np.sqrt(p), atol=1e-5)
    np.testing.assert_allclose(coefficients[:, 1 : 2 * paired.shape[1] : 2], paired.real, atol=1e-5)
    np.testing.assert_allclose(
        coefficients[:, 2 : 2 * paired.shape[1] + 1 : 2], -paired.imag, atol=1e-5
    )
    if p % 2 == 0:
        np.testing.assert_allclose(coefficients[:, -1], fft[:, -1].real / np.sqrt(p), atol=1e-5)


def test_transform_works_along_any_axis():
    x = random_array(4, 7, 3)
    expected = np.einsum("fx,axb->afb", explicit_basis(7), x)
    np.testing.assert_allclose(transform(x, 7, 1), expected, atol=1e-5)
    np.testing.assert_allclose(transform(x, 7, -2), expected, atol=1e-5)


@each_shape
def test_transform2d_takes_inner_products_with_outer_products_of_rows(p, size):
    array, inside = grid_with_garbage_outside(p, size, 2)
    rows = explicit_basis(p)
    coefficients = transform2d(array, p)
    np.testing.assert_allclose(
        coefficients[:, :p, :p], np.einsum("iab,fa,gb->ifg", inside, rows, rows), atol=1e-5
    )
    assert not np.any(coefficients[:, p:]) and not np.any(coefficients[:, :, p:])


@each_shape
def test_power_by_frequency_is_the_power_spectrum_without_its_constant(p, size):
    array, inside = grid_with_garbage_outside(p, size)
    power = power_by_frequency(transform(array[0], p, -1))
    spectrum = np.abs(np.fft.rfft(inside[0].astype(np.float64))) ** 2 * 2 / p
    if p % 2 == 0:
        spectrum[-1] /= 2
    expected = np.zeros(size // 2)
    expected[: p // 2] = spectrum[1:]
    np.testing.assert_allclose(power, expected, rtol=1e-4, atol=1e-5)


@each_shape
def test_every_index_of_an_array_knows_its_frequency(p, size):
    np.testing.assert_array_equal(
        fourier.component_frequency(size), [(i + 1) // 2 for i in range(size)]
    )
    np.testing.assert_array_equal(fourier.frequencies(size), range(1, size // 2 + 1))
    np.testing.assert_array_equal(
        fourier.is_frequency(p, size), [k <= p // 2 for k in range(1, size // 2 + 1)]
    )


@each_shape
def test_waves_have_unit_norm_on_the_grid_of_pairs(p, size):
    waves = np.asarray(waves_of(p, size))
    assert waves.shape == (2, size // 2, size)
    expected = np.zeros(waves.shape)
    s = np.arange(p)
    expected[:, : p // 2, :p] = explicit_waves(p, 1)[:, :, 0, :]  # a = 0, so s = b
    np.testing.assert_allclose(waves, expected, rtol=0, atol=1e-7)
    on_grid = waves[..., (s[:, None] + s[None, :]) % p]
    exists = np.broadcast_to(np.arange(1, size // 2 + 1) <= p // 2, (2, size // 2)).copy()
    if p % 2 == 0:
        exists[1, p // 2 - 1] = False
    np.testing.assert_allclose(np.sum(on_grid**2, (-2, -1)), exists, atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
@each_shape
def test_diagonal_coefficients_are_inner_products_over_all_pairs(p, size, sign):
    array, inside = grid_with_garbage_outside(p, size, 3)
    expected = np.zeros((2, 3, size // 2))
    expected[..., : p // 2] = np.einsum("iab,wfab->wif", inside, explicit_waves(p, sign))
    np.testing.assert_allclose(diagonal_coefficients(array, p, sign), expected, rtol=0, atol=2e-5)
