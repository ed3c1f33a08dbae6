"""Initial weights of the transformer and of other networks, and dropout."""

import jax
import jax.numpy as jnp
import numpy as np

from grokjax.config.sweep import RunConfig
from grokjax.networks import by_name, transformer
from grokjax.training import losses
from grokjax.training.blocks import program_of
from grokjax.training.packing import pack
from tests import programs
from tests.programs import all_pairs, program, random_params
from tests.sequence_runs import COPIES

PAPER = program(**programs.PAPER, p=113)
DEEP = program(p=5, num_layers=2)

draw = jax.jit(by_name.init, static_argnames="program")
forward = jax.jit(transformer.forward, static_argnames="program")


def init(seed, program, init_scale=1.0):
    return jax.device_get(draw(jax.random.key(seed), program=program, init_scale=init_scale))


def names_and_shapes(params):
    leaves = jax.tree.leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): x.shape for path, x in leaves}


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


def test_the_loss_at_initialisation_is_the_authors():
    tokens = all_pairs(113)[::5]
    labels = (tokens[:, 0] + tokens[:, 1]) % 113
    for seed in range(3):
        params = init(seed, PAPER)
        logits = forward(params, tokens, program=PAPER)["logits"][:, -1]
        loss = float(losses.cross_entropy(logits.T, labels, 114).mean())
        assert 4.76 < loss < 4.80


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


# --- Other networks -------------------------------------------------------------------------------


def test_queries_of_the_induction_transformer_are_drawn_for_the_width_of_a_head():
    wide = COPIES.replace(d_model=256, num_heads=4)
    attn = init(0, program_of(wide))["blocks"]["0"]["attn"]
    for name, scale in (("W_Q", 64), ("W_K", 64), ("W_V", 64), ("W_O", 256)):
        np.testing.assert_allclose(np.std(attn[name]), scale**-0.5, rtol=0.02)


def test_weights_of_the_mlp_are_uniform_up_to_one_over_the_root_of_the_inputs():
    params = init(0, program_of(RunConfig(network="mlp", modulus=97, d_mlp=400)))
    for name, inputs in (("W_in", 3 * 98), ("b_in", 3 * 98), ("W_out", 400)):
        scaled = params[name] * inputs**0.5
        assert -1 <= scaled.min() < -0.98 and 0.98 < scaled.max() <= 1
        assert abs(scaled.mean()) < 0.1 and abs(scaled.std() - 3**-0.5) < 0.05


def test_runs_of_two_moduli_share_a_block_and_other_networks_do_not():
    mlp = RunConfig(network="mlp", modulus=7, train_fraction=0.5, d_mlp=24, steps=60)
    runs = [mlp, mlp.replace(modulus=8), mlp.replace(network="transformer", d_mlp=24)]
    assert [block.indices for block in pack(runs)] == [(0, 1), (2,)]
