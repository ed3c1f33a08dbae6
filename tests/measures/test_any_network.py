"""The paper's measures of networks of any kind: from their logits, or from matrices they name."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from configs import message_of
from hand_built import waves_of_the_sum
from programs import hyper, network_of, program, random_params

import grokjax
from grokjax.cli.config_file import read_sweep
from grokjax.core import parts
from grokjax.measures import spectra
from grokjax.measures.compute import compute
from grokjax.measures.network import Network
from grokjax.measures.select import applies, select
from grokjax.networks import by_name, transformer
from grokjax.results.measuring import select_for
from grokjax.tasks.modular import modular
from grokjax.training.blocks import block_of

EXTENSIONS = Path(__file__).parents[2] / "docs" / "howto" / "extensions"


def wrapped(params=None, **keywords):
    """The built-in transformer as a custom network, whose parameters have other names."""

    @grokjax.network(uses=("d_model", "num_heads", "d_mlp"), **keywords)
    def other(program):
        def init(key):
            return {"net": transformer.init(key, program)}

        def apply(params, tokens):
            out = transformer.forward(params["net"], tokens, program)
            return grokjax.Trace(out["logits"], out["neurons"])

        return init, apply


def both(params, data, **keywords):
    """The same weights as the built-in network and as a custom one."""
    wrapped(**keywords)
    own = network_of(params, data)
    settings = dict(own.program.settings)
    sizes = {name: settings[name] for name in ("d_model", "num_heads", "d_mlp")}
    other = program(**sizes, p=int(data.extra["modulus"]), network="other")
    return own, Network({"net": params}, data, other)


NAMED = {
    "embedding": "net.embed.W_E",
    "unembedding": ("net.blocks.0.mlp.W_out", "net.unembed.W_U"),
}


@pytest.mark.parametrize("p, amplitudes", [(11, {2: 3.0, 5: 2.0}), (12, {4: 4.0, 5: 4.0})])
def test_hand_built_key_frequencies_are_the_same_from_the_logits_and_from_w_l(p, amplitudes):
    params = waves_of_the_sum(p, amplitudes, d_model=16, num_heads=2, d_mlp=4 * p)
    own, other = both(params, modular(p, 0.5))
    expected = np.isin(np.arange(1, p // 2 + 1), list(amplitudes))
    assert spectra.key_rule(own.program) == "W_L" and spectra.key_rule(other.program) == "logits"
    np.testing.assert_array_equal(own.key_frequency, expected)
    np.testing.assert_array_equal(other.key_frequency, expected)


def test_norms_of_the_logits_are_those_of_a_float64_fourier_transform():
    p, data = 7, modular(7, 0.5)
    network = network_of(random_params(program(p=p)), data)
    logits = np.asarray(network.logits, np.float64)[:p].reshape(p, -1)
    spectrum = np.fft.rfft(logits - logits.mean(1, keepdims=True), axis=0)[1:]
    expected = np.sqrt((np.abs(spectrum) ** 2).sum(1) * 2 / p)
    norms = spectra.frequency_norms(spectra.logit_norms(network))
    np.testing.assert_allclose(norms, expected, rtol=1e-5)


OF_LOGITS = (
    "restricted_loss restricted_accuracy excluded_loss excluded_accuracy key_frequency "
    "excluded_loss_by_frequency max_excluded_loss cos_coefficient key_share_of_logits"
).split()


def measured(network, names, keys=None):
    chosen = [parts.get("measure", name, "modular") for name in names]
    assert all(applies(part, network.program, ("train", "test")) for part in chosen)
    given = {} if keys is None else {"key_frequency": keys}
    return compute(network.program, chosen, params=network.params, data=network.data, given=given)


def test_measures_of_the_logits_are_those_of_the_built_in_network():
    own, other = both(random_params(program(p=7)), modular(7, 0.5))
    keys = jnp.asarray([True, False, True])
    expected = measured(own, OF_LOGITS, keys)
    for name, value in measured(other, OF_LOGITS, keys).items():
        np.testing.assert_allclose(value, expected[name], rtol=2e-4, atol=1e-6, err_msg=name)


def test_measures_of_named_matrices_are_those_of_the_built_in_network():
    own, other = both(random_params(program(p=7)), modular(7, 0.5), **NAMED)
    names = ("gini_embedding", "embedding_norm", "gini_neuron_logit_map", "neuron_logit_map_norm")
    names += ("key_frequency", "weakest_key_norm", "key_share_of_neuron_logit_map", "drift")
    names = [x for x in names if parts.is_registered("measure", x) and x != "drift"]
    expected = measured(own, names)
    for name, value in measured(other, names).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    "name, words",
    [
        ("gini_embedding", "network 'other' has no W_E: name embedding= in @grokjax.network"),
        ("gini_neuron_logit_map", "no W_L: name unembedding= in @grokjax.network"),
        ("loss_by_digit", "it is of task 'five_digit_addition', and this is task 'modular'"),
    ],
)
def test_a_measure_that_does_not_apply_names_what_is_missing(name, words):
    wrapped()
    assert words in message_of(select, [name], program(network="other"))


def test_a_network_without_neurons_says_how_to_return_them():
    @grokjax.network
    def bare(program):
        init = lambda key: {"w": jnp.zeros((program.positions, program.num_classes))}  # noqa: E731
        return init, lambda params, tokens: tokens.astype(float) @ params["w"]

    of = program(network="bare")
    network = Network(by_name.init(jax.random.key(0), of), modular(7, 0.5), of, hyper())
    with pytest.raises(grokjax.core.errors.MissingError) as caught:
        network.trace.neurons  # noqa: B018
    assert str(caught.value).endswith("of network 'bare': return Trace(logits, neurons)")


@pytest.mark.parametrize(
    "keywords, words",
    [
        ({"embedding": "net.embed.W_U"}, "'net.embed.W_U' is no matrix among its parameters"),
        ({"unembedding": "net.embed.W_E"}, "expected [m, 8]"),
        ({"embedding": "net.unembed.W_U"}, "expected [8, d]"),
    ],
)
def test_matrices_that_a_network_does_not_have_are_refused(keywords, words):
    wrapped(**keywords)
    message = message_of(by_name.outputs, program(network="other", d_model=16))
    assert words in message and "network 'other' (" in message


SMALL = "modulus=7 train_fraction=0.6 steps=10".split()
SIZES = {
    "rope_network": "d_model=8 num_heads=2 d_mlp=12".split(),
    "recurrent_network": ["Recurrent.width=12"],
    "mlp_network": "d_model=8 d_mlp=12".split(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_the_papers_measures_of_three_networks_are_finite(name):
    overrides = [tuple(x.split("=")) for x in (*SMALL, *SIZES[name])]
    (run,) = read_sweep(str(EXTENSIONS / f"{name}.py"), overrides).runs
    block = block_of([run], [0])
    of, data = block.program, modular(7, 0.6)
    params = by_name.init(jax.random.key(0), of)
    chosen = select_for(block)
    values = jax.jit(partial(compute, of, chosen))(params=params, data=data)
    assert set(OF_LOGITS) <= set(values)
    assert ("gini_logits" in values) == (name == "recurrent_network")
    assert ("gini_neuron_logit_map" in values) == (name != "recurrent_network")
    assert all(np.isfinite(x).all() for x in values.values())
