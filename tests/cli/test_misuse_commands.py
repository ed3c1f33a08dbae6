"""Mistakes in fields, axes, config files and flags: one line that names a remedy, exit code 2."""

import pytest

from grokjax.cli.arguments import main, run_main

SMALL = (
    "--config.modulus=5 --config.train_fraction=0.6 --config.d_model=4 --config.num_heads=1 "
    "--config.d_mlp=4 --config.steps=10"
).split()

FIELDS = [
    ("steps=0", "steps must be an integer of at least 1, got 0"),
    ("steps=-5", "at least 1, got -5"),
    ("steps=1.5", "steps must be an integer"),
    ("steps=1e3", "write 1000"),
    ("steps=many", "steps must be an integer"),
    ("steps=99999999999", "the largest is 2147483647"),
    ("steps=True", "got True"),
    ("steps=None", "got None"),
    ("modulus=2", "from 3 to 1000, got 2"),
    ("modulus=1001", "from 3 to 1000"),
    ("modulus=7.5", "modulus must be an integer"),
    ("modulus=(5, 7)", "to sweep over several values, set axes.modulus"),
    ("train_fraction=0", "between 0 and 1, both excluded"),
    ("train_fraction=1", "between 0 and 1, both excluded"),
    ("train_fraction=30%", "train_fraction must be a number"),
    ("train_fraction=0.001", "leaves no training pair"),
    ("learning_rate=0", "greater than 0"),
    ("learning_rate=-1e-3", "greater than 0"),
    ("learning_rate=nan", "learning_rate must be a number"),
    ("learning_rate=inf", "learning_rate must be a number"),
    ("weight_decay=-1", "at least 0"),
    ("betas=0.9", "a pair of numbers"),
    ("betas=(0.9,)", "a pair of numbers"),
    ("betas=(0.9, 1.0)", "a pair of numbers"),
    ("betas=[0.9, 0.98]", "write a tuple"),
    ("warmup_steps=-1", "at least 0"),
    ("warmup_steps=2.5", "an integer"),
    ("dropout=1", "from 0 to below 1"),
    ("dropout=-0.1", "from 0 to below 1"),
    ("l1=-1", "at least 0"),
    ("init_scale=0", "greater than 0"),
    ("seed=-1", "at least 0"),
    ("seed=0.5", "an integer"),
    ("init_seed=x", "or None: as seed"),
    ("d_model=0", "d_model must be"),
    ("d_model=5 num_heads=2", "does not divide d_model=5"),
    ("num_heads=0", "num_heads must be"),
    ("num_layers=0", "num_layers must be"),
    ("d_mlp=0", "d_mlp must be"),
    ("d_mlp=4.0", "write 4"),
    ("activation=swish", "one of 'relu', 'gelu'"),
    ("attention_rate=2", "attention_rate must be"),
    ("layer_norm=yes", "True or False"),
    ("tied_embeddings=1", "True or False"),
    ("held_out=circle", "one of 'random', 'square', 'strip'"),
    ("held_out_size=3", "has no effect with held_out"),
    ("held_out=square held_out_size=9", "must be below the modulus"),
    ("label_noise=2", "label_noise must be"),
    ("batch_size=-1", "at least 0"),
    ("task=modula", "did you mean 'modular'"),
    ("operation=ad", "did you mean 'add'"),
    ("operation=divide modulus=6", "use a prime modulus"),
    ("network=transfomer", "did you mean 'transformer'"),
    ("network=mlp num_heads=2", "not used by this run"),
    ("optimizer=adam_w", "did you mean 'adamw'"),
    ("optimizer=3", "the name of a registered optimizer"),
    ("optimizer=sgd betas=(0.5, 0.5)", "not used by this run"),
    ("loss=mse", "no loss 'mse' is registered"),
    ("stop=early", "no stop 'early' is registered"),
    ("stop=low_test_loss low_test_loss.below=0", "greater than 0"),
    ("low_test_loss.below=1e-3", "low_test_loss alone uses it"),
    ("momentum=0.5", "not used by this run"),
    ("muon.momentum=0.5", "not used by this run"),
    ("stpes=5", "did you mean 'steps'?"),
    ("lr=0.1", "did you mean 'learning_rate'?"),
    ("wd=0.1", "did you mean 'weight_decay'?"),
    ("seeds=3", "did you mean 'seed'"),
    ("task.modulus=5", "unknown field 'task.modulus'"),
    ("eval_every=0", "at least 1"),
    ("checkpoint_every=0", "at least 1"),
    ("checkpoint_every=x", "an integer"),
    ("checkpoint_log_steps=-1", "from 0 to 10000"),
    ("resume_every=0", "at least 1"),
    ("precision=float16", "one of 'float32'"),
    ("keep=all", "one of 'params', 'measures'"),
    ("cores_per_run=-1", "at least 0"),
    ("cores_per_run=999", "cores_per_run=999, but"),
    ("max_block=-1", "at least 0"),
    ("measures=papr", "no measure or family of measures 'papr' is registered"),
    ("measures=('paper', 3)", "a tuple of names"),
    ("measures=3", "a tuple of names"),
    ("measures=restricted_los", "did you mean 'restricted_loss'"),
    ("axes=(1, 2)", "--config.axes.FIELD"),
    ("axes.seed=3", "write (3,)"),
    ("axes.seed=()", "None to leave it unswept"),
    ("axes.seed=(0, 0)", "runs 0 and 1 are the same"),
    ("axes.seed=(0, 1.5)", "contains an invalid value"),
    ("axes.sed=(0, 1)", "did you mean 'seed'?"),
    ("axes.steps=(0, 10)", "contains an invalid value"),
    ("axes.eval_every=(5, 10)", "eval_every cannot be an axis"),
    ("axes.operation=add", "write ('add',)"),
    ("axes.operation=('add', 'ad')", "did you mean 'add'"),
    ("axes.momentum=(0.9,)", "no run uses momentum"),
    ("axes.betas=(0.9, 0.98)", "contains an invalid value"),
    ("axes.learning_rate=1e-3", "write (0.001,)"),
    ("axes.modulus={5, 7}", "must be a tuple of values"),
    ("axes.weight_decay=(0.1, 'high')", "contains an invalid value"),
    ("steps", "has no value"),
    ("=5", "unknown field ''"),
]

ARGUMENTS = [
    ("swep", "did you mean 'sweep'?"),
    ("sweep", "--config is missing"),
    ("sweep quickstart", "unknown argument 'quickstart'"),
    ("sweep --config", "expected one argument"),
    ("sweep --config=", "--config is missing"),
    ("sweep --config quikstart", "did you mean 'quickstart'?"),
    ("sweep --config nowhere/x.py", "check the path"),
    ("sweep --config .", "cannot be read"),
    ("sweep --config quickstart --workdir=", "--workdir is empty"),
    ("sweep --config quickstart --workdir ftp://b/x", "cannot be written to"),
    ("sweep --config quickstart --workdir a[1]", "name a folder without it"),
    ("sweep --config quickstart --figures al", "invalid choice: 'al'"),
    ("sweep --config quickstart --log wandbb --dry-run", "did you mean 'wandb'?"),
    ("sweep --config quickstart --shard 3/2", "write I/N"),
    ("sweep --config quickstart --shard x", "write I/N"),
    ("sweep --config quickstart --shard 1/99 --dry-run", "take fewer shards"),
    ("sweep --config quickstart --on spark", "spark"),
    ("sweep --config quickstart --each num_gpus=1", "give --on too"),
    ("sweep --config quickstart --on ray --each num_gpus", "is no NAME=VALUE"),
    ("sweep --config quickstart --dryrun", "unknown option '--dryrun'"),
    ("sweep --config quickstart --config.steps", "has no value"),
    ("analyze", "WORKDIR"),
    ("analyze nowhere", "holds no sweep"),
    ("analyze {file}", "is a file: name a sweep's workdir"),
    ("analyze nowhere extra", "unknown argument 'extra'"),
    ("analyze nowhere --config.steps=3", "unknown option '--config.steps'"),
    ("analyze nowhere --config {file}x", "cannot be read"),
    ("analyze nowhere --verify", "holds no sweep"),
    ("report", "WORKDIR"),
    ("report nowhere", "holds no sweep"),
    ("report {file}", "is a file"),
    ("report nowhere nowhere", "holds no sweep"),
    ("explore", "WORKDIR"),
    ("explore nowhere", "holds no sweep"),
    ("explore {file}", "is a file"),
    ("publish", "WORKDIR"),
    ("publish nowhere", "--to"),
    ("publish nowhere --to {folder}/out", "holds no sweep"),
    ("publish nowhere --to out --checkpoints 1", "is no number: write"),
    ("publish nowhere --to out --checkpoints few", "is no number: write"),
    ("block", "WORKDIR"),
    ("block nowhere", "no BLOCK is named"),
    ("block nowhere x", "'x' is no block"),
    ("block nowhere 4/4", "'4/4' is no block"),
    ("block nowhere 0", "holds no sweep"),
    ("block nowhere 0 --cores x", "invalid int value"),
    ("jobs nowhere", "--slurm"),
    ("jobs nowhere --slurm --kubernetes", "not allowed with"),
    ("jobs nowhere --slurm", "holds no sweep"),
    ("parts restrictd_loss", "did you mean 'restricted_loss'"),
    ("parts zzz", "there is no part 'zzz'"),
    ("parts --config quikstart", "did you mean 'quickstart'?"),
]

FILES = [
    ("def get_config(:", ":1: invalid syntax"),
    ("import grokjax.confg", ":1: ModuleNotFoundError"),
    ("def get_config():\n    return 1 / 0", ":2: ZeroDivisionError"),
    ("x = 1", "defines no get_config()"),
    ("get_config = 3", "defines no get_config()"),
    ("def get_config():\n    return {{}}", "must return what config.default()"),
    ("def get_config():\n    pass", "must return what config.default()"),
    ("def get_config(x):\n    pass", "TypeError"),
    ("raise SystemExit(3)", ":1: SystemExit"),
    ("import grokjax\ngrokjax.no_such_part", ":2: AttributeError"),
    ("import grokjax\ndef get_config():\n    return grokjax.config.default('mod')", "'modular'"),
    ("{default}    c.axes = (1, 2)\n    return c", "axes was replaced by"),
    ("{default}    c.stepz = 3\n    return c", "did you mean 'steps'"),
    ("{default}    del c.steps\n    return c", "lacks the field 'steps'"),
    ("{default}    return c\nsweep = [1]", "sweep is a list; make it a function"),
    ("{default}    return c\ndef sweep(c):\n    return 3", "must yield dicts of fields, got 3"),
    ("{default}    return c\ndef sweep(c):\n    yield 3", "must yield dicts of fields, got 3"),
    ("{default}    return c\ndef sweep(c):\n    return []", "yields no runs"),
    ("{default}    return c\ndef sweep(c):\n    yield {{'sed': 3}}", "did you mean 'seed'"),
    ("{default}    return c\ndef sweep(c):\n    yield {{'keep': 3}}", "set it in get_config()"),
    ("{default}    return c\ndef sweep(c):\n    yield {{'seed': 'x'}}", "seed must be an integer"),
    (
        "{default}    c.axes.seed = (1, 2)\n    return c\ndef sweep(c):\n    yield {{'seed': 1}}",
        "remove one of the two",
    ),
    (
        "from grokjax.config import axis, zipped\n{default}    return c\ndef sweep(c):\n"
        "    return zipped(axis('seed', (1, 2)), axis('steps', (1,)))",
        "zipped needs equal lengths, got 2, 1",
    ),
    (
        "from grokjax.config import axis\n{default}    return c\ndef sweep(c):\n"
        "    return axis('seed', 3)",
        "needs several values, got 3",
    ),
]
DEFAULT = "import grokjax\ndef get_config():\n    c = grokjax.config.default()\n"


@pytest.fixture
def error_of(capsys, monkeypatch, tmp_path):
    """The line with which a command ends; nothing else is printed, no file is written."""
    monkeypatch.setattr("grokjax.runner.run.set_up_jax", lambda **options: None)
    monkeypatch.chdir(tmp_path)

    def error_of(argv) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert run_main(main, argv) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
        assert "Traceback" not in err and len(err) < 700
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return error_of


@pytest.mark.parametrize("fields, words", FIELDS, ids=[x for x, _ in FIELDS])
def test_mistake_in_a_field_is_one_line(fields, words, error_of):
    fields = [x.strip() for x in fields.replace(", ", ",~").split()]
    overrides = [f"--config.{x.replace('~', ' ')}" for x in fields]
    argv = ["sweep", "--config", "quickstart", "--dry-run"]
    if not any("optimizer" in x or "network=mlp" in x for x in fields):
        argv += SMALL
    assert words in error_of([*argv, "--config.axes.seed=None", *overrides])


@pytest.mark.parametrize("argv, words", ARGUMENTS, ids=[x for x, _ in ARGUMENTS])
def test_mistake_in_arguments_is_one_line(argv, words, error_of, tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert words in error_of(argv.format(file=file, folder=tmp_path).split())


@pytest.mark.parametrize("text, words", FILES, ids=[x for _, x in FILES])
def test_mistake_in_a_config_file_is_one_line(text, words, error_of, tmp_path):
    (tmp_path / "own.py").write_text(text.format(default=DEFAULT))
    assert words in error_of(["sweep", "--config", "own.py", "--dry-run"])
