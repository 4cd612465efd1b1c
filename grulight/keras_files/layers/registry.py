"""The closed table of layers that can be ported."""

from grulight.keras_files.layers.attention import AdditiveAttention, Attention
from grulight.keras_files.layers.base import KINDS
from grulight.keras_files.layers.convolution import Conv1D
from grulight.keras_files.layers.core import Dense, Embedding, Masking
from grulight.keras_files.layers.depthwise import DepthwiseConv1D, SeparableConv1D
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
    SpatialDropout1D,
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
    LeakyReLU,
    PReLU,
    ReLU,
    Rescaling,
    Softmax,
    ThresholdedReLU,
)
from grulight.keras_files.layers.pooling import (
    AveragePooling1D,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    MaxPooling1D,
)
from grulight.keras_files.layers.shaping import (
    Cropping1D,
    Flatten,
    Permute,
    RepeatVector,
    Reshape,
    UpSampling1D,
    ZeroPadding1D,
)
from grulight.keras_files.layers.simple_rnn import SimpleRNN
from grulight.keras_files.layers.stacked_rnn import StackedRNN
from grulight.keras_files.layers.standardization import Normalization
from grulight.keras_files.layers.wrappers import Bidirectional, TimeDistributed
from grulight.keras_files.plan.spec import LayerSpec

__all__ = ["KINDS", "portable"]

KINDS.update(
    {
        "Activation": Activation,
        "ActivityRegularization": ActivityRegularization,
        "Add": Add,
        "AdditiveAttention": AdditiveAttention,
        "AlphaDropout": AlphaDropout,
        "Attention": Attention,
        "Average": Average,
        "AveragePooling1D": AveragePooling1D,
        "BatchNormalization": BatchNormalization,
        "Bidirectional": Bidirectional,
        "Concatenate": Concatenate,
        "Conv1D": Conv1D,
        "Cropping1D": Cropping1D,
        "Dense": Dense,
        "DepthwiseConv1D": DepthwiseConv1D,
        "Dot": Dot,
        "Dropout": Dropout,
        "ELU": ELU,
        "Embedding": Embedding,
        "Flatten": Flatten,
        "Functional": Network,
        "GRU": GRU,
        "GaussianDropout": GaussianDropout,
        "GaussianNoise": GaussianNoise,
        "GlobalAveragePooling1D": GlobalAveragePooling1D,
        "GlobalMaxPooling1D": GlobalMaxPooling1D,
        "LSTM": LSTM,
        "LayerNormalization": LayerNormalization,
        "LeakyReLU": LeakyReLU,
        "Masking": Masking,
        "MaxPooling1D": MaxPooling1D,
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
        "SeparableConv1D": SeparableConv1D,
        "Sequential": Network,
        "SimpleRNN": SimpleRNN,
        "Softmax": Softmax,
        "SpatialDropout1D": SpatialDropout1D,
        "Subtract": Subtract,
        "ThresholdedReLU": ThresholdedReLU,
        "TimeDistributed": TimeDistributed,
        "UnitNormalization": UnitNormalization,
        "UpSampling1D": UpSampling1D,
        "ZeroPadding1D": ZeroPadding1D,
        **OPERATIONS,
    }
)


def portable(spec: LayerSpec) -> bool:
    """Return whether a layer, and every one inside it, is in the table."""
    inside = [*spec.inner.values(), *(spec.graph.layers.values() if spec.graph else ())]
    return spec.kind in KINDS and all(map(portable, inside))
