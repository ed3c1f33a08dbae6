"""An optimiser that trains one set of parameters and evaluates another: Schedule-Free AdamW."""

import optax

import grokjax


@grokjax.optimizer(
    b1=grokjax.setting(0.9, "weight of the average in the gradient's point", static=True),
    evaluation_params=lambda params, state: optax.contrib.schedule_free_eval_params(state, params),
)
def schedule_free(hyper):
    "Schedule-Free AdamW (Defazio et al. 2024); the averaged parameters are evaluated and saved."
    return optax.contrib.schedule_free(
        optax.adamw(hyper.learning_rate, b1=0.0, b2=0.98, weight_decay=hyper.weight_decay),
        learning_rate=hyper.learning_rate,
        b1=hyper.b1,
    )


def get_config():
    config = grokjax.config.default()
    config.optimizer = "schedule_free"
    return config
