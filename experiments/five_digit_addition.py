"""Five-digit addition on fresh data and on 700 sums (paper D.3, Figures 29, 30)."""

from experiments import sequence_lab

if __name__ == "__main__":
    sequence_lab.run("five_digit_addition", __doc__, 700, 18_053)
