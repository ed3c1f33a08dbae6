"""Pure functions from parameters to measures; one file per family."""
