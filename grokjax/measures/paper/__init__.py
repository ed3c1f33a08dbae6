"""Measures of Nanda et al. 2023, "Progress measures for grokking via mechanistic interpretability".

    general          losses, accuracies and weight norms, for any network and task
    progress         restricted and excluded loss, Gini coefficients, Fourier norms
    key_frequencies  the frequencies a run uses, and how clearly they stand out
    logit_fits       logits as a sum of cos(w_k (a + b - c))
    phases           summaries: when a run memorizes and groks; its three phases

The paper's section is given with each file, its reference with each measure.
"""
