"""Every faster form of the transformer against the model; which form serves which program."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import rounding
from grokjax.networks import (
    by_name,
    fast_deep,
    fast_one_layer,
    fast_tables,
    forward,
    matmul,
    token_tables,
)
from grokjax.networks.transformer import forward as model
from grokjax.networks.transformer import keep_all
from grokjax.tasks.modular import modular
from grokjax.training import losses
from tests import programs
from tests.programs import all_pairs, in_float64, program, random_params, random_weights

P = 7
PAIRS = all_pairs(P)
WIDE = dict(p=19, d_model=64, num_heads=2, d_mlp=24)
MANY = all_pairs(19)[np.random.default_rng(0).permutation(19 * 19)]
ONE, TABLES = program(p=P, activation="gelu"), program(**WIDE, activation="gelu")
DEEP = program(p=P, num_layers=2, activation="gelu")
CASES = {
    "one layer": (fast_one_layer, ONE, PAIRS),
    "one layer, relu": (fast_one_layer, program(p=P), PAIRS),
    "tables": (fast_tables, TABLES, MANY),
    "tables, relu": (fast_tables, program(**WIDE), MANY),
    "two layers": (fast_deep, DEEP, PAIRS[1::2]),  # many a fault averages out over all pairs
    "three layers": (
        fast_deep,
        program(p=P, num_layers=3, activation="gelu"),
        PAIRS[1::2],
    ),
}
PAPER = program(**programs.PAPER, p=113)
PAPERS = {
    "paper": (fast_one_layer, PAPER, all_pairs(113)[::211]),
    "deep": (fast_deep, program(**programs.PAPER, p=113, num_layers=2), all_pairs(113)[::211]),
}
SLOW = ("three layers", *PAPERS)
on_a_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="tables are for CPUs")


def marked(case):
    marks = [pytest.mark.slow] * (case in SLOW) + [on_a_cpu] * case.startswith("tables")
    return pytest.param(case, marks=marks)


each = pytest.mark.parametrize("case", [*map(marked, ["one layer", "tables", "two layers"])])
each_of_all = pytest.mark.parametrize("case", [*map(marked, [*CASES, *PAPERS])])


def weights_of(case):
    _, program, tokens = (CASES | PAPERS)[case]
    return random_weights(program.num_classes, len(tokens))


def by_the_form(params, tokens, case, drop=None):
    """Logits [v, b] by the form that the case names, which is the one that is used."""
    module, program, _ = (CASES | PAPERS)[case]
    evaluate = forward.form(program)
    prepared = evaluate.prepare(tokens)
    assert type(prepared).__module__ == {fast_deep: fast_one_layer}.get(module, module).__name__
    return evaluate.logits(params, prepared, 1, drop=drop)


def by_the_model(params, tokens, case, drop=None):
    _, program, _ = (CASES | PAPERS)[case]
    return model(params, tokens, program, drop or keep_all)["logits"][:, -1].T


@partial(jax.jit, static_argnames=("case", "drop"))
def both(params, tokens, weights, case, drop=None):
    """By the form and by the model: logits [v, b], and the gradients of a weighted sum of them."""

    def with_gradients(logits_of):
        logits_of = partial(logits_of, tokens=tokens, case=case, drop=drop)
        logits, pull_back = jax.vjp(logits_of, params)
        return logits, pull_back(weights.astype(logits.dtype))[0]

    return with_gradients(by_the_form), with_gradients(by_the_model)


@each_of_all
def test_logits_and_gradients_are_the_models_in_float64(case, assert_trees_close):
    _, program, tokens = (CASES | PAPERS)[case]
    params = random_params(program, 0.1 if case in PAPERS else 0.3)
    with jax.enable_x64(True):
        params = in_float64(params)
        found, expected = both(params, tokens, weights_of(case), case)
        assert all(x.dtype == jnp.float64 for x in jax.tree.leaves((found, expected)))
        assert_trees_close(found, expected, 1e-11 if case == "deep" else 1e-12)
        assert all(np.any(x != 0) for x in jax.tree.leaves(found))


@each
def test_logits_and_gradients_are_the_models_in_float32_with_dropped_neurons(
    case, assert_trees_close
):
    _, program, tokens = CASES[case]
    factors = jnp.asarray(np.random.default_rng(2).integers(3, size=24), jnp.float32)

    def drop(neurons, layer, features=-1):
        assert layer == 0
        return jnp.moveaxis(jnp.moveaxis(neurons, features, -1) * factors, -1, features)

    dropped = None if case == "two layers" else drop
    found, expected = both(random_params(program), tokens, weights_of(case), case, dropped)
    assert_trees_close(found, expected, 2e-5)


@pytest.mark.slow
@each
def test_products_with_the_hessian_are_those_of_the_model(case):
    _, program, tokens = CASES[case]
    params = random_params(program)
    with jax.enable_x64(True):
        params = in_float64(params)
        direction = jax.tree.map(lambda x: jnp.sin(40 * x), params)

        def curved(logits_of):
            logits_of = partial(logits_of, tokens=tokens, case=case)
            loss = lambda params: jnp.mean(jax.nn.logsumexp(logits_of(params), 0))  # noqa: E731
            return jax.jit(lambda v: jax.jvp(jax.grad(loss), (params,), (v,))[1])(direction)

        found, expected = curved(by_the_form), curved(by_the_model)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("form, own", [(fast_one_layer, ONE), (fast_deep, DEEP)])
def test_a_padded_trace_is_that_of_the_plain_form(form, own, assert_trees_close):
    large = program(p=P + 3, num_layers=own.num_layers, activation="gelu")
    params, data = by_name.pad(random_params(own), large), programs.padded(modular(P, 0.67), P + 3)
    exists = data.splits["train"] | data.splits["test"]
    traces = jax.jit(lambda data: [f(params, data, large) for f in (form.trace, by_name.trace)])
    # What the two hold for pairs that are padding differs: their last token is not "=".
    found, plain = (
        jax.tree.map(lambda x: jnp.where(exists[..., 0], x, 0.0), trace) for trace in traces(data)
    )
    assert found.neurons.shape == (24, P + 3, P + 3) and not np.any(found.logits[P + 1 :])
    assert_trees_close(found, plain, 1e-5)


@on_a_cpu
@pytest.mark.parametrize("pairs", [1, 7 * 19, 19 * 19], ids=["rows", "overlap", "at once"])
def test_logits_of_all_pairs_in_parts_are_the_models(pairs, monkeypatch, assert_trees_close):
    monkeypatch.setattr(token_tables, "PAIRS", pairs)
    data, params = modular(19, 0.4, operation="subtract"), random_params(TABLES)

    def of_rows(logits, targets):
        return logits, losses.cross_entropy(logits, targets, 19)

    with jax.enable_x64(True):
        params, targets = in_float64(params), data.targets[..., 0]
        expected = of_rows(by_name.scored_logits(params, data, TABLES)[..., 0], targets)
        found = forward.form(TABLES).over_rows(params, data, of_rows, data.targets)
        assert_trees_close(found, expected, 1e-12)


def test_a_smaller_modulus_has_the_same_logits_in_larger_arrays():
    data, small = modular(17, 0.4), program(**WIDE | {"p": 17}, activation="gelu")
    params, larger = random_params(small), programs.padded(data, 19)
    same = lambda program, *of: forward.form(program).over_rows(*of, lambda x: x)  # noqa: E731
    padded = same(TABLES, by_name.pad(params, TABLES), larger)
    np.testing.assert_allclose(padded[:18, :17, :17], same(small, params, data), atol=1e-5)


# --- Which form serves ----------------------------------------------------------------------------


@on_a_cpu
def test_each_form_serves_its_own(monkeypatch):
    prepared = lambda program, tokens=PAIRS: forward.form(program).prepare(tokens)  # noqa: E731
    assert isinstance(prepared(TABLES, MANY), fast_tables.Prepared)  # large batches, on a CPU
    for small in (prepared(TABLES, MANY[:100]), prepared(program(p=19), MANY), prepared(ONE)):
        assert isinstance(small, fast_one_layer.Prepared)
    assert isinstance(prepared(DEEP), fast_one_layer.Prepared)
    assert fast_deep.serves(DEEP) and not fast_deep.serves(ONE)
    # A neuron that is dropped for one pair is not for another with the same first token.
    for other in (dict(on=("dropout",)), dict(layer_norm=True)):
        assert prepared(program(p=P, num_layers=2, **other)) is PAIRS
    with matmul.computed_by(rounding.CONTRACTS["tensorfloat32"]):
        assert not fast_tables.serves(TABLES)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not fast_tables.serves(TABLES) and fast_one_layer.serves(TABLES)


@on_a_cpu
def test_other_answers_and_splits_need_no_other_form():
    data, params = modular(19, 0.95, operation="divide"), random_params(TABLES)
    rows = data.tokens[data.splits["train"][..., 0]]
    prepared = forward.form(TABLES).prepare(jnp.asarray(rows))
    assert isinstance(prepared, fast_tables.Prepared) and prepared.tokens.shape[1] < 19 * 19
    logits = partial(forward.form(TABLES).logits, params)
    expected = logits(forward.form(TABLES).prepare(MANY), 1)
    where = {tuple(x): i for i, x in enumerate(np.asarray(MANY).tolist())}
    columns = [where[tuple(x)] for x in rows.tolist()]
    np.testing.assert_allclose(logits(prepared, 1), expected[:, columns], rtol=1e-5, atol=1e-5)


# --- Pieces ---------------------------------------------------------------------------------------

by_token = jax.jit(partial(fast_tables._segments, vocabulary=8))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=70, max_size=70))
def test_segments_hold_every_example_once_with_its_token(tokens):
    tokens = np.array(tokens, np.int32)
    segments = by_token(tokens)
    rows, exists = np.asarray(segments.rows), np.asarray(segments.exists)
    assert sorted(rows[exists]) == list(range(len(tokens)))
    np.testing.assert_array_equal(rows.reshape(-1)[segments.places], np.arange(len(tokens)))
    assert exists.reshape(-1)[segments.places].all()
    own = np.broadcast_to(np.asarray(segments.tokens)[:, None], rows.shape)
    np.testing.assert_array_equal(own[exists], tokens[rows[exists]])
    assert (np.diff(segments.tokens) >= 0).all()


def test_every_platform_looks_up_mixes_and_differentiates_the_same(assert_trees_close):
    """As JAX does a plain indexing."""
    rng = np.random.default_rng(3)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    pairs = fast_one_layer.prepare(PAIRS[::2], ONE).pairs
    count = pairs.tokens.shape[1]
    tables, w, along = draw(2, 8, P + 1), np.abs(draw(2, 2, count)), draw(8, count)
    indexed = lambda tables: jnp.stack([tables[j][:, pairs.tokens[j]] for j in range(2)])  # noqa: E731
    by_gather, by_product = fast_one_layer._by_gather, fast_one_layer._by_product

    @jax.jit
    def compute(w, tables, along):
        def plain(w, tables):
            return jnp.sum(w[:, :, None] * indexed(tables).reshape(2, 2, 4, -1), 0).reshape(8, -1)

        one = fast_one_layer
        expected, back = jax.vjp(plain, w, tables)
        looked_up = [f(tables, pairs) for f in (by_gather, by_product, one.look_up)]
        own, pull_back = jax.vjp(lambda x: one.look_up(x, pairs), tables)
        gradients = pull_back(own)[0], jax.vjp(indexed, tables)[1](own)[0]
        mixed = [one._mixed(f, w, tables, pairs) for f in (by_gather, by_product)]
        backs = [one._mix_back_apart(f, w, tables, pairs, along) for f in (by_gather, by_product)]
        backs.append(one._mix_back_together(w, tables, pairs, along))
        return looked_up, indexed(tables), gradients, mixed, expected, backs, back(along)

    looked_up, values, gradients, mixed, expected, backs, back = compute(w, tables, along)
    for found in looked_up:
        np.testing.assert_array_equal(found, values)
    assert_trees_close(*gradients, 1e-5)
    for found in mixed:
        assert_trees_close(found, expected, 1e-6)
    for found in backs:
        assert_trees_close(found, back, 1e-6)
