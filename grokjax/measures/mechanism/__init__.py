"""Evidence of Nanda et al. 2023 that a network multiplies waves: fits, clusters and ablations.

    neurons                                 neurons as polynomials of one frequency (4.3)
    readouts                                directions of the neuron-logit map W_L (4.2)
    attention                               attention as a sigmoid, heads' circuits (C.1)
    ablations, *_ablations                  losses after part of the network is replaced (4.4)
    readings                                readings that reproduce the printed numbers, with status

Where the paper's text allows several readings, the default is in the family "mechanism" and the
others are in the family "variants".
"""
