"""Small runs of the paper's tasks of sequences."""

from grokjax.config.sweep import RunConfig

WIDTHS = dict(d_model=16, num_heads=2)
SUMS = RunConfig(task="five_digit_addition", d_mlp=24, steps=30, **WIDTHS)
COPIES = RunConfig(
    **{
        "task": "repeated_subsequence",
        "network": "induction_transformer",
        "num_layers": 2,
        "steps": 30,
        "repeated_subsequence.length": 25,
        "repeated_subsequence.subsequence": 4,
        "repeated_subsequence.vocabulary_size": 12,
        "repeated_subsequence.batch_size": 8,
    },
    **WIDTHS,
)
KEYS = RunConfig(
    **{"task": "skip_trigram", "network": "attention_only", "steps": 30, "skip_trigram.noise": 6},
    **WIDTHS,
)
RUNS = {"sums": SUMS, "copies": COPIES, "keys": KEYS}


def own(run, **changes):
    """The run with settings of its task changed."""
    return run.replace(**{f"{run.task}.{name}": value for name, value in changes.items()})
