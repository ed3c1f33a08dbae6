"""Train and measure a sweep: python -m grokjax.sweep --config sweeps/weight_decay.py"""

from grokjax.__main__ import run

if __name__ == "__main__":
    run("sweep")
