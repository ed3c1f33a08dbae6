"""Files of networks that differ from the paper's: copies, other names, biases, LayerNorm, pairs."""

import jax
import numpy as np
import pytest
from float64 import Float64
from programs import program

from grokjax.core.errors import ConfigError
from grokjax.networks import by_name, interop
from grokjax.networks.interop.reading import read
from grokjax.tasks.modular import modular

P, D, H, K, M = 7, 16, 2, 8, 24


def network(seed=0, **fields):
    params = by_name.init(jax.random.key(seed), program(D, H, M, p=P, **fields))
    rng = np.random.default_rng(seed)
    noisy = lambda x: x if np.any(x) else np.float32(rng.normal(size=x.shape))  # noqa: E731
    return jax.tree.map(noisy, jax.tree.map(np.array, params))


def logits(params, **fields):
    """Logits at the last position, over all pairs, by the plain forward pass."""
    positions = fields.get("positions", 3)
    a, b = (x.reshape(-1) for x in np.indices((P, P)))
    tokens = np.stack([a, b, np.full_like(a, P)][:positions], -1)
    run = program(D, H, M, p=P, **fields)
    return np.asarray(by_name.logits(params, tokens, 1, run)).reshape(-1, P * P)


def flat(params, before=""):
    state = {}
    for name, x in params.items():
        state |= flat(x, f"{before}{name}.") if isinstance(x, dict) else {f"{before}{name}": x}
    return state


def biased_logits(params, biases):
    """Logits of a one-layer network with more biases, in float64."""
    exact = Float64(params, modular(P, 0.5), [1])
    attn = exact.attn
    q = np.einsum("d,hdk->hk", exact.x_equals, attn["W_Q"]) + biases["b_Q"]
    k = np.einsum("bsd,hdk->hbsk", exact.x, attn["W_K"]) + biases["b_K"][:, None, None]
    v = np.einsum("bsd,hdk->hbsk", exact.x, attn["W_V"]) + biases["b_V"][:, None, None]
    scores = np.einsum("hk,hbsk->hbs", q, k) / np.sqrt(K)
    pattern = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    out = np.einsum("hbs,hbsk,hkd->db", pattern, v, attn["W_O"]) + biases["b_O"][:, None]
    return exact.read_out(exact.x_equals[:, None] + out)[1] + biases["b_U"][:P, None]


def foreign_biases(params, scale=1.0):
    rng = np.random.default_rng(5)
    shapes = {"b_Q": (H, K), "b_K": (H, K), "b_V": (H, K), "b_O": (D,), "b_U": (P + 1,)}
    return {name: np.float32(scale * rng.normal(size=x)) for name, x in shapes.items()}


@pytest.mark.parametrize("flattened", [False, True])
def test_folded_biases_change_no_logit(flattened):
    params = network()
    biases = foreign_biases(params)
    state = interop.to_transformer_lens(params)
    for name, bias in biases.items():
        full = f"blocks.0.attn.{name}" if name != "b_U" else "unembed.b_U"
        state[full] = bias.reshape(-1) if flattened else bias
    loaded = read(state)
    plain = Float64(loaded.params, modular(P, 0.5), [1]).logits
    expected = biased_logits(params, biases)
    np.testing.assert_allclose(plain, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    assert np.abs(plain - Float64(params, modular(P, 0.5), [1]).logits).max() > 0.1
    for words in ("b_K cancels", "b_Q folded into W_Q", "b_V folded", "b_U folded into b_out"):
        assert words in loaded.about


def test_a_fused_bias_is_folded_as_its_three_parts():
    params = network()
    biases = foreign_biases(params)
    state = interop.to_transformer_lens(params)
    fused = {name: x for name, x in state.items() if not name.split(".")[-1].startswith("b_")}
    apart = {f"blocks.0.attn.{name}": biases[name] for name in ("b_Q", "b_K", "b_V")}
    q, k, v = (fused.pop(f"blocks.0.attn.W_{x}") for x in "QKV")
    turned = [x.swapaxes(1, 2).reshape(-1, D) for x in (q, k, v)]
    fused["blocks.0.attn.in_proj_weight"] = np.concatenate(turned)
    joined = [biases[name].reshape(-1) for name in ("b_Q", "b_K", "b_V")]
    fused["blocks.0.attn.in_proj_bias"] = np.concatenate(joined)
    one = interop.from_state_dict(fused, num_heads=H)
    other = interop.from_state_dict({x: state[x] for x in state if x not in apart} | apart)
    for name in ("W_Q", "W_K", "W_V"):
        got, want = (x["blocks"]["0"]["attn"][name] for x in (one, other))
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("blocks.0.attn.b_V", {"num_layers": 2}, "one layer"),
        ("blocks.1.attn.b_Q", {"num_layers": 2}, "one layer"),
        ("blocks.0.attn.b_O", {"layer_norm": True}, "without LayerNorm"),
        ("unembed.b_U", {"layer_norm": True}, "LayerNorm stands before"),
    ],
)
def test_biases_that_cannot_be_folded_are_refused(name, fields, reason):
    state = flat(network(**fields))
    shape = {"b_V": (H, K), "b_Q": (H, K), "b_O": (D,), "b_U": (P + 1,)}[name[-3:]]
    with pytest.raises(ConfigError, match=f"{name} is not zero and cannot be folded: .*{reason}"):
        interop.from_state_dict(state | {name: np.ones(shape, np.float32)})
    interop.from_state_dict(state | {name: np.zeros(shape, np.float32)})


def test_a_bias_of_the_logits_that_the_unembedding_cannot_write_is_refused():
    params = network()
    params["unembed"]["W_U"][:, 0] = 0
    state = interop.to_transformer_lens(params) | {"unembed.b_U": np.ones(P + 1, np.float32)}
    with pytest.raises(ConfigError, match="cannot write it"):
        interop.from_state_dict(state)


def test_the_bias_of_keys_cancels_at_any_depth():
    params = network(num_layers=2)
    bias = {"blocks.1.attn.b_K": np.ones((H, K), np.float32)}
    loaded = interop.from_state_dict(flat(params) | bias)
    np.testing.assert_array_equal(logits(loaded, num_layers=2), logits(params, num_layers=2))


def test_exact_copies_are_ignored_and_others_are_not():
    params = network()
    state = interop.to_authors(params)
    copies = {"x_embed": state["embed.W_E"], "y_embed": state["embed.W_E"].copy()}
    copies["tok_embed.weight"] = state["embed.W_E"]
    network_ = read({**state, **copies})
    np.testing.assert_array_equal(logits(network_.params), logits(params))
    for name in copies:
        assert f"{name} ignored: a copy of embed.W_E" in network_.about
    with pytest.raises(ConfigError, match="x_embed, which is no part"):
        interop.from_state_dict({**state, "x_embed": state["embed.W_E"] * 2})


def test_entries_are_renamed(tmp_path):
    params = network()
    state = interop.to_authors(params)
    state["perceptron.a"], state["perceptron.b"] = (
        state.pop(f"blocks.0.mlp.W_{x}") for x in ("in", "out")
    )
    names = {"perceptron.a": "blocks.0.mlp.W_in", "perceptron.b": "blocks.0.mlp.W_out"}
    np.savez(tmp_path / "x.npz", **state)
    loaded = interop.load_network(tmp_path / "x.npz", names=names)
    np.testing.assert_array_equal(logits(loaded), logits(params))
    with pytest.raises(ConfigError, match="perceptron.a, which is no part.*--name perceptron.a="):
        interop.load_network(tmp_path / "x.npz")
    for wrong, message in (
        ({"missing": "embed.W_E"}, "has no missing to rename"),
        ({"perceptron.a": "something"}, "something is no part"),
    ):
        with pytest.raises(ConfigError, match=message):
            interop.load_network(tmp_path / "x.npz", names=wrong)


def test_mlp_in_and_mlp_out_are_read():
    params = network()
    state = interop.to_authors(params)
    for x in ("in", "out"):
        state[f"mlp_{x}.weight"] = state.pop(f"blocks.0.mlp.W_{x}")
        state[f"mlp_{x}.bias"] = state.pop(f"blocks.0.mlp.b_{x}")
    np.testing.assert_array_equal(logits(interop.from_state_dict(state)), logits(params))


@pytest.mark.parametrize("names", ["ours", "torch"])
def test_a_layer_norm_network_is_read(names):
    params = network(layer_norm=True, num_layers=2)
    state = flat(params)
    if names == "torch":
        for name in [x for x in state if x.rpartition(".")[0].split(".")[-1].startswith("ln")]:
            new = name.replace("ln1", "ln_1").replace("ln2", "ln_2").replace("ln_final", "ln_f")
            new = new.removesuffix(".w").removesuffix(".b")
            state[f"{new}.{'weight' if name.endswith('w') else 'bias'}"] = state.pop(name)
    loaded = read(state)
    assert loaded.settings == {"layer_norm": True, "attention_rate": 1.0}
    fields = {"layer_norm": True, "num_layers": 2}
    np.testing.assert_array_equal(logits(loaded.params, **fields), logits(params, **fields))
    del state[next(x for x in state if x.startswith("ln_f"))]
    with pytest.raises(ConfigError, match="lacks ln_final"):
        interop.from_state_dict(state)


def test_a_network_of_two_tokens_is_read():
    params = network()
    params["embed"]["W_E"] = params["embed"]["W_E"][:P]
    params["pos_embed"]["W_pos"] = params["pos_embed"]["W_pos"][:2]
    params["unembed"]["W_U"] = params["unembed"]["W_U"][:, :P]
    loaded = interop.from_state_dict(flat(params))
    fields = {"positions": 2}
    np.testing.assert_array_equal(logits(loaded, **fields), logits(params, **fields))
    assert loaded["unembed"]["W_U"].shape == (D, P)
    with pytest.raises(ConfigError, match="must be one vector"):
        bias = {"blocks.0.attn.b_Q": np.ones((H, K), np.float32)}
        interop.from_state_dict(flat(params) | bias)


@pytest.mark.parametrize("name", ["attention_rate", "attn_coeff"])
def test_the_attention_rate_is_read_from_the_configuration(name, tmp_path):
    torch = pytest.importorskip("torch")
    params = network()
    state = {key: torch.tensor(x) for key, x in flat(params).items()}
    torch.save({"weights": state, "config": {name: 0.25}}, tmp_path / "x.pth")
    found = interop.read_network(tmp_path / "x.pth")
    assert found.settings == {"layer_norm": False, "attention_rate": 0.25}
    rate = {"attention_rate": found.settings["attention_rate"]}
    np.testing.assert_array_equal(logits(found.params, **rate), logits(params, **rate))
    assert np.abs(logits(params, **rate) - logits(params)).max() > 0.01


def test_losses_beside_a_state_dict_are_no_part_of_it(tmp_path):
    torch = pytest.importorskip("torch")
    params = network()
    state = {name: torch.tensor(x) for name, x in flat(params).items()}
    losses = {"train_losses": [1.0, 0.5], "test_losses": [2.0, 1.5]}
    torch.save({"my_network": state, **losses, "optimizer": {"m": state}}, tmp_path / "x.pth")
    loaded = interop.load_network(tmp_path / "x.pth")
    np.testing.assert_array_equal(logits(loaded), logits(params))
    torch.save(losses, tmp_path / "y.pth")
    with pytest.raises(ConfigError, match="holds train_losses, test_losses: none of it is"):
        interop.load_network(tmp_path / "y.pth")
    arrays = interop.to_transformer_lens(params) | {"train_losses": np.ones(9)}
    np.savez(tmp_path / "z.npz", **arrays)
    np.testing.assert_array_equal(logits(interop.load_network(tmp_path / "z.npz")), logits(params))
