"""One script for each result of the literature that is reproduced here."""
