"""Plain Lightning with one option more, as its tutorials have it."""

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import lightning_plain
import torch
from epoch_boundary import EpochBoundary
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from peer_server import Peer, serve
from torch import Tensor, nn
from work import Work

OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "Adam": (torch.optim.Adam, {}),
    "AdamW": (torch.optim.AdamW, {}),
    "RMSprop": (torch.optim.RMSprop, {}),
    "SGD": (torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9, "nesterov": True}),
}


class Classifier(lightning_plain.Classifier):
    """Layers of a GRU, dropout and a linear layer, with torch's own first weights."""

    def __init__(self, work: Work, options: dict[str, str]) -> None:
        super().__init__(work)
        layers, directions = int(options.get("layers", 1)), int(options.get("directions", 1))
        inputs = work.x.shape[2]
        self.options = options
        self.gru = nn.GRU(inputs, work.hidden, layers, batch_first=True,
                          bidirectional=directions == 2)  # fmt: skip
        self.dropout = nn.Dropout(float(options.get("dropout", 0)))
        self.head = nn.Linear(directions * work.hidden, work.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        last = self.gru(x)[1]
        answer = torch.cat((last[-2], last[-1]), -1) if self.gru.bidirectional else last[-1]
        return self.head(self.dropout(answer))

    def validation_step(self, batch: list[Tensor]) -> None:
        """Log loss and accuracy."""
        self._evaluate(batch, "val")

    def configure_optimizers(self) -> Any:
        """Return the optimiser, and what its learning rate follows."""
        kind, settings = OPTIMIZERS[self.options.get("optimizer", "Adam")]
        optimizer = kind(self.parameters(), **settings)
        if "schedule" not in self.options:
            return optimizer
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9999)
        rate = {"scheduler": schedule, "interval": self.options["schedule"]}
        return {"optimizer": optimizer, "lr_scheduler": rate}


def build(work: Work, arguments: Sequence[str]) -> Peer:
    """Train with options (``name=value``), a CSV logger and no bar."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    options = dict(each.split("=") for each in arguments)
    callbacks: list[Any] = [EpochBoundary()]
    trained, validation = (work.x, work.y), None
    if "val_size" in options:
        count = round(len(work.x) * (1 - float(options["val_size"])))
        trained = work.x[:count], work.y[:count]
        validation = lightning_plain.loader(work.x[count:], work.y[count:], work.batch, False)
        callbacks.append(EarlyStopping("val_loss", patience=10**9))

    def train() -> None:
        trainer = Trainer(
            max_epochs=-1,
            accelerator="cpu",
            devices=1,
            callbacks=callbacks,
            enable_progress_bar=False,
            logger=CSVLogger("."),
            gradient_clip_val=float(options.get("clip", 0)) or None,
            accumulate_grad_batches=int(options.get("accumulate", 1)),
            max_time=options.get("max_time"),
        )
        loader = lightning_plain.loader(*trained, work.batch, shuffle=True)
        trainer.fit(Classifier(work, options), loader, validation)

    plain = lightning_plain.build(work, ())
    return Peer(plain.versions, gradients=plain.gradients, train=train)


if __name__ == "__main__":
    serve(build)
