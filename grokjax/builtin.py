"""The built-in parts; importing this module registers them."""

# In this order the parts are listed, and measures computed.
from grokjax.training import losses
import grokjax.measures
from grokjax.tasks import minibatches
from grokjax.networks import transformer
from grokjax.training import optimizers
from grokjax.networks import mlp
from grokjax.training import stopping
import grokjax.tasks
from grokjax.training import optimizer_wrappers, update
