"""Five-digit addition on fresh data and on 700 sums (paper D.3, Figures 29, 30)."""

from experiments import lab, sequence_lab


def paper():
    return sequence_lab.both("five_digit_addition", 700, 18_053)


def laptop():
    return sequence_lab.fresh("five_digit_addition")


if __name__ == "__main__":
    presets = {"paper": paper, "laptop": laptop}
    options = dict(table=sequence_lab.rows, losses=sequence_lab.losses, limit=1)
    lab.run("five_digit_addition", __doc__, presets, **options)
