"""Measure a sweep's checkpoints: python -m grokjax.analyze WORKDIR"""

from grokjax.__main__ import run

if __name__ == "__main__":
    run("analyze")
