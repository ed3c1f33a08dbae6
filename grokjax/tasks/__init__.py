"""Tasks: the data that networks are trained on.

A task is a function of a run that returns `Data`: vocabulary, output classes, inputs, answers and
splits, as NumPy arrays::

    @grokjax.task(bits=grokjax.setting(20, "length of the input", low=2))
    def sparse_parity(run):
        rng = np.random.default_rng(run.split_seed)
        tokens = rng.integers(2, size=(1000, run.bits))
        answers = tokens[:, :3].sum(1, keepdims=True) % 2
        train = np.arange(1000)[:, None] < 500
        return grokjax.Data(2, 2, tokens, answers, {"train": train, "test": ~train})

Every update trains on the split "train", unless the task draws its batches: with `draw=function`,
function(program, data, key) -> Batch is traced into the training loop, and the task's own settings
are attributes of `program`. The decorator also takes::

    defaults   fields that differ from the mainline run: config.default("sparse_parity")
    uses       names of settings shared with other tasks
    family     the family of measures that a sweep of this task computes by default
    padded     whether answers may be padded, so that runs of different vocabularies share a program
    sizes      run -> Sizes, if it is slow to make the data for its sizes
    check      run -> None; raises a ConfigError for invalid combinations of settings
"""

from grokjax.tasks import (
    data,
    five_digit_addition,
    groups,
    modular,
    noise,
    operations,
    repeated_subsequence,
    skip_trigram,
)
