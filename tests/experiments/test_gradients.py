import pytest

from experiments import gradients
from experiments.benchmarks.programs import TINY


@pytest.mark.slow
def test_errors_are_those_of_float32_where_the_same_neurons_pass():
    wide = TINY | {"d_model": 64, "train_fraction": 0.9}  # large enough to be trained by tables
    for row in gradients.compared(wide, (0, 5)):
        assert 0 < row["gradient_error_without_flipped"] < 1e-5 and row["loss_error"] < 1e-6
        assert row["flipped"] or row["gradient_error"] == row["gradient_error_without_flipped"]
