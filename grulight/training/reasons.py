"""Why steps are taken one by one: what is said of each reason, and what brings the speed back."""

from typing import NamedTuple

TOGETHER = "--model.steps_per_execution 32 takes them together"


class Reason(NamedTuple):
    """Why steps are not taken many in a compiled call.

    Attributes:
        words: What is in the way; ``{}`` stands for its name.
        instead: What would bring the speed back; empty where nothing would.
    """

    words: str
    instead: str = ""

    def __str__(self) -> str:
        return "; ".join(filter(None, self))

    def of(self, name: object) -> "Reason":
        """Return the reason with a name in its words."""
        return self._replace(words=self.words.format(name))


# what cannot be, whoever asks for several steps together
PROCESSES = Reason("several processes share each step", "--trainer.devices 1 takes them together")
SCALED = Reason("losses are scaled (16-mixed)", "--trainer.precision 32-true needs no scaling")
OPTIMIZERS = Reason("there are several optimisers")
LIMIT = Reason("a limit counts batches, {}", "without it they are taken together")
IRREGULAR = Reason(
    "a learning rate follows a metric, or some steps only",
    "one that follows epochs or each step lets them be taken together",
)
SCHEDULED = Reason(
    "GradientAccumulationScheduler changes how many batches make a step",
    "--trainer.accumulate_grad_batches takes them together",
)

# who looks at steps: several are taken together where they are asked for
ASKED = Reason("--model.steps_per_execution 1 asks for it", "left out, they are taken together")
BEGUN = Reason("the epoch that is resumed began so", "a run that starts anew takes them together")
CALLBACK = Reason("a callback of yours, {}, looks at each", TOGETHER)
SAVED = Reason(
    "--checkpoint.every_n_steps {} and an epoch's steps have no divisor in common",
    "a divisor of these lets them be taken together",
)
BATCH = Reason("an epoch has a single batch")
MODULE = Reason("your {} has to do with each", TOGETHER)
EARLY = Reason("their number was asked for before there was an optimiser")

# what the compiled steps do not know: several together then go through autograd
NETWORK = Reason("the network is {}, which no kernel knows as a whole", TOGETHER)
LOSS = Reason("the loss of this model is none that is compiled", TOGETHER)
KERNEL = Reason("the GRU is computed by {}", "on a CPU --model.kernel numba compiles them")
CHOSEN = Reason("the GRU is computed by {}, as --model.kernel auto chose", TOGETHER)
WEIGHTS = Reason("a weight is computed from others, or lies transposed in memory", TOGETHER)
DROPOUT = Reason("the dropout is {}", TOGETHER)
PRECISION = Reason("the precision is {}", "--trainer.precision 32-true compiles them")
OPTIMIZER = Reason("the optimizer is {}", "Adam, AdamW, SGD, RMSprop and Keras' are compiled")
OPTION = Reason("the optimizer has {}", "without it they are compiled")
STRATEGY = Reason("the strategy is {}", "--trainer.strategy auto records them")
ACCUMULATES = Reason("gradients of several batches are added up", TOGETHER)
LENGTHS = Reason("cuDNN asks the host for the lengths", TOGETHER)
CUDNN_DROPOUT = Reason("cuDNN drops between layers by numbers of its own", TOGETHER)
TWICE = Reason("the optimizer accumulates gradients, and the Trainer changes them", TOGETHER)
MORE = Reason("the optimizer moves more than the network", TOGETHER)
HOOKS = Reason("the optimizer has hooks", TOGETHER)
AGES = Reason("some weights have taken more steps than others", TOGETHER)
