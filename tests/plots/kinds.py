"""Runs of every kind of network that the explore page tells apart."""

from grokjax.config.runs import RunConfig

TINY = dict(d_model=8, num_heads=2, d_mlp=16, steps=40, train_fraction=0.6, learning_rate=1e-2)
KINDS = {
    "relu": {},
    "gelu": {"activation": "gelu", "operation": "subtract"},
    "products": {"activation": "quadratic", "operation": "multiply"},
    "mlp": {"network": "mlp", "output_scale": 2.0},
    "two layers": {"num_layers": 2},
    "norms": {"layer_norm": True, "tied_embeddings": True, "num_layers": 2, "output_scale": 0.5},
    "pizza": {"attention_rate": 0.3, "constant_attention": "uniform"},
    "no mlp": {"network": "attention_only", "num_layers": 2},
}
DEEP = ("two layers", "norms", "pizza", "no mlp")
NAMES = list(KINDS)


def of_kind(kind):
    fields = {**TINY, "modulus": 11, **KINDS[kind]}
    if kind == "no mlp":
        fields.pop("d_mlp")
    if kind == "mlp":
        fields = {name: x for name, x in fields.items() if name not in ("d_model", "num_heads")}
    return RunConfig(**fields)
