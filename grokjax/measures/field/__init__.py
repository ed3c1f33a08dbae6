"""Measures from papers other than Nanda et al. 2023; each file names its sources.

    embedding, harmonics, symmetry, coverage  representations and the group structure of the task
    circuits, ranks                           efficiency, sparsity and rank of the learned circuit
    curvature, commutator, llc                shape of the training loss (`landscape`)
    kernels                                   distance from initialisation, tangent kernel
    information, information_phases           O-information of neurons (`gaussian_copula`)
    precision, noise, sequences               numerical limits, wrong labels, sequence tasks
    crossings                                 summaries: when accuracies cross thresholds

Some measures cost far more than a forward pass; their `cost` limits how often they are evaluated.
"""
