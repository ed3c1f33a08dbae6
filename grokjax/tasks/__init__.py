"""What networks are trained on: one file a task, and what all tasks share.

A task is a function of a run that returns its `Data`: vocabulary, output classes, inputs, answers
and splits, as NumPy arrays.

    @grokjax.task(bits=grokjax.setting(20, "length of the input", low=2))
    def sparse_parity(run):
        rng = np.random.default_rng(run.split_seed)
        tokens = rng.integers(2, size=(1000, run.bits))
        answers = tokens[:, :3].sum(1, keepdims=True) % 2
        train = np.arange(1000)[:, None] < 500
        return grokjax.Data(2, 2, tokens, answers, {"train": train, "test": ~train})

The split "train" is what every update trains on, unless the task draws its batches: with
`draw=function`, function(program, data, key) -> Batch is traced into the training loop, and the
task's own settings are attributes of `program`. What the decorator takes besides:

    defaults   fields that differ from the mainline run's: config.default("sparse_parity")
    uses       names of settings shared with other tasks
    family     the measures that a sweep of it takes by default
    padded     its answers may be padded: runs of different vocabularies may share a program
    sizes      run -> Sizes, where making the data to learn them would be slow
    check      run -> None, raising a ConfigError for what single settings cannot tell
"""

from grokjax.tasks import (
    data,
    five_digit_addition,
    groups,
    modular,
    multiplication,
    noise,
    polynomials,
    repeated_subsequence,
    skip_trigram,
)
