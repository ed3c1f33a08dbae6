"""The registry: names, settings and their limits, what a part uses, fingerprints."""

import copy

import numpy as np
import optax
import pytest
from configs import defined, message_of

from grokjax.config.sweep import RunConfig
from grokjax.core import hyperparameters, parts
from grokjax.core import registry as registry_module
from grokjax.core.parts import setting

# --- Registering ----------------------------------------------------------------------------------


def test_a_part_is_its_function_its_definition_and_its_settings():
    @parts.task("three_bits", bits=setting(20, "length of the input", low=2), uses=("modulus",))
    def made(run):
        """The parity
        of three bits."""

    part = parts.get("task", "three_bits")
    assert part.function is made and part is parts.part_of("task", made)
    assert part.definition == "The parity of three bits."
    assert part.settings["bits"].meaning == "length of the input"
    assert list(part.own) == ["three_bits.bits"] and part.uses == ("modulus",)
    assert part.file == __file__ and not part.builtin and part.fingerprint
    assert copy.copy(part).name == part.name and not hasattr(part, "__array__")
    assert repr(part) == "<task three_bits>" and parts.is_registered("task", "three_bits")
    assert parts.all_of("task")[-1] is part
    assert parts.get("task", "modular").builtin and part != parts.get("task", "modular")


def test_a_decorator_gives_the_function_back_and_takes_what_its_kind_knows():
    @parts.operation
    def difference(a, b, p):
        "a - b, again"
        return a - b

    assert difference(5, 3, 7) == 2
    assert parts.get("operation", "difference").sign == 1
    parts.operation("reversed", sign=-1)(difference)
    assert parts.get("operation", "reversed").sign == -1
    with pytest.raises(AttributeError, match="operation reversed has no 'sing'"):
        parts.get("operation", "reversed").sing  # noqa: B018


@pytest.mark.parametrize("kind", parts.KINDS)
def test_every_kind_has_a_decorator(kind):
    needs = {"needs": ("test_loss",)} if kind in ("summary", "view") else {}
    getattr(parts, kind)("novel", source="a paper", **needs)(lambda *args: args)
    part = parts.get(kind, "novel")
    assert (part.kind, part.source, part.definition) == (kind, "a paper", "")


def test_a_plain_function_is_an_unregistered_part():
    def share(network):
        "A share."

    part = parts.part_of("measure", share)
    assert (part.name, part.definition) == ("share", "A share.")
    assert not parts.is_registered("measure", "share")


def test_a_name_may_not_be_taken_twice_from_two_files():
    text = "def twice(a, b, p):\n    return a\n"
    parts.operation(defined(text, "twice", "/first/parts.py"))
    message = message_of(parts.operation, defined(text, "twice", "/second/parts.py"))
    assert "operation 'twice' is registered twice" in message
    assert "/first/parts.py and in /second/parts.py" in message and "rename one of them" in message
    parts.loss(defined(text, "twice", "/second/parts.py"))  # of another kind


def test_a_built_in_part_cannot_be_replaced_from_any_file():
    for file in (parts.get("operation", "add").file, "/mine/parts.py"):
        again = defined("def add(a, b, p):\n    return a\n", "add", file)
        message = message_of(parts.operation, again)
        assert "registered twice" in message and f"operations.py and in {file}" in message
    assert parts.get("operation", "add").builtin


@pytest.mark.parametrize("module, file", [("elsewhere", "/one/parts.py"), ("__main__", "<cell 2>")])
def test_the_same_file_and_a_session_may_register_a_name_again(module, file):
    found = []
    for n in (1, 2):
        names = {"__name__": module}
        exec(
            compile(f"def again(a, b, p):\n    return {n}\n", file.replace("2", str(n)), "exec"),
            names,
        )
        parts.operation(names["again"])
        found.append(parts.get("operation", "again"))
    assert found[1].function(0, 0, 7) == 2 and parts.all_of("operation").count(found[1]) == 1
    assert found[0] != found[1] and found[0].fingerprint != found[1].fingerprint


def test_a_class_is_from_the_file_it_was_written_in():
    text = "class Net:\n    pass\n\nclass Made(Net):\n    def __init__(self): pass\n"
    for name in ("Net", "Made"):
        parts.network(defined(text, name, "/first/parts.py"))
        parts.network(defined(text, name, "/first/parts.py"))


@pytest.mark.parametrize(
    "name", ["modulus", "seed", "task", "axes", "precision", "max_block", "two words", "3d", ""]
)
def test_names_that_a_config_has_for_something_else_are_refused(name):
    function = defined("def f(run): pass", "f", "/one/parts.py")
    function.__name__ = name
    message = message_of(parts.register, "task", function)
    assert repr(name) in message and "choose an unused Python identifier" in message


def test_parts_of_two_kinds_may_share_a_name_but_no_setting():
    function = lambda run: None  # noqa: E731
    parts.task("novel", width=setting(3, "of the input"))(function)
    parts.loss("novel", slope=setting(1.0, "of the loss"))(function)
    again = parts.network("novel", width=setting(4, "hidden units"))
    message = message_of(again, function)
    assert "task 'novel' already has a setting novel.width" in message
    assert "rename the network" in message
    parts.task("novel", width=setting(5, "of the input"))(function)


@pytest.mark.parametrize(
    "kind, name, nearest",
    [
        ("task", "modula", "did you mean 'modular'?"),
        ("operation", "substract", "did you mean 'subtract'?"),
        ("operation", "divid", "did you mean 'divide'?"),
        ("optimizer", "lion", "choose from adamw, adam, sgd"),
        ("loss", "mse", "choose from exact, low_precision"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_and_where_ones_own_come_from(kind, name, nearest):
    message = message_of(parts.get, kind, name)
    assert f"no {kind} {name!r} is registered: {nearest}" in message
    assert "--config FILE" in message
    if kind != "operation":
        assert message_of(RunConfig, **{kind: name}) == message


# --- Settings -------------------------------------------------------------------------------------

LIMITS = [
    (setting(3, ""), "an integer", (-5, 0, np.int64(7), 2**31 - 1), (0.5, "3", None, True, 2**31)),
    (setting(3, "", low=1), "an integer of at least 1", (1, 9), (0, 1.0)),
    (setting(3, "", low=1, high=9), "an integer from 1 to 9", (1, 9), (0, 10)),
    (setting(3, "", above=0), "an integer greater than 0", (1,), (0,)),
    (setting(0.5, ""), "a number", (-1, 1e300), (float("nan"), float("inf"), "x", 1j, None, True)),
    (setting(0.5, "", low=0), "a number of at least 0", (0, 0.1), (-0.1,)),
    (setting(0.5, "", low=0, below=1), "a number from 0 to below 1", (0, 0.9), (1,)),
    (setting(0.5, "", high=1), "a number of at most 1", (-3, 1), (1.1,)),
    (setting(0.5, "", above=0, below=1), "a number between 0 and 1, both excluded", (0.1,), (0, 1)),
    (setting("a", ""), "a word", ("b", ""), (3, ("a",))),
    (setting(True, ""), "True or False", (False,), (0, 1, "True")),
    (setting("a", "", choices=("a", "b")), "one of 'a', 'b'", ("b",), ("c", 1)),
    (setting(1, "", choices=(1, 2)), "one of 1, 2", (2,), (3, "1")),
    (setting((1, 2), ""), "2 values such as (1, 2)", ((3, 4),), ((1,), (1, 2.5), [1, 2], 3)),
    (setting(0, "", accepts=("even", lambda x: x % 2 == 0)), "even", (4,), (3,)),
    (setting(None, "", low=0, follows="seed"), "at least 0, or None: as seed", (3, None), (-1,)),
]


@pytest.mark.parametrize("made, words, right, wrong", LIMITS, ids=[x[1] for x in LIMITS])
def test_limits_are_checked_and_told_in_words(made, words, right, wrong):
    assert made.allowed.endswith(words)
    for value in right:
        assert parts.check_value(made, "name", value) == value
        assert value is None or type(parts.check_value(made, "name", value)) in (
            int,
            float,
            str,
            bool,
            tuple,
        )
    for value in wrong:
        message = message_of(parts.check_value, made, "name", value)
        assert f"name must be {made.allowed}, got " in message


def test_a_value_is_stored_in_the_type_of_the_default():
    assert type(setting(0.5, "").check("x", 1)) is float
    assert type(setting(3, "").check("x", np.int32(1))) is int
    assert type(setting("a", "").check("x", np.str_("b"))) is str
    assert list(map(type, setting((1, 0.5), "").check("x", (np.int64(2), 3)))) == [int, float]


def test_what_a_setting_does_to_a_program_follows_from_its_kind():
    def roles(kind, default, **about):
        getattr(parts, kind)("novel", **about, own=setting(default, ""))(lambda *args: args)
        made = parts.get(kind, "novel").settings["own"]
        del registry_module._parts[kind]["novel"]
        return made.traced, made.static

    for kind in ("optimizer", "loss"):
        assert roles(kind, 0.5) == (True, False) and roles(kind, 3) == (False, True)
    assert roles("network", 0.5) == roles("network", 3) == (False, True)
    assert roles("task", 0.5) == roles("task", 3) == (False, False)
    assert roles("task", 3, draw=lambda *args: args) == (False, True)


@pytest.mark.parametrize(
    "register, words",
    [
        (
            lambda: parts.measure(unit="nats"),
            "'unit' is no keyword of grokjax.measure: did you mean",
        ),
        (lambda: parts.task(bits=7), "bits=grokjax.setting(...)"),
        (
            lambda: parts.measure(needs=("float46",))(lambda network: 0),
            "did you mean 'float64'?",
        ),
        (lambda: parts.summary(lambda run: 0), "needs=('test_loss',)"),
    ],
)
def test_a_wrong_declaration_is_refused_when_the_decorator_runs(register, words):
    assert words in message_of(register)


def test_settings_that_an_optimiser_declares_are_added_to_those_it_reads():
    def half(hyper):
        return optax.sgd(hyper.learning_rate)

    part = parts.part_of("optimizer", parts.optimizer(uses=("betas",))(half))
    assert set(hyperparameters.used(part)) == {"learning_rate", "warmup_steps", "betas"}
