"""Keras' initialisers for PyTorch's layers, whose own defaults start them elsewhere.

Keras draws the three gates as one matrix: the limit counts all 3H outputs (Glorot and Bengio
2010, equation 16), and Keras' (H, 3H) matrix has orthonormal rows, while its gates have not
(Saxe et al. 2013, arXiv 1312.6120). The frameworks' order of gates changes neither
distribution. Sources: ``GRUCell.build``, ``Dense.build`` and ``random_initializers.py`` in
Keras 3.15.
"""

import torch
from torch import nn


@torch.no_grad()
def keras_init_(network: nn.Module, generator: torch.Generator | None = None) -> None:
    r"""Start every GRU and every linear layer of a network as Keras starts them, in place.

    For each layer and direction of a GRU with F inputs and H units, and each linear layer F to N:

    .. math::
        W_{ih} &\sim U(-l, l), \quad l = \sqrt{6 / (F + 3H)} && \text{glorot_uniform} \\
        W_{hh} &= Q\, \mathrm{sign}(\mathrm{diag} R), \quad Q R = A \sim N(0, 1)^{3H \times H}
        && \text{orthogonal} \\
        W &\sim U(-l, l), \quad l = \sqrt{6 / (F + N)} && \text{glorot_uniform} \\
        b &= 0 && \text{zeros}

    Args:
        network: Holds ``nn.GRU`` and ``nn.Linear`` layers at any depth; others stay as they are.
        generator: Draws the numbers; None takes PyTorch's CPU generator. They are drawn in float64
            on the generator's device, then rounded and moved: one seed gives one network on every
            device and, but for rounding, in every dtype.
    """
    source = torch.device("cpu") if generator is None else generator.device
    for layer in network.modules():
        if not isinstance(layer, nn.GRU | nn.Linear):
            continue
        for name, parameter in layer.named_parameters(recurse=False):
            if name.startswith("bias"):
                parameter.zero_()
                continue
            draw = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
            drawn = torch.empty(parameter.shape, dtype=torch.float64, device=source)
            parameter.copy_(draw(drawn, generator=generator))
