"""What the compilers of chips make of grokjax's programs: `python -m experiments.chips --help`."""
