r"""What the definitions say, as formulas, for the page of measures.

$z_{abc}$ is the logit of class c for the pair (a, b), $y$ the right answer, $w_k = 2\pi k/p$,
$E_i$ the embedding of token i, $K$ the key frequencies, $\theta$ all weights, $L$ the training
loss, $g$ and $H$ its gradient and Hessian. Vertical bars are written as \lvert, as bars tell a
table's columns apart.
"""

FORMULAS: dict[str, str] = {
    # --- The paper's ------------------------------------------------------------------------------
    "sum_squared_weights": r"\sum_{ij} W_{ij}^2 \text{ of each matrix } W",
    "total_sum_squared_weights": r"\lVert \theta \rVert^2",
    "train_loss": r"\langle -\ln \mathrm{softmax}(z_{ab})_y \rangle_{\mathrm{train}}",
    "test_loss": r"\langle -\ln \mathrm{softmax}(z_{ab})_y \rangle_{\mathrm{test}}",
    "train_accuracy": r"\langle [\arg\max_c z_{abc} = y] \rangle_{\mathrm{train}}",
    "test_accuracy": r"\langle [\arg\max_c z_{abc} = y] \rangle_{\mathrm{test}}",
    "restricted_loss": r"\mathcal{L}_{\mathrm{all}}\big(\bar z_c + \sum_{k \in K} P_k z\big),\ "
    r"P_k \text{ onto } \cos, \sin w_k(a+b)",
    "restricted_accuracy": r"\text{accuracy of } \bar z_c + \sum_{k \in K} P_k z",
    "excluded_loss": r"\mathcal{L}_{\mathrm{train}}\big(z - \sum_{k \in K} P_k z\big)",
    "excluded_accuracy": r"\text{accuracy of } z - \sum_{k \in K} P_k z",
    "excluded_loss_by_frequency": r"\mathcal{L}_{\mathrm{train}}(z - P_k z)",
    "max_excluded_loss": r"\max_k \mathcal{L}_{\mathrm{train}}(z - P_k z)",
    "gini_embedding": r"1 - 2\sum_r \frac{x_{(r)}}{\sum x}\,\frac{p - r + 1/2}{p},\ "
    r"x = \text{norms of } F W_E",
    "gini_neuron_logit_map": r"1 - 2\sum_r \frac{x_{(r)}}{\sum x}\,\frac{p - r + 1/2}{p},\ "
    r"x = \text{norms of } F W_L",
    "cos_coefficient": r"\langle z, \cos w_k(a+b-c) \rangle / \lVert \cos w_k(a+b-c) \rVert",
    "embedding_norm": r"\lVert \cos_k^\top W_E \rVert,\ \lVert \sin_k^\top W_E \rVert",
    "neuron_logit_map_norm": r"\lVert \cos_k^\top W_L \rVert,\ \lVert \sin_k^\top W_L \rVert",
    "key_frequency": r"K = \{k : n_k > \max n / 4\},\ n_k^2 = \lVert \cos_k^\top W_L \rVert^2 + "
    r"\lVert \sin_k^\top W_L \rVert^2",
    "weakest_key_norm": r"\min_{k \in K} n_k / \max n",
    "strongest_other_norm": r"\max_{k \notin K} n_k / \max n",
    "key_share_of_neuron_logit_map": r"\sum_{k \in K} n_k^2 / \sum_k n_k^2",
    "key_share_of_logits": r"\sum_{k \in K} \lVert P_k z \rVert^2 / "
    r"\sum_{abc} (z_{abc} - \bar z_c)^2",
    # --- Gu et al., embeddings --------------------------------------------------------------------
    "med": r"\frac{1}{p-2}\sum_{i=0}^{p-3} \lVert E_{i+1} - E_i \rVert",
    "med_wrapped": r"\frac1p\sum_{i} \lVert E_{i+1 \bmod p} - E_i \rVert",
    "embedding_rms_norm": r"\rho = \big(\frac1p\sum_i \lVert E_i - \bar E \rVert^2\big)^{1/2}",
    "med_norm": r"\frac{1}{p\rho}\sum_{i} \lVert E_{i+1 \bmod p} - E_i \rVert",
    "med_best": r"\min_{g}\ \frac{1}{p\rho}\sum_{i} \lVert E_{(i+1)g} - E_{ig} \rVert",
    "embedding_entropy": r"-\sum_i s_i \ln s_i,\ s_i = \sigma_i^2/\sum\sigma^2 \text{ of } E - "
    r"\bar E",
    "embedding_components": r"\#\{i : \sigma_i^2/\sum\sigma^2 > 0.01\}",
    "circularity": r"\frac14\sum_{j \le 4} \max_k \frac{2\,\lvert\sum_t v_{jt} e^{i w_k t}"
    r"\rvert^2}{p \lVert v_j \rVert^2}",
    "coverage": r"d(a,b) = \min_{(a',b') \in \mathrm{train},\, y' = y} "
    r"\lvert a - a' \rvert_p + \lvert b - b' \rvert_p",
    "coverage_unwrapped": r"\min_{(a',b') \in \mathrm{train},\, y' = y} "
    r"\lvert a - a' \rvert + \lvert b - b' \rvert",
    "mean_coverage": r"\langle d(a,b) \rangle_{\mathrm{test}}",
    "worst_coverage": r"\max_{\mathrm{test}} d(a,b)",
    "accuracy_by_coverage": r"\text{test accuracy where } d \le \mathrm{median}(d), "
    r"\text{ and where } d > \mathrm{median}(d)",
    # --- Clauw et al. -----------------------------------------------------------------------------
    "o_information": r"\Omega = \tfrac12\big[\sum_i \ln S_{ii} - 2 \ln\det S - "
    r"\sum_i \ln (S^{-1})_{ii}\big] - \mathrm{bias}",
    "total_correlation": r"\sum_i H(Z_i) - H(Z)",
    "dual_total_correlation": r"H(Z) - \sum_i H(Z_i \mid Z_{\setminus i})".replace("|", r"\vert"),
    "living_neurons": r"\#\{i : \mathrm{var}_{\mathrm{train}} Z_i > 0\}",
    "redundancy": r"\max_{C} \Omega(Z_C),\ C \text{ a union of 2 to 10 of 10 clusters}",
    "synergy": r"\min_{C} \Omega(Z_C)",
    "redundancy_size": r"\#\arg\max_{C} \Omega(Z_C)",
    "synergy_size": r"\#\arg\min_{C} \Omega(Z_C)",
    "synergy_set": r"[n \in \arg\min_{C} \Omega(Z_C)]",
    "o_information_tied_by_order": r"\Omega \text{ with ties ranked by their place}",
    "redundancy_tied_by_order": r"\max_{C} \Omega(Z_C) \text{ with ties ranked by their place}",
    "synergy_tied_by_order": r"\min_{C} \Omega(Z_C) \text{ with ties ranked by their place}",
    # --- Fourier ----------------------------------------------------------------------------------
    "neuron_ipr": r"\tfrac13 \sum_{x \in U_n, V_n, W_n} \frac{\sum_k \lvert \hat x_k \rvert^4}"
    r"{(\sum_k \lvert \hat x_k \rvert^2)^2}",
    "ipr": r"\langle \mathrm{IPR}_n \rangle_n",
    "ipr_embedding": r"\big\langle \sum_k \lvert \hat x_k \rvert^4 / (\sum_k \lvert \hat x_k "
    r"\rvert^2)^2 \big\rangle_{x \in \text{columns of } W_E}",
    "ffd_embedding": r"\frac{1}{2\lfloor p/2 \rfloor}\sum_k [\mu_k > \tfrac12\max\mu] + "
    r"[\nu_k > \tfrac12\max\nu]",
    "fcr_embedding": r"\big\langle \min(\mu_k/\nu_k, \nu_k/\mu_k) \big\rangle_k",
    "ffd_neuron_logit_map": r"\frac{1}{2\lfloor p/2 \rfloor}\sum_k [\mu_k > \tfrac12\max\mu] + "
    r"[\nu_k > \tfrac12\max\nu] \text{ of } W_L",
    "fcr_neuron_logit_map": r"\big\langle \min(\mu_k/\nu_k, \nu_k/\mu_k) \big\rangle_k "
    r"\text{ of } W_L",
    "trig_logit_share": r"\lVert T z \rVert^2 / \lVert z \rVert^2,\ T \text{ onto } "
    r"\cos, \sin w_k(a+b-c)",
    "trig_logit_share_centred": r"\lVert T z \rVert^2 / \sum_{abc}(z_{abc} - \bar z_{ab})^2",
    "circulant_deviation": r"\sum_{ij}(A_{ij} - \bar A_{j-i})^2 / \sum_{ij} A_{ij}^2,\ "
    r"A = W_E W_E^\top",
    "hankel_deviation": r"\sum_{ij}(A_{ij} - \bar A_{i+j})^2 / \sum_{ij} A_{ij}^2",
    # --- Numbers of the loss ----------------------------------------------------------------------
    "softmax_collapse": r"\big\langle [\sum_c e^{z_c - \max z} = 1] \big\rangle_{\mathrm{train}} "
    r"\text{ in float32}",
    "softmax_collapse_by_dtype": r"\big\langle [\sum_c e^{z_c - \max z} = 1] \big\rangle_"
    r"{\mathrm{train}} \text{ in each dtype}",
    "softmax_collapse_float64": r"\big\langle [\sum_c e^{z_c - \max z} = 1] \big\rangle_"
    r"{\mathrm{train}} \text{ in float64}",
    "zero_loss": r"\langle [\ell = 0] \rangle_{\mathrm{train}}",
    "mean_margin": r"\langle z_y - \max_{c \ne y} z_c \rangle_{\mathrm{train}}",
    "least_margin": r"\min_{\mathrm{train}} (z_y - \max_{c \ne y} z_c)",
    "largest_logit": r"\max_{\mathrm{train},\, c} z_c",
    "nlm_cosine": r"-\langle g_W, W \rangle / (\lVert g_W \rVert \lVert W \rVert)",
    "total_nlm_cosine": r"-\langle g, \theta \rangle / (\lVert g \rVert \lVert \theta \rVert)",
    # --- Ranks ------------------------------------------------------------------------------------
    "effective_rank": r"\exp(-\sum_i s_i \ln s_i),\ s_i = \sigma_i / \sum\sigma",
    "stable_rank": r"\sum\sigma^2 / \sigma_1^2",
    "spectral_entropy": r"-\sum_i s_i \ln s_i / \ln d,\ s = \lambda(\mathrm{cov}\,x) / \sum\lambda",
    "spectral_entropy_uncentred": r"-\sum_i s_i \ln s_i / \ln d,\ s = \lambda(E[x x^\top]) / "
    r"\sum\lambda",
    # --- Clock or pizza, symmetry -----------------------------------------------------------------
    "gradient_symmetricity": r"\big\langle \cos(\nabla_{E_a} z_{abc}, \nabla_{E_b} z_{abc}) "
    r"\big\rangle_{100\ (a,b,c)}",
    "distance_irrelevance": r"\frac1p\sum_d \mathrm{std}_a\, z_{a,a+d,y} / "
    r"\mathrm{std}_{ab}\, z_{aby}",
    "clock": r"[q \ge 0.4],\ q \text{ distance irrelevance}",
    "clock_by_phase_line": r"1 - [s_g > 0.98][q < 0.6]",
    "commutativity_kl": r"\big\langle \tfrac12 \mathrm{KL}(p_{ab}, p_{ba}) + \tfrac12 "
    r"\mathrm{KL}(p_{ba}, p_{ab}) \big\rangle_{ab}",
    "commutativity_kl_max": r"\max_{ab} \tfrac12 \mathrm{KL}(p_{ab}, p_{ba}) + \tfrac12 "
    r"\mathrm{KL}(p_{ba}, p_{ab})",
    # --- Loss landscape ---------------------------------------------------------------------------
    "llc": r"n\beta\,(\langle L(w) \rangle_{\mathrm{SGLD}} - L(\theta)),\ \varepsilon = 10^{-5}, "
    r"n\beta = 3000, \gamma = 500",
    "llc_published": r"n\beta\,(\langle L(w) \rangle_{\mathrm{SGLD}} - L(\theta)),\ \varepsilon = "
    r"10^{-4}, n\beta = 30, \gamma = 5",
    "llc_by_chain": r"n\beta\,(\langle L(w) \rangle_{\text{chain}} - L(\theta))",
    "llc_trace": r"L(w_t) - L(\theta)",
    "hessian_top": r"\lambda_{\max}(H)",
    "hessian_bottom": r"\lambda_{\min}(H)",
    "hessian_top_error": r"\lVert H v - \lambda_{\max} v \rVert",
    "hessian_trace": r"\langle v^\top H v \rangle_{30\ v \in \{\pm 1\}^P}",
    "hessian_trace_error": r"\mathrm{std}(v^\top H v) / \sqrt{30}",
    "relative_flatness": r"\big\langle \lVert\phi\rVert^2 (\sum_c q_c \lVert w_c \rVert^2 - "
    r"\lVert \sum_c q_c w_c \rVert^2) \big\rangle_{\mathrm{train}}",
    "commutator_defect": r"\mathrm{median}_9\ \lVert H_B g_A - H_A g_B \rVert / "
    r"(\lVert g_A \rVert \lVert g_B \rVert)",
    "commutator_defect_published": r"\mathrm{median}_9\ \lVert \theta_{AB} - \theta_{BA} \rVert / "
    r"(\lVert \eta g_A \rVert \lVert \eta g_B \rVert)",
    # --- Circuits ---------------------------------------------------------------------------------
    "efficiency_generalizing": r"(f_0 - \max_{m \ne 0} f_m) / \lVert \theta \rVert,\ "
    r"f_m = \langle z_{ab,\,a+b-m} \rangle_{ab} - \text{mean}",
    "efficiency_memorizing": r"\big\langle r_y - \max_{c \ne y} r_c \big\rangle_{\mathrm{train}} / "
    r"\lVert \theta \rVert,\ r = z - f_{a+b-c}",
    "normalized_margin": r"\min_{\mathrm{train}} (z_y - \max_{c \ne y} z_c) / "
    r"\lVert \theta \rVert^{2 \text{ or } 3}",
    "effective_sparsity": r"\min\{n : \arg\max z^{(n)} = \arg\max z \text{ everywhere}\}",
    "effective_sparsity_99": r"\min\{n : \arg\max z^{(n)} = \arg\max z \text{ on } 99\,\%\}",
    "linear_mapping_number": r"2^{S},\ S = -\sum_i l_i \log_2 l_i,\ l = \lvert\lambda\rvert(r^2) / "
    r"\sum\lvert\lambda\rvert",
    # --- Lazy or rich, noise ----------------------------------------------------------------------
    "drift": r"\lVert \theta - \theta_0 \rVert / \lVert \theta_0 \rVert",
    "ntk_alignment": r"\langle K, Y \rangle / (\lVert K \rVert \lVert Y \rVert)",
    "ntk_alignment_centred": r"\langle CKC, CYC \rangle / (\lVert CKC \rVert \lVert CYC \rVert)",
    "kernel_distance": r"1 - \langle K, K_0 \rangle / (\lVert K \rVert \lVert K_0 \rVert)",
    "noise_memorized": r"\big\langle [\arg\max z = \text{wrong answer given}] \big\rangle_"
    r"{\text{noisy}}",
    "noise_corrected": r"\big\langle [\arg\max z = \text{right answer}] \big\rangle_{\text{noisy}}",
}
