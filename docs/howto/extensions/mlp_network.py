"""An MLP on embeddings that are added: (init, apply) instead of a Flax module."""

import jax

import grokjax


@grokjax.network(uses=("d_model", "d_mlp"), embedding="embed", unembedding="out")
def added(program):
    "An MLP with one hidden layer on the sum of the embeddings of a and b."
    d, m = program.d_model, program.d_mlp
    sizes = {"embed": (program.vocabulary, d), "in": (d, m), "out": (m, program.num_classes)}

    def init(key):
        keys = jax.random.split(key, len(sizes))
        draw = lambda key, shape: jax.random.normal(key, shape) / shape[0] ** 0.5  # noqa: E731
        return {name: draw(k, sizes[name]) for k, name in zip(keys, sizes, strict=True)}

    def apply(params, tokens):  # [b s]
        neurons = jax.nn.relu(params["embed"][tokens[:, :2]].sum(1) @ params["in"])
        return grokjax.Trace(neurons @ params["out"], neurons)  # [b c], [b m]

    return init, apply


def get_config():
    config = grokjax.config.default()
    config.network = "added"
    config.modulus, config.train_fraction, config.steps = 59, 0.5, 20_000
    return config
