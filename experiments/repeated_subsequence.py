"""Repeated subsequences on fresh data and on 512 of them (paper D.3, Figures 31, 32).

Each with the network as the paper describes it, and as the authors' code has it: their layers add
the residual stream to itself once more.
"""

from experiments import options, sequence_lab

DOUBLED = "induction_transformer.doubled_residual"


def paper():
    """Three seeds of each; 18 hours on two cores, nearly all of them for the finite set."""
    config, rows = sequence_lab.both("repeated_subsequence", (512,), 285_820)
    return config, [row | {DOUBLED: doubled} for doubled in (False, True) for row in rows]


def laptop():
    """Fresh data alone, three seeds, 2,500 steps where the stream is doubled; 35 minutes on two
    cores."""
    config = sequence_lab.fresh("repeated_subsequence")
    seeds, config.axes.seed = config.axes.seed, None
    kinds = ({DOUBLED: False, "steps": config.steps}, {DOUBLED: True, "steps": 2_500})
    return config, [{**kind, "seed": seed} for kind in kinds for seed in seeds]


losses = sequence_lab.losses
PRESETS = {"paper": paper, "laptop": laptop}
main = sequence_lab.experiment("repeated_subsequence", __doc__, PRESETS)

if __name__ == "__main__":
    options.start(main)
