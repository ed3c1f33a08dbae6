"""What a part uses, and fingerprints of its text."""

from functools import partial

import optax
import pytest
from configs import defined, message_of

from grokjax.config.sweep import RunConfig
from grokjax.core import hyperparameters, parts
from grokjax.core.parts import setting


def test_a_part_that_uses_an_unknown_setting_is_told_the_nearest():
    parts.task("novel", uses=("modulos",))(lambda run: None)
    message = message_of(RunConfig, task="novel")
    assert "task 'novel' uses 'modulos', which is not a shared setting" in message
    assert "did you mean 'modulus'?" in message


def test_what_an_optimizer_uses_is_found_by_making_one():
    @parts.optimizer(rho=setting(0.05, "radius"))
    def novel(hyper):
        assert hyper.rho == 0.05
        return optax.sgd(hyper.learning_rate, momentum=hyper.momentum)

    found = hyperparameters.used(parts.get("optimizer", "novel"))
    assert found == ("learning_rate", "warmup_steps", "momentum")
    run = RunConfig(**{"optimizer": "novel", "momentum": 0.5, "novel.rho": 1})
    assert run["novel.rho"] == 1.0 and "betas" not in run and "weight_decay" not in run
    sgd, adamw = (hyperparameters.used(parts.get("optimizer", x)) for x in ("sgd", "adamw"))
    assert set(sgd) == {"learning_rate", "warmup_steps", "weight_decay", "momentum"}
    assert set(adamw) == {"learning_rate", "warmup_steps", "weight_decay", "betas"}


def test_an_optimizer_that_asks_for_an_undeclared_name_is_told_how_to_declare_it():
    @parts.optimizer
    def novel(hyper):
        return optax.sgd(hyper.learning_rate * hyper.slowness)

    message = message_of(RunConfig, optimizer="novel")
    assert message.startswith("optimizer 'novel' (")
    assert "reads slowness, which is not a setting" in message
    assert "slowness=grokjax.setting(...)" in message


def test_a_mistake_in_an_optimizer_is_not_taken_for_a_setting():
    parts.optimizer("novel")(lambda hyper: optax.no_such_optimizer(hyper.learning_rate))
    message = message_of(RunConfig, optimizer="novel")
    assert "optax" in message and "no_such_optimizer" in message and "not a setting" not in message


def test_settings_read_in_a_schedule_count_as_used():
    @parts.optimizer(tail=setting(0.1, "of the rate"))
    def novel(hyper):
        rate = lambda i: hyper.learning_rate(i) * (hyper.tail if hyper.momentum else 1)  # noqa: E731
        return optax.chain(optax.scale_by_adam(), optax.scale_by_learning_rate(rate))

    found = hyperparameters.used(parts.get("optimizer", "novel"))
    assert found == ("learning_rate", "warmup_steps", "momentum")


def test_a_part_of_ones_own_is_named_among_those_that_use_a_setting():
    message_of(RunConfig, optimizer="sgd", betas=(0.5, 0.5))
    parts.optimizer("novel")(lambda hyper: optax.adam(hyper.learning_rate, *hyper.betas))
    message = message_of(RunConfig, optimizer="sgd", betas=(0.5, 0.5))
    assert "used by optimizer adamw and optimizer adam" in message
    assert "and optimizer novel)" in message


# --- Fingerprints ---------------------------------------------------------------------------------


def test_a_fingerprint_changes_with_the_registered_text(tmp_path):
    path = tmp_path / "parts.py"

    def fingerprint(text):
        path.write_text(text)
        return parts.part_of("measure", defined(text, "f", str(path))).fingerprint

    text = "def f(network):\n    return network.step + 1\n"
    assert fingerprint(text) == fingerprint(text) == fingerprint("import os\n" + text)
    for other in (text.replace("1", "12"), text.replace("step", "steps")):
        assert fingerprint(text) != fingerprint(other)


@pytest.mark.parametrize(
    "one, other", [("x + 1", "x + 2"), ("x.sin", "x.cos"), ("(lambda: x)()", "(lambda: 2)()")]
)
def test_a_function_without_a_file_has_a_fingerprint_of_what_it_does(one, other):
    def fingerprint(expression):
        made = defined(f"def f(x):\n    return {expression}\n", "f", "<no file>")
        return parts.part_of("measure", made).fingerprint

    assert fingerprint(one) == fingerprint(one) != fingerprint(other)


def test_a_partial_and_a_callable_object_can_be_parts():
    class Scaled:
        def __call__(self, a, b, p):
            return 2 * a

    parts.operation("scaled")(Scaled())
    parts.operation("halved")(partial(pow, 2))
    assert parts.get("operation", "scaled").function(3, 0, 7) == 6
    assert isinstance(parts.get("operation", "halved").file, str)
