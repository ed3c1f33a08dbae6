import pytest

import grokjax
from grokjax.config import ConfigError, between, default
from grokjax.config.axes import resolve
from grokjax.config.refine import candidate_values, candidates
from grokjax.config.sweep import SweepConfig


def config(**refine):
    made = default()
    made.axes.seed = (0, 1)
    made.refine.weight_decay = between(0.01, 10, log=True)
    made.refine.runs = 100
    for name, value in refine.items():
        made.refine[name] = value
    return made


def test_first_round_has_the_middles_of_equal_cells():
    sweep = resolve(config(train_fraction=between(0.2, 0.6)))
    assert len(sweep.runs) == 4 * 4 * 2 and sweep.refine.rounds == (32,)
    assert sorted(set(sweep.column("train_fraction"))) == [0.25, 0.35, 0.45, 0.55]
    decays = sorted(set(sweep.column("weight_decay")))
    ratios = [b / a for a, b in zip(decays, decays[1:], strict=False)]
    assert ratios == pytest.approx([10**0.75] * 3, rel=1e-3)
    assert sweep.axes == ("train_fraction", "weight_decay", "seed")
    assert SweepConfig.from_dict(sweep.to_dict()) == sweep


def test_candidates_are_distinct_values_with_few_digits():
    sweep = resolve(config(d_mlp=between(10, 14)))
    values = dict(zip(sweep.refine.names, candidate_values(sweep.refine), strict=True))
    assert values["d_mlp"] == [10, 11, 12, 13, 14] and len(values["weight_decay"]) == 65
    assert values["weight_decay"][0] == 0.01 and values["weight_decay"][-1] == 10.0
    assert all(len(repr(x)) <= 8 for x in values["weight_decay"])
    rows = candidates(sweep.refine)
    assert len(rows) == 5 * 65 and all(type(row["d_mlp"]) is int for row in rows)
    for row in rows[::50]:
        assert sweep.refine.values(sweep.refine.positions(row)) == row


def test_settings_of_parts_are_axes():
    @grokjax.stop("patient", patience=grokjax.setting(0.5, "made up", above=0))
    def patient(run, patience):
        return False

    made = config()
    made.stop = "patient"
    made.refine.patient = {"patience": between(0.1, 1.0)}
    assert resolve(made).refine.names == ("weight_decay", "patient.patience")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: between(1, 1), "is empty"),
        (lambda: between(2, 1), "is empty"),
        (lambda: between(0, 1, log=True), "above 0"),
        (lambda: between("0", 1), "must be a number"),
        (lambda: between(float("nan"), 1), "must be a number"),
        (lambda: between(0.5, 2, integer=True), "must be an integer"),
        (lambda: config(train_fraction=0.5), "refine.train_fraction must be a range"),
        (lambda: config(train_fraction=between(0.1, 2)), "train_fraction must be"),
        (lambda: config(weight_decay=None), "no axis is refined"),
        (lambda: config(operation=between(0, 1)), "cannot be refined"),
        (lambda: config(seed=between(0, 9, integer=True)), "cannot be refined"),
        (lambda: config(runs=3), "raise it"),
        (lambda: config(round=1), "raise it"),
        (lambda: config(round=2.5), "refine.round must be an integer"),
        (lambda: config(level="high"), "refine.level must be a number"),
        (lambda: config(what="test_loss"), "is a measure over (run, step)"),
        (lambda: config(what="steps_to_grokk"), "steps_to_grok"),
        (lambda: config(wat=1), "unknown field 'wat' in refine"),
        (
            lambda: config(
                learning_rate=between(0.1, 1), train_fraction=between(0.1, 0.9), d_mlp=between(1, 9)
            ),
            "at most 3",
        ),
    ],
)
def test_invalid_input_is_one_line(make, says):
    with pytest.raises(ConfigError) as error:
        resolve(made) if isinstance(made := make(), grokjax.config.ConfigDict) else None
    assert says in str(error.value) and "\n" not in str(error.value)


def test_other_axes_rows_and_summaries_with_dims_are_refused():
    @grokjax.summary(needs=("test_loss",), dims=("head",))
    def by_head(run):
        return 0.0

    for change, says in (
        (lambda made: made.axes.update(weight_decay=(0.1, 1.0)), "swept by axes.weight_decay and"),
        (lambda made: made.axes.update(modulus=(53, 59)), "only seed may be"),
        (lambda made: made.refine.update(what="by_head"), "has the dims head"),
    ):
        made = config()
        change(made)
        with pytest.raises(ConfigError, match=says):
            resolve(made)
    with pytest.raises(ConfigError, match="remove sweep"):
        resolve(config(), lambda made: [{"modulus": 53}])
