"""Five-digit addition on fresh data and on 700 sums (paper D.3, Figures 29, 30)."""

from experiments import options, sequence_lab


def paper():
    """Three seeds of each; 18 hours on two cores, nearly all of them for the finite set."""
    return sequence_lab.both("five_digit_addition", (700,), 18_053)


def laptop():
    """Fresh data alone, three seeds; 25 minutes on two cores."""
    return sequence_lab.fresh("five_digit_addition")


losses = sequence_lab.losses
PRESETS = {"paper": paper, "laptop": laptop}
main = sequence_lab.experiment("five_digit_addition", __doc__, PRESETS)

if __name__ == "__main__":
    options.start(main)
