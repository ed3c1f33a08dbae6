"""Networks that others trained, and ours for others: files, layouts and splits.

A file is read by the names and shapes of its entries (`names`, `reading`): TransformerLens' layout,
which is also ours, that of the paper's authors, and what people write with nn.Linear and
nn.Embedding. One line says what was read as what. Exact copies of a weight are ignored, and biases
that the paper's network lacks are folded (`biases`) where that changes no logit. Anything else is
refused by name.

Nothing in a file is executed: torch reads weights only, NumPy no objects.
"""

from grokjax.networks.interop.layouts import to_authors, to_transformer_lens
from grokjax.networks.interop.loading import (
    Read,
    load_network,
    read_network,
    save_network,
    torch_split,
)
from grokjax.networks.interop.reading import from_state_dict

__all__ = [
    "Read",
    "from_state_dict",
    "load_network",
    "read_network",
    "save_network",
    "to_authors",
    "to_transformer_lens",
    "torch_split",
]
