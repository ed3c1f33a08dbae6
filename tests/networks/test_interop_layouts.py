"""A file of every layout that is read, made from random weights."""

import jax
import numpy as np
import pytest
from programs import program

from grokjax.core.errors import ConfigError
from grokjax.networks import by_name, interop
from grokjax.networks.forward import form
from grokjax.tasks.modular import modular

P, D, H, K, M = 7, 16, 2, 8, 24


def network(layers=1, p=P):
    params = by_name.init(jax.random.key(3), program(D, H, M, num_layers=layers, p=p))
    params = jax.tree.map(np.asarray, params)
    for i, block in enumerate(params["blocks"].values()):
        rng = np.random.default_rng(i)
        block["mlp"]["b_in"] = rng.normal(size=M).astype(np.float32)
        block["mlp"]["b_out"] = rng.normal(size=D).astype(np.float32)
    return params


def logits(params):
    layers = len(params["blocks"])
    evaluate = form(program(D, H, M, num_layers=layers, p=P)).trace
    return np.asarray(evaluate(params, modular(P, 0.5)).logits)


def flat(W):
    """[h d k] as the matrix that stands on the left of a column, [h k, d]."""
    return W.swapaxes(1, 2).reshape(-1, W.shape[1])


def of_torch(params, names, zero_biases=False, fused=False, classes=P + 1):
    """The state dict of torch layers, under the names of a layer's parts."""
    embed, pos, blocks, unembed = names["top"]
    state = {
        f"{embed}.weight": params["embed"]["W_E"],
        f"{pos}.weight": params["pos_embed"]["W_pos"],
        f"{unembed}.weight": params["unembed"]["W_U"].T[:classes],
    }
    if zero_biases:
        state[f"{unembed}.bias"] = np.zeros(classes, np.float32)
    for i, block in params["blocks"].items():
        attn, before = block["attn"], f"{blocks}.{i}."
        q, k, v, o, up, down = names["layer"]
        matrices = [flat(attn[f"W_{letter}"]) for letter in "QKV"]
        projections = dict(zip((q, k, v), matrices, strict=True))
        if fused:
            projections = {q: np.concatenate(matrices)}
        weights = projections | {
            o: attn["W_O"].reshape(-1, D).T,
            up: block["mlp"]["W_in"].T,
            down: block["mlp"]["W_out"].T,
        }
        for name, W in weights.items():
            dotted = "_" if name.endswith("in_proj") else "."
            state[f"{before}{name}{dotted}weight"] = W
            if zero_biases and name not in (up, down):
                state[f"{before}{name}{dotted}bias"] = np.zeros(len(W), np.float32)
        state[f"{before}{up}.bias"] = block["mlp"]["b_in"]
        state[f"{before}{down}.bias"] = block["mlp"]["b_out"]
    return state


PROJECTIONS = {
    "top": ("token_embedding", "pos_embedding", "layers", "lm_head"),
    "layer": (
        *("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out_proj", "mlp.fc1", "mlp.fc2"),
    ),
}
UP_DOWN = {
    "top": ("tok_embed", "pos_embed", "blocks", "unembed"),
    "layer": ("attention.wq", "attention.wk", "attention.wv", "attention.wo", "mlp.up", "mlp.down"),
}
OF_ENCODER = {  # torch.nn.TransformerEncoderLayer
    "top": ("embedding", "position_embedding", "encoder.layers", "output"),
    "layer": ("self_attn.in_proj", "", "", "self_attn.out_proj", "linear1", "linear2"),
}
SEQUENTIAL = {
    "top": ("wte", "wpe", "h", "head"),
    "layer": ("attn.qkv", "", "", "attn.proj", "mlp.0", "mlp.2"),
}


def of_conv1d(params):
    """GPT-2's Conv1D: named as torch layers, but [in, out]."""
    state = of_torch(params, SEQUENTIAL, fused=True)
    return {
        name.replace("mlp.0", "mlp.c_fc").replace("mlp.2", "mlp.c_proj").replace("qkv", "c_attn"): (
            W.T if name.startswith("h.") and W.ndim == 2 else W
        )
        for name, W in state.items()
    }


def by_hand(params, head="hkd", out="do", embed="dv", one_block=False):
    """Matrices of one's own under the authors' names."""
    state = interop.to_authors(params)
    for i, block in params["blocks"].items():
        before = f"blocks.{i}."
        for letter in "QKV":
            W = block["attn"][f"W_{letter}"]
            ways = {"hkd": W.swapaxes(1, 2), "hdk": W, "od": flat(W), "do": flat(W).T}
            state[f"{before}attn.W_{letter}"] = ways[head]
        W = block["attn"]["W_O"]
        ways = {"do": W.reshape(-1, D).T, "od": W.reshape(-1, D), "hkd": W, "hdk": W.swapaxes(1, 2)}
        state[f"{before}attn.W_O"] = ways[out]
        if out in ("od", "hkd") or head in ("hdk", "do"):  # the MLP stands as they do
            for name in ("W_in", "W_out"):
                state[f"{before}mlp.{name}"] = block["mlp"][name]
    if embed == "vd":
        state["embed.W_E"] = params["embed"]["W_E"]
    if one_block:
        state = {name.replace("blocks.0.", ""): W for name, W in state.items()}
    return state


LAYOUTS = {
    "authors": (interop.to_authors, {}),
    "TransformerLens": (interop.to_transformer_lens, {}),
    "q_proj": (lambda x: of_torch(x, PROJECTIONS), {"num_heads": H}),
    "q_proj, zero biases": (lambda x: of_torch(x, PROJECTIONS, True), {"num_heads": H}),
    "p classes": (lambda x: of_torch(x, PROJECTIONS, True, classes=P), {"num_heads": H}),
    "up and down": (lambda x: of_torch(x, UP_DOWN), {"num_heads": H}),
    "fused in_proj": (lambda x: of_torch(x, OF_ENCODER, True, True), {"num_heads": H}),
    "fused qkv": (lambda x: of_torch(x, SEQUENTIAL, fused=True), {"num_heads": H}),
    "Conv1D": (of_conv1d, {"num_heads": H}),
    "flat [h k, d]": (lambda x: by_hand(x, "od"), {"num_heads": H}),
    "flat [d, h k]": (lambda x: by_hand(x, "do", "od"), {"num_heads": H}),
    "by head, W_O too": (lambda x: by_hand(x, "hkd", "hdk"), {}),
    "by head, turned": (lambda x: by_hand(x, "hdk", "od"), {}),
    "embedding [v, d]": (lambda x: by_hand(x, embed="vd"), {}),
    "without blocks": (lambda x: by_hand(x, one_block=True), {}),
}
PREFIXES = ("", "module.", "_orig_mod.", "model.", "_orig_mod.module.", "module.model.")
WRAPPERS = ("model", "model_state_dict", "state_dict", "params", "net")


def saved(state, path, wrapper=None, **beside):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.tensor(np.ascontiguousarray(x)) for name, x in state.items()}
    torch.save({wrapper: tensors, "epoch": 3, **beside} if wrapper else tensors, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_file_of_each_layout_loads_with_the_same_logits(layout, layers, tmp_path):
    if layout == "without blocks" and layers > 1:
        pytest.skip("which are what tells layers apart")
    make, options = LAYOUTS[layout]
    params = network(layers)
    names = list(LAYOUTS)
    prefix = PREFIXES[names.index(layout) % len(PREFIXES)]
    wrapper = (None, *WRAPPERS)[names.index(layout) % 6]
    state = {f"{prefix}{name}": x for name, x in make(params).items()}
    found = interop.read_network(saved(state, tmp_path / "x.pth", wrapper), **options)
    classes = P if layout == "p classes" else P + 1
    np.testing.assert_array_equal(logits(found.params)[:classes], logits(params)[:classes])
    assert "\n" not in found.about and found.about.startswith(str(tmp_path / "x.pth"))
    assert " as W_E [" in found.about and " as W_Q [" in found.about


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("wrapper", [None, *WRAPPERS])
def test_wrappers_are_looked_through(prefix, wrapper, tmp_path):
    state = {f"{prefix}{name}": x for name, x in interop.to_authors(network()).items()}
    found = interop.load_network(saved(state, tmp_path / "x.pt", wrapper))
    np.testing.assert_array_equal(logits(found), logits(network()))


def test_the_heads_may_stand_in_a_configuration_beside_the_weights(tmp_path):
    state = of_torch(network(), PROJECTIONS)
    path = saved(state, tmp_path / "x.pth", "model", config={"n_heads": H, "d_model": D})
    np.testing.assert_array_equal(logits(interop.load_network(path)), logits(network()))
    without = saved(state, tmp_path / "y.pth", "model")
    with pytest.raises(ConfigError, match="q_proj.weight has shape .*how many heads.*num_heads"):
        interop.load_network(without)
    with pytest.raises(ConfigError, match="5 heads do not divide 16"):
        interop.load_network(without, num_heads=5)
    with pytest.raises(ConfigError, match="has 2 heads, not 4"):
        interop.from_state_dict(interop.to_authors(network()), num_heads=4)
    other = interop.load_network(without, num_heads=4)
    assert other["blocks"]["0"]["attn"]["W_Q"].shape == (4, D, 4)


def test_nested_parameters_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    params = network()
    torch.save({"params": jax.tree.map(torch.tensor, params)}, tmp_path / "x.pth")
    found = interop.load_network(tmp_path / "x.pth")
    np.testing.assert_array_equal(logits(found), logits(params))


def test_entries_that_are_no_weights_are_named_and_passed_over():
    state = interop.to_authors(network())
    beside = {
        "blocks.0.attn.mask": np.tril(np.ones((3, 3), np.float32)),
        "embedded_inputs": np.ones((P * P, 3, D), np.float32),  # of all pairs
        "num_updates": np.array(40_000),
        "kv_cache": np.ones((2, D), np.float32),
    }
    found, _, about = interop.reading.read(state | beside)
    np.testing.assert_array_equal(logits(found), logits(network()))
    assert about.endswith(f"passed over {', '.join(beside)}")
    with pytest.raises(ConfigError, match="one_more, which is no part"):
        interop.from_state_dict(state | {"one_more": np.ones((P, D), np.float32)})


def test_what_there_is_no_network_for_is_refused_by_name_of_the_reason():
    state = of_torch(network(), PROJECTIONS, True)
    read = lambda **more: interop.from_state_dict(state | more, "x.pth", H)  # noqa: E731
    read()
    for name in (
        "ln_3.weight",
        "layers.0.norm1.bias",
        "layers.0.layer_norm.weight",
        "final_norm.w",
    ):
        with pytest.raises(ConfigError, match=f"x.pth has {name}: a normalization"):
            read(**{name: np.ones(D, np.float32)})
    with pytest.raises(ConfigError, match="8 tokens and 3 outputs; expected p and p"):
        more = {"pos_embedding.weight": (2, D), "lm_head.weight": (3, D), "lm_head.bias": (3,)}
        read(**{name: np.ones(shape, np.float32) for name, shape in more.items()})


def test_the_encoder_layer_of_torch_gives_the_logits_that_are_read(tmp_path):
    """Its own arithmetic, so that heads and fused matrices are cut as it cuts them."""
    torch = pytest.importorskip("torch")
    attention = torch.nn.MultiheadAttention(D, H, bias=True, batch_first=True)
    for name, parameter in attention.named_parameters():
        (torch.nn.init.zeros_ if "bias" in name else torch.nn.init.normal_)(parameter)
    params = network()
    state = of_torch(params, OF_ENCODER, True, True)
    for name, parameter in attention.named_parameters():
        state[f"encoder.layers.0.self_attn.{name}"] = parameter.detach().numpy()
    found = interop.from_state_dict(state, num_heads=H)
    x = np.random.default_rng(0).normal(size=(5, 3, D)).astype(np.float32)
    mask = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
    with torch.no_grad():
        expected = attention(*[torch.tensor(x)] * 3, attn_mask=mask)[0].numpy()
    attn = found["blocks"]["0"]["attn"]
    q, k, v = (np.einsum("bsd,hdk->bhsk", x, attn[f"W_{letter}"]) for letter in "QKV")
    scores = np.where(np.tri(3, dtype=bool), q @ k.swapaxes(-1, -2) / np.sqrt(K), -np.inf)
    pattern = np.exp(scores - scores.max(-1, keepdims=True))
    pattern /= pattern.sum(-1, keepdims=True)
    ours = np.einsum("bhqk,hkd->bqd", pattern @ v, attn["W_O"])
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
