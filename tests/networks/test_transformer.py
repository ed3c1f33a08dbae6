import math

import jax
import jax.numpy as jnp
import numpy as np
import programs
import pytest
from programs import all_pairs, program, random_params

from grokjax.networks import by_name, transformer
from grokjax.training import losses

PAPER = program(**programs.PAPER, p=113)
SMALL = program(p=5)
LARGER = program(p=8)
DEEP = program(p=5, num_layers=2)
SMOOTH = program(p=5, num_heads=4, activation="gelu")

draw = jax.jit(by_name.init, static_argnames="program")
forward = jax.jit(transformer.forward, static_argnames="program")


def init(seed, program, init_scale=1.0):
    return draw(jax.random.key(seed), program=program, init_scale=init_scale)


def names_and_shapes(params):
    leaves = jax.tree.leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): x.shape for path, x in leaves}


def exact_gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def numpy_forward(params, tokens, num_layers, activation):
    """The network of the paper notes in float64, one example, head and query at a time."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    patterns, results = [], []
    for example in np.asarray(tokens):
        stream, of_layers = params["embed"]["W_E"][example] + params["pos_embed"]["W_pos"], []
        for layer in range(num_layers):
            attn, mlp = (params["blocks"][str(layer)][part] for part in ("attn", "mlp"))
            mid, pattern = stream.copy(), np.zeros((len(attn["W_Q"]), 3, 3))
            for h, (W_Q, W_K, W_V, W_O) in enumerate(
                zip(attn["W_Q"], attn["W_K"], attn["W_V"], attn["W_O"], strict=True)
            ):
                for i in range(3):
                    query = stream[i] @ W_Q
                    scores = [query @ (stream[j] @ W_K) for j in range(i + 1)]
                    weights = np.exp(np.array(scores) / np.sqrt(W_Q.shape[-1]))
                    pattern[h, i, : i + 1] = weights / weights.sum()
                    mid[i] += pattern[h, i] @ (stream @ W_V) @ W_O
            neurons = activation(mid @ mlp["W_in"] + mlp["b_in"])
            stream = mid + neurons @ mlp["W_out"] + mlp["b_out"]
            of_layers.append(pattern)
        results.append((stream @ params["unembed"]["W_U"], mid, neurons))
        patterns.append(of_layers)
    logits, residual, neurons = map(np.stack, zip(*results, strict=True))
    patterns = np.stack(patterns, 1)  # layers first
    seen = dict(attention=patterns[-1], patterns=patterns)
    return dict(logits=logits, residual=residual, neurons=neurons, **seen)


def test_names_and_shapes_are_those_of_transformerlens():
    assert names_and_shapes(by_name.shapes(PAPER)) == {
        "embed.W_E": (114, 128),
        "pos_embed.W_pos": (3, 128),
        "blocks.0.attn.W_Q": (4, 128, 32),
        "blocks.0.attn.W_K": (4, 128, 32),
        "blocks.0.attn.W_V": (4, 128, 32),
        "blocks.0.attn.W_O": (4, 32, 128),
        "blocks.0.mlp.W_in": (128, 512),
        "blocks.0.mlp.b_in": (512,),
        "blocks.0.mlp.W_out": (512, 128),
        "blocks.0.mlp.b_out": (128,),
        "unembed.W_U": (128, 114),
    }


def test_the_papers_network_has_226816_parameters():
    assert sum(x.size for x in jax.tree.leaves(by_name.shapes(PAPER))) == 226_816


def test_initial_weights_are_gaussians_of_the_authors_scales():
    params = init(3, PAPER)
    for path, leaf in jax.tree.leaves_with_path(params):
        name = path[-1].key
        leaf = np.asarray(leaf, np.float64)
        if name.startswith("b_"):
            assert not leaf.any()
            continue
        z = leaf * np.sqrt(114 if name == "W_U" else 128)
        assert abs(z.mean()) < 5 / np.sqrt(z.size), name
        assert abs(z.std() - 1) < 5 / np.sqrt(2 * z.size), name
        assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / z.size), name


def test_no_two_matrices_are_drawn_from_the_same_numbers():
    params = init(0, program(num_layers=2))
    attention = [x for layer in params["blocks"].values() for x in layer["attn"].values()]
    flat = [np.ravel(x) for x in attention]
    correlation = np.corrcoef(flat) - np.eye(len(flat))
    assert len(flat) == 8 and np.max(np.abs(correlation)) < 5 / np.sqrt(flat[0].size)


def test_init_scale_multiplies_all_weights():
    once = init(1, program(num_layers=2))
    thrice = init(1, program(num_layers=2), init_scale=3.0)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(3 * x, y, rtol=1e-6), once, thrice)


def test_the_loss_at_initialisation_is_the_authors():
    tokens = all_pairs(113)[::5]
    labels = (tokens[:, 0] + tokens[:, 1]) % 113
    for seed in range(3):
        params = init(seed, PAPER)
        logits = forward(params, tokens, program=PAPER)["logits"][:, -1]
        loss = float(losses.cross_entropy(logits.T, labels, 114).mean())
        assert 4.76 < loss < 4.80


@pytest.mark.parametrize(
    ("network", "activation"),
    [
        (SMALL, lambda x: np.maximum(x, 0)),
        (DEEP, lambda x: np.maximum(x, 0)),
        (SMOOTH, exact_gelu),
    ],
    ids=["one layer", "two layers", "gelu"],
)
def test_the_network_computes_what_the_paper_writes(network, activation):
    params, tokens = random_params(network), all_pairs(5)
    actual = forward(params, tokens, program=network)
    expected = numpy_forward(params, tokens, network.num_layers, activation)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        scale = np.max(np.abs(value))
        np.testing.assert_allclose(actual[name], value, rtol=0, atol=3e-6 * scale, err_msg=name)


@pytest.mark.parametrize("network", [SMALL, DEEP], ids=["one layer", "two layers"])
def test_no_position_sees_a_later_one(network):
    params, tokens = random_params(network), jnp.array([[1, 4, 5]])
    jacobian = jax.jit(
        jax.jacrev(
            lambda W_pos: transformer.forward(
                {**params, "pos_embed": {"W_pos": W_pos}}, tokens, network
            )["logits"][0]
        )
    )(params["pos_embed"]["W_pos"])
    influence = np.abs(jacobian).sum((1, 3))  # of position j on the logits at position i
    np.testing.assert_array_equal(influence > 0, np.tril(np.ones((3, 3), bool)))


def test_a_later_token_leaves_the_logits_of_earlier_positions_alone():
    params = random_params(DEEP)
    logits = forward(params, jnp.array([[1, 4, 5], [1, 4, 2], [1, 0, 5]]), program=DEEP)["logits"]
    np.testing.assert_array_equal(logits[0, :2], logits[1, :2])
    np.testing.assert_array_equal(logits[0, 0], logits[2, 0])
    assert np.any(logits[0, 1] != logits[2, 1]) and np.any(logits[0, 2] != logits[1, 2])


def test_drop_receives_the_neurons_of_every_layer_and_replaces_them():
    params, tokens, seen = random_params(DEEP), all_pairs(5), []

    def drop(neurons, layer):
        seen.append((neurons.shape, layer))
        return jnp.zeros_like(neurons)

    dropped = transformer.forward(params, tokens, DEEP, drop)["logits"]
    assert seen == [((25, 3, 24), 0), ((25, 3, 24), 1)]
    for layer in params["blocks"].values():
        layer["mlp"]["W_out"] *= 0
    np.testing.assert_allclose(
        dropped, forward(params, tokens, program=DEEP)["logits"], rtol=1e-5, atol=1e-5
    )


def test_a_padded_network_has_zeros_behind_its_vocabulary_and_the_same_logits():
    params = random_params(SMALL)
    padded = by_name.pad(params, LARGER)
    shapes = names_and_shapes(padded)
    assert shapes["embed.W_E"] == (9, 16) and shapes["unembed.W_U"] == (16, 9)
    assert not padded["embed"]["W_E"][6:].any() and not padded["unembed"]["W_U"][:, 6:].any()
    logits = forward(padded, all_pairs(5), program=LARGER)["logits"]
    expected = forward(params, all_pairs(5), program=SMALL)["logits"]
    np.testing.assert_allclose(logits[..., :6], expected, rtol=0, atol=1e-6)
    assert not np.any(logits[..., 6:])


def test_unpad_undoes_pad_also_under_leading_axes():
    params = random_params(SMALL)
    stacked = jax.tree.map(lambda x: jnp.stack([x, 2 * x])[None], params)
    padded = by_name.pad(params, LARGER)
    large = jax.tree.map(lambda x: jnp.stack([x, 2 * x])[None], padded)
    for tree, grown in ((params, padded), (stacked, large)):
        back = by_name.unpad(grown, SMALL)
        assert jax.tree.structure(back) == jax.tree.structure(tree)
        jax.tree.map(np.testing.assert_array_equal, back, tree)


def test_padding_does_not_change_the_tree_it_is_given():
    params = random_params(SMALL)
    by_name.pad(params, LARGER)
    assert params["embed"]["W_E"].shape == (6, 16)


def test_only_the_embedding_and_the_unembedding_depend_on_the_modulus():
    shapes = (names_and_shapes(by_name.shapes(program(p=p, num_layers=2))) for p in (5, 8))
    small, large = shapes
    changed = {name for name in small if small[name] != large[name]}
    assert changed == {"embed.W_E", "unembed.W_U"}
