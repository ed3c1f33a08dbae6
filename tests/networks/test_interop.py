import hashlib

import jax
import numpy as np
import pytest

from grokjax.config.sweep import RunConfig
from grokjax.core.errors import ConfigError
from grokjax.networks import by_name, interop
from grokjax.networks.forward import form
from grokjax.tasks.data import data_of
from grokjax.training import losses
from grokjax.training.blocks import program_of

NAME = "wd_10-1_mod_addition_loss_curve"


def small(p=7, layers=1):
    return RunConfig(
        modulus=p, train_fraction=0.5, d_model=16, num_heads=2, d_mlp=24, num_layers=layers
    )


def network(p=7, layers=1):
    params = by_name.init(jax.random.key(p), program_of(small(p, layers)))
    mlp = params["blocks"]["0"]["mlp"]
    mlp["b_in"] = jax.random.normal(jax.random.key(1), mlp["b_in"].shape)
    return jax.tree.map(np.asarray, params)


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.parametrize("p", [7, 15])  # 15 + 1 tokens: W_E is square and its shape says nothing
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("turn", [interop.to_authors, interop.to_transformer_lens])
def test_both_layouts_give_the_parameters_back(turn, p, layers):
    params = network(p, layers)
    assert_same(interop.from_state_dict(turn(params)), params)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layer_norm": True}, "the network has blocks.0.ln1"),
        ({"tied_embeddings": True}, "the network lacks unembed.W_U"),
        ({"network": "attention_only"}, "the network lacks blocks.0.mlp"),
        ({"network": "mlp"}, "params are not a transformer's: .* got .*'W_in'"),
    ],
)
@pytest.mark.parametrize("turn", [interop.to_authors, interop.to_transformer_lens])
def test_what_the_layouts_have_no_place_for_is_not_left_out(turn, fields, message):
    sizes = {} if fields.get("network") == "mlp" else {"d_model": 16, "num_heads": 2}
    if fields.get("network") != "attention_only":
        sizes["d_mlp"] = 24
    run = RunConfig(modulus=7, train_fraction=0.5, **sizes, **fields)
    params = by_name.init(jax.random.key(0), program_of(run))
    with pytest.raises(ConfigError, match=message):
        turn(params)


def test_the_shapes_of_both_layouts_are_theirs():
    authors, lens = interop.to_authors(network()), interop.to_transformer_lens(network())
    assert authors["embed.W_E"].shape == (16, 8) and lens["embed.W_E"].shape == (8, 16)
    assert authors["blocks.0.attn.W_K"].shape == (2, 8, 16)
    assert lens["blocks.0.attn.W_K"].shape == (2, 16, 8)
    assert authors["blocks.0.attn.W_O"].shape == (16, 16)
    assert lens["blocks.0.attn.W_O"].shape == (2, 8, 16)
    assert authors["blocks.0.mlp.W_in"].shape == (24, 16)
    assert lens["blocks.0.attn.b_Q"].shape == (2, 8) and not lens["unembed.b_U"].any()
    # Heads are concatenated head by head in the authors' W_O, so z [h k] meets W_O [d, h k].
    z = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    ours = np.einsum("hk,hkd->d", z, lens["blocks.0.attn.W_O"])
    np.testing.assert_allclose(authors["blocks.0.attn.W_O"] @ z.reshape(-1), ours, rtol=1e-5)


def test_masks_are_ignored_and_a_network_with_p_outputs_gets_a_column_of_zeros():
    params = network()
    state = interop.to_transformer_lens(params)
    state["blocks.0.attn.mask"] = np.tril(np.ones((3, 3), bool))
    state["blocks.0.attn.IGNORE"] = np.float32(-np.inf)
    state["unembed.W_U"] = state["unembed.W_U"][:, :7]
    state["unembed.b_U"] = state["unembed.b_U"][:7]
    loaded = interop.from_state_dict(state)
    assert loaded["unembed"]["W_U"].shape == (16, 8) and not loaded["unembed"]["W_U"][:, 7].any()
    data, evaluate = data_of(small()), form(program_of(small())).over_rows
    ours, theirs = (evaluate(x, data, lambda x: x) for x in (params, loaded))
    np.testing.assert_array_equal(theirs[:7], ours[:7])
    over_p, over_all = (
        [losses.cross_entropy(x, data.targets[..., 0], classes).mean() for x in (ours, theirs)]
        for classes in (7, 8)
    )
    assert over_p[0] == over_p[1] and over_all[0] != over_all[1]


def broken(**changes):
    state = interop.to_transformer_lens(network())
    for name, leaf in changes.items():
        name = name.replace("__", ".")
        if leaf is None:
            del state[name]
        else:
            state[name] = leaf
    return state


@pytest.mark.parametrize(
    "state, message",
    [
        ({}, "lacks blocks.0.attn.W_O"),
        (broken(embed__W_E=None), "lacks embed.W_E"),
        (broken(embed__W_E=np.zeros((9, 5))), r"embed.W_E has shape \[9, 5\], .*d_model=16"),
        (broken(blocks__0__mlp__W_in=np.zeros((24, 9))), r"W_in has shape .*d_model=16"),
        (broken(blocks__0__attn__W_K=np.zeros((2, 16, 9))), r"W_K has shape .*d_head=8"),
        (broken(blocks__0__mlp__b_in=np.zeros(9)), r"b_in has shape \[9\], expected \[24\]"),
        (broken(blocks__0__ln1__w=np.ones(16)), "lacks blocks.0.ln1.b: LayerNorm is read before"),
        (broken(blocks__0__norm1__weight=np.ones(16)), "norm1.weight: a normalization .LayerNorm"),
        (
            broken(blocks__0__attn__b_V=np.ones((2, 9))),
            r"b_V has shape \[2, 9\], expected \[2, 8\]",
        ),
        (broken(embed__bias=np.ones(16)), "embed.bias, a bias that no such network has"),
        (broken(blocks__2__mlp__b_in=np.zeros(24)), "blocks 0, 2, which are not numbered"),
        (broken(blocks__0__attn__rotary_emb__inv_freq=np.ones(4)), "rotary positions"),
        (broken(blocks__0__mlp__gate_proj__weight=np.ones((24, 16))), "a gated MLP"),
        (broken(adapter__weight=np.ones((16, 16))), "adapter.weight, which is no part.*--name"),
        (broken(tok_embed__weight=np.ones((8, 16))), "which differ, and both would be embed.W_E"),
        (broken(blocks__0__attn__W_O=None), "lacks blocks.0.attn.W_O"),
        (broken(embed__W_E=np.zeros((8, 16), int)), "holds int64"),
        (broken(embed__W_E=np.full((8, 16), np.nan)), "not finite"),
        (broken(unembed__W_U=np.zeros((16, 3)), unembed__b_U=None), "8 tokens and 3 outputs"),
        (broken(pos_embed__W_pos=np.zeros((1, 16))), "1 position;"),
        (
            broken(
                pos_embed__W_pos=np.zeros((2, 16)),
                unembed__W_U=np.zeros((16, 7)),
                unembed__b_U=None,
            ),
            "8 tokens and 7 outputs; expected p and p",
        ),
    ],
)
def test_what_is_no_such_network_gets_one_line(state, message):
    with pytest.raises(ConfigError, match=message) as error:
        interop.from_state_dict(state, "x.npz")
    assert str(error.value).startswith("x.npz") and "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_saved_network_is_read_back(tmp_path, suffix):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    interop.save_network(network(), tmp_path / f"x{suffix}")
    assert_same(interop.load_network(tmp_path / f"x{suffix}"), network())


def test_the_file_that_is_written_has_transformer_lens_names(tmp_path):
    interop.save_network(network(), tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as arrays:
        assert {"embed.W_E", "blocks.0.attn.W_Q", "blocks.0.attn.b_O"} <= set(arrays.files)


def test_files_that_cannot_be_read_get_one_line(tmp_path):
    for name in ("x.npz", "x.safetensors", "x.pth", "x.pkl"):
        with pytest.raises(ConfigError, match=name):
            interop.load_network(tmp_path / name)
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ConfigError) as error:
            interop.load_network(tmp_path / name)
        assert "\n" not in str(error.value)
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "y.npz", objects, allow_pickle=True)
    with pytest.raises(ConfigError, match=r"y.npz is no .npz file of arrays"):
        interop.load_network(tmp_path / "y.npz")
    with pytest.raises(ConfigError, match="no known ending"):
        interop.save_network(network(), tmp_path / "x.h5")
    with pytest.raises(ConfigError, match="cannot be written"):
        interop.save_network(network(), tmp_path / "missing" / "x.npz")


def test_the_published_network_reads_alike_from_all_its_files(reference):
    params = interop.load_network(reference / f"{NAME}.npz")
    assert params["embed"]["W_E"].shape == (114, 128)
    pytest.importorskip("torch")
    assert_same(interop.load_network(reference / f"{NAME}.pth"), params)


def test_torch_files_of_every_form_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    params, other = network(), network(15)
    state, old = (
        {name: torch.tensor(x) for name, x in interop.to_authors(x).items()}
        for x in (params, other)
    )
    state["blocks.0.attn.mask"] = torch.ones(3, 3)
    forms = {
        "bare": state,
        "model": {"model": state, "epoch": 3},
        "list": [old, state],
        "state_dicts": {"state_dicts": [old, state], "epochs": [0, 100]},
        "keyed": {0: old, 100: state},
        "double": {name: x.double() for name, x in state.items()},
        "half": {
            name: x.to(torch.bfloat16).float().to(torch.bfloat16) for name, x in state.items()
        },
    }
    for name, saved in forms.items():
        torch.save(saved, tmp_path / f"{name}.pth")
        loaded = interop.load_network(tmp_path / f"{name}.pth")
        if name != "half":
            assert_same(loaded, params)
    for name, first in (("list", 0), ("state_dicts", 0), ("keyed", 0)):
        assert_same(interop.load_network(tmp_path / f"{name}.pth", first), other)
    for name, wrong in (("list", 2), ("model", 0), ("bare", 1)):
        with pytest.raises(ConfigError, match="checkpoint"):
            interop.load_network(tmp_path / f"{name}.pth", wrong)
    torch.save({"model": 3}, tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=r"x\.pth"):
        interop.load_network(tmp_path / "x.pth")


class Configuration:
    """What files hold beside weights; pickled by its name, unknown to whoever reads."""

    def __init__(self):
        self.lr = 1e-3


def test_what_a_torch_file_would_execute_is_not_executed(tmp_path):
    torch = pytest.importorskip("torch")

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    params = network()
    state = {name: torch.tensor(x) for name, x in interop.to_authors(params).items()}
    torch.save({"model": state, "config": Configuration(), "x": Bomb()}, tmp_path / "x.pth")
    assert_same(interop.load_network(tmp_path / "x.pth"), params)
    torch.save({"model": Bomb()}, tmp_path / "y.pth")
    with pytest.raises(ConfigError, match="y.pth"):
        interop.load_network(tmp_path / "y.pth")
    assert not (tmp_path / "ran").exists()


def test_the_split_of_torch_is_recreated_without_it():
    # Values of torch 2.15: torch.manual_seed(seed); torch.randperm(p * p)[: int(f * p * p)].
    digests = {(113, 0.3, 598): "c86365d4be9450c2", (53, 0.5, 0): "47b970b4d68f42d5"}
    for (p, fraction, seed), digest in digests.items():
        ids = np.nonzero(interop.torch_split(p, fraction, seed).reshape(-1))[0]
        assert hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()[:16] == digest
    first = np.nonzero(interop.torch_split(7, 0.13, 598).reshape(-1))[0]
    assert list(first) == sorted([38, 32, 27, 45, 20, 36])


def test_the_split_of_torch_is_torchs():
    torch = pytest.importorskip("torch")
    for p, fraction, seed in [(7, 0.3, 1), (12, 1.0, -3), (30, 0.5, 2**40 + 5)]:
        torch.manual_seed(seed)
        expected = np.zeros(p * p, bool)
        expected[torch.randperm(p * p)[: int(fraction * p * p)].numpy()] = True
        np.testing.assert_array_equal(interop.torch_split(p, fraction, seed).reshape(-1), expected)
