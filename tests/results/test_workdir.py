import pytest

import grokjax
from grokjax.core.errors import ConfigError
from grokjax.results.saved_config import FORMAT


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(1, "train the sweep again"), (FORMAT - 1, "train"), (FORMAT + 1, "install a later grokjax")],
)
def test_another_format_raises_config_error_with_both_numbers(copy, number, remedy):
    path = copy / "config.json"
    text = path.read_text().replace(f'"format": {FORMAT}', f'"format": {number}')
    path.write_text(text if number > 1 else text.replace('"format": 1,', ""))
    words = f"has format {number}, but this grokjax reads format {FORMAT} only: {remedy}"
    with pytest.raises(ConfigError, match=words):
        grokjax.open_sweep(copy)
