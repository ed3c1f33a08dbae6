"""Repeated subsequences on fresh data and on 512 of them (paper D.3, Figures 31, 32)."""

from experiments import lab, sequence_lab


def paper():
    """Three seeds of each; 9 hours on two cores, nearly all of them for the finite set."""
    return sequence_lab.both("repeated_subsequence", (512,), 285_820)


def laptop():
    """Fresh data alone, three seeds; 11 minutes on two cores."""
    return sequence_lab.fresh("repeated_subsequence")


losses = sequence_lab.losses

PRESETS = {"paper": paper, "laptop": laptop}

if __name__ == "__main__":
    options = dict(table=sequence_lab.rows, losses=losses, limit=1, drawn_from=())
    lab.run("repeated_subsequence", __doc__, PRESETS, **options)
