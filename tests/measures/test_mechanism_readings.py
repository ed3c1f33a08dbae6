"""Readings that reproduce the paper's printed numbers, on the networks of its authors."""

import json

import jax
import numpy as np
import pytest
from float64 import Float64

from experiments.paper_tables.definitions import READINGS
from grokjax.core import parts
from grokjax.measures.from_params import measures_of
from grokjax.networks import interop
from grokjax.tasks.modular import modular

NETWORKS = {
    "paper_mainline model": ("paper_mainline.pth", None, 0),
    "paper_mainline state_dicts[0]": ("paper_mainline.pth", 0, 0),
    "wd_10-1 model": ("wd_10-1_mod_addition_loss_curve.pth", None, 1),
}
LOSSES = {
    "neurons_as_polynomials_all_neurons_no_skip_means_back": "neurons_as_polynomials_without_skip",
    "mlp_readout_span_products_no_skip_means_back": "mlp_readout_span_products",
    "mlp_readout_null_space_products_skip_kept": "mlp_readout_null_space_products",
    "attention_skip_zero_heads_alone_feed_mlp": "attention_skip_zero",
    "attention_skip_zero_mlp_fed_the_stream_before_the_heads": (
        "attention_skip_zero_mlp_before_heads"
    ),
}
STATUS = {"documented": 2, "found": 3, "conjecture": 1}


def flat(values, path=""):
    """Numbers by path."""
    if not isinstance(values, dict):
        return {path: values}
    return {k: x for key, value in values.items() for k, x in flat(value, f"{path}/{key}").items()}


def expected_by(exact, keys):
    """The entries of readings.json, from their definitions in float64."""
    losses = exact.ablations()
    return {
        "loss": dict(zip(("all", "train", "test"), exact.losses(exact.logits), strict=True)),
        **{entry: losses[name][0] for entry, name in LOSSES.items()},
        "one_frequency_less_cluster_dropped_no_skip_means_back": {
            str(k): exact.losses(exact.without_cluster(k))[0] for k in keys
        },
        "attention_fit_share_about_zero_constant_half": {
            str(h): {"frequency": k, "share": share}
            for h, (k, share) in enumerate(exact.shares_about_zero())
        },
        "cluster_sizes": {
            str(k): int(np.sum((s.argmax(0) == k - 1) & (s.max(0) > 0.85)))
            for s in [exact.neuron_shares]
            for k in keys
        },
    }


def measured_by(params, data, keys):
    """The same entries by the library, in float32."""
    names = [f"loss_{name}" for name in LOSSES.values()]
    names += ["loss_without_frequency_neuron_cluster", "attention_fit_fve_half_about_zero"]
    names += ["full_loss", "attention_fit_frequency", "neuron_clusters"]
    x = jax.tree.map(np.asarray, measures_of(params, data, *names, key_frequencies=keys))
    fits = zip(x.attention_fit_frequency, x.attention_fit_fve_half_about_zero, strict=True)
    return {
        "loss": dict(zip(("all", "train", "test"), x.full_loss, strict=True)),
        **{entry: x[f"loss_{name}"][0] for entry, name in LOSSES.items()},
        "one_frequency_less_cluster_dropped_no_skip_means_back": {
            str(k): x.loss_without_frequency_neuron_cluster[0, k - 1] for k in keys
        },
        "attention_fit_share_about_zero_constant_half": {
            str(h): {"frequency": k, "share": share} for h, (k, share) in enumerate(fits)
        },
        "cluster_sizes": {str(k): x.neuron_clusters[k - 1] for k in keys},
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_readings_match_an_independent_evaluation_of_the_authors_networks(reference, name):
    pytest.importorskip("torch")
    file, checkpoint, seed = NETWORKS[name]
    if not (reference / "readings.json").exists():
        pytest.skip("no readings.json next to the networks")
    expected = json.loads((reference / "readings.json").read_text())[name]
    params = interop.load_network(reference / file, checkpoint)
    data = modular(113, 0.3, seed)
    keys = [int(k) for k in expected["cluster_sizes"]]
    expected = flat(expected)
    for values, rtol in ((expected_by(Float64(params, data, keys), keys), 1e-12),) + (
        (measured_by(params, data, keys), 1e-5),
    ):
        values = flat(values)
        assert values.keys() == expected.keys()
        for path, value in expected.items():
            np.testing.assert_allclose(values[path], value, rtol=rtol, err_msg=path)


def test_readings_are_marked_alike_in_the_table_and_in_the_source_of_their_measure():
    marked = {row.path: row.status for row in READINGS if row.status}
    assert {s: list(marked.values()).count(s) for s in STATUS} == STATUS
    sources = [p.source for p in parts.all_of("measure") if "; reading: " in (p.source or "")]
    assert sorted(x.rpartition(": ")[2] for x in sources) == sorted(marked.values())
    for path, status in marked.items():
        name = path.rpartition("/")[2]
        if "/ablations/" in path:
            assert parts.get("measure", f"loss_{name}").source.endswith(f"reading: {status}")
