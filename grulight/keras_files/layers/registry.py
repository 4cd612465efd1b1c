"""The closed table of layers that can be ported."""

from grulight.keras_files.layers.attention import AdditiveAttention, Attention
from grulight.keras_files.layers.base import KINDS, KerasLayer
from grulight.keras_files.layers.convolution import Conv
from grulight.keras_files.layers.core import Dense, Embedding, Masking
from grulight.keras_files.layers.depthwise import DepthwiseConv, SeparableConv
from grulight.keras_files.layers.grouped_normalization import (
    GroupNormalization,
    RMSNormalization,
)
from grulight.keras_files.layers.gru import GRU
from grulight.keras_files.layers.lstm import LSTM
from grulight.keras_files.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)
from grulight.keras_files.layers.multi_head_attention import MultiHeadAttention
from grulight.keras_files.layers.network import Network
from grulight.keras_files.layers.noise import (
    ActivityRegularization,
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout,
)
from grulight.keras_files.layers.normalization import (
    BatchNormalization,
    LayerNormalization,
    UnitNormalization,
)
from grulight.keras_files.layers.operation_layer import OPERATIONS
from grulight.keras_files.layers.pointwise import (
    ELU,
    Activation,
    Identity,
    LeakyReLU,
    PReLU,
    ReLU,
    Rescaling,
    Softmax,
    ThresholdedReLU,
)
from grulight.keras_files.layers.pooling import (
    AveragePooling,
    GlobalAveragePooling,
    GlobalAveragePooling1D,
    GlobalMaxPooling,
    MaxPooling,
)
from grulight.keras_files.layers.resizing import Cropping, UpSampling, ZeroPadding
from grulight.keras_files.layers.shaping import Flatten, Permute, RepeatVector, Reshape
from grulight.keras_files.layers.simple_rnn import SimpleRNN
from grulight.keras_files.layers.stacked_rnn import StackedRNN
from grulight.keras_files.layers.standardization import Normalization
from grulight.keras_files.layers.transposed_convolution import ConvTranspose
from grulight.keras_files.layers.wrappers import Bidirectional, TimeDistributed
from grulight.keras_files.plan.spec import LayerSpec

__all__ = ["KINDS", "portable"]

# Layers along time, rows and columns, or a third axis too.
SPATIAL: dict[str, type[KerasLayer]] = {
    **{
        f"{name}{rank}D": layer
        for rank in (1, 2, 3)
        for name, layer in (
            ("AveragePooling", AveragePooling),
            ("Conv", Conv),
            ("Cropping", Cropping),
            ("GlobalAveragePooling", GlobalAveragePooling),
            ("GlobalMaxPooling", GlobalMaxPooling),
            ("MaxPooling", MaxPooling),
            ("SpatialDropout", SpatialDropout),
            ("UpSampling", UpSampling),
            ("ZeroPadding", ZeroPadding),
        )
    },
    **{f"Conv{rank}DTranspose": ConvTranspose for rank in (1, 2, 3)},
    **{f"DepthwiseConv{rank}D": DepthwiseConv for rank in (1, 2)},
    **{f"SeparableConv{rank}D": SeparableConv for rank in (1, 2)},
    "GlobalAveragePooling1D": GlobalAveragePooling1D,
}
KINDS.update(
    {
        "Activation": Activation,
        "ActivityRegularization": ActivityRegularization,
        "Add": Add,
        "AdditiveAttention": AdditiveAttention,
        "AlphaDropout": AlphaDropout,
        "Attention": Attention,
        "Average": Average,
        "BatchNormalization": BatchNormalization,
        "Bidirectional": Bidirectional,
        "Concatenate": Concatenate,
        "Dense": Dense,
        "Dot": Dot,
        "Dropout": Dropout,
        "ELU": ELU,
        "Embedding": Embedding,
        "Flatten": Flatten,
        "Functional": Network,
        "GRU": GRU,
        "GroupNormalization": GroupNormalization,
        "RMSNormalization": RMSNormalization,
        "GaussianDropout": GaussianDropout,
        "GaussianNoise": GaussianNoise,
        "Identity": Identity,
        "LSTM": LSTM,
        "LayerNormalization": LayerNormalization,
        "LeakyReLU": LeakyReLU,
        "Masking": Masking,
        "Maximum": Maximum,
        "Minimum": Minimum,
        "MultiHeadAttention": MultiHeadAttention,
        "Multiply": Multiply,
        "Normalization": Normalization,
        "PReLU": PReLU,
        "Permute": Permute,
        "RNN": StackedRNN,
        "ReLU": ReLU,
        "RepeatVector": RepeatVector,
        "Rescaling": Rescaling,
        "Reshape": Reshape,
        "Sequential": Network,
        "SimpleRNN": SimpleRNN,
        "Softmax": Softmax,
        "Subtract": Subtract,
        "ThresholdedReLU": ThresholdedReLU,
        "TimeDistributed": TimeDistributed,
        "UnitNormalization": UnitNormalization,
        **SPATIAL,
        **OPERATIONS,
    }
)


def portable(spec: LayerSpec) -> bool:
    """Return whether a layer, and every one inside it, is in the table."""
    inside = [*spec.inner.values(), *(spec.graph.layers.values() if spec.graph else ())]
    return spec.kind in KINDS and all(map(portable, inside))
