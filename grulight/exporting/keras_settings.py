"""Which settings of which layers go to the constructors of current Keras as they are."""

_CONVOLUTION = ("kernel_size", "strides", "padding", "dilation_rate", "use_bias")
_DEPTHWISE = (*_CONVOLUTION, "depth_multiplier")
_NORMALIZATION = ("axis", "epsilon", "center", "scale")
_POOLING = ("pool_size", "strides", "padding")
_READING = ("return_sequences", "return_state", "go_backwards", "zero_output_for_mask")
_RECURRENT = ("units", "use_bias", *_READING, "dropout", "recurrent_dropout")

# numbers, flags and words, which the port has checked
KEYS: dict[str, tuple[str, ...]] = {
    "Activation": (),
    "ActivityRegularization": ("l1", "l2"),
    "Add": (),
    "AdditiveAttention": ("use_scale", "dropout"),
    "AlphaDropout": ("rate",),
    "Attention": ("use_scale", "score_mode", "dropout"),
    "Average": (),
    "AveragePooling1D": _POOLING,
    "BatchNormalization": (*_NORMALIZATION, "momentum"),
    "Bidirectional": ("merge_mode",),
    "Concatenate": ("axis",),
    "Conv1D": ("filters", "groups", *_CONVOLUTION),
    "Cropping1D": ("cropping",),
    "Dense": ("units", "use_bias"),
    "DepthwiseConv1D": _DEPTHWISE,
    "Dot": ("axes", "normalize"),
    "Dropout": ("rate",),
    "ELU": ("alpha",),
    "Embedding": ("input_dim", "output_dim", "mask_zero"),
    "Flatten": (),
    "Functional": (),
    "GRU": _RECURRENT,
    "GaussianDropout": ("rate",),
    "GaussianNoise": ("stddev",),
    "GlobalAveragePooling1D": ("keepdims",),
    "GlobalMaxPooling1D": ("keepdims",),
    "LSTM": _RECURRENT,
    "LayerNormalization": _NORMALIZATION,
    "LeakyReLU": (),
    "Masking": ("mask_value",),
    "MaxPooling1D": _POOLING,
    "Maximum": (),
    "Minimum": (),
    "Multiply": (),
    "PReLU": ("shared_axes",),
    "Permute": ("dims",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "RepeatVector": ("n",),
    "Rescaling": ("scale", "offset"),
    "Reshape": ("target_shape",),
    "SeparableConv1D": ("filters", *_DEPTHWISE),
    "Sequential": (),
    "SimpleRNN": _RECURRENT,
    "Softmax": ("axis",),
    "SpatialDropout1D": ("rate",),
    "Subtract": (),
    "TimeDistributed": (),
    "UnitNormalization": ("axis",),
    "UpSampling1D": ("size",),
    "ZeroPadding1D": ("padding",),
}
ACTIVATIONS = {
    **dict.fromkeys(
        ("Activation", "Conv1D", "Dense", "DepthwiseConv1D", "SeparableConv1D", "SimpleRNN"),
        ("activation",),
    ),
    **dict.fromkeys(("GRU", "LSTM"), ("activation", "recurrent_activation")),
}

# bare operations whose arguments are tensors and numbers alone, by the names in keras.ops
PLAIN = {
    "Absolute": "absolute",
    "Add": "add",
    "Divide": "divide",
    "Equal": "equal",
    "Exp": "exp",
    "Greater": "greater",
    "GreaterEqual": "greater_equal",
    "Less": "less",
    "LessEqual": "less_equal",
    "Log": "log",
    "LogicalAnd": "logical_and",
    "LogicalNot": "logical_not",
    "LogicalOr": "logical_or",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Multiply": "multiply",
    "Negative": "negative",
    "NotEqual": "not_equal",
    "Power": "power",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Sqrt": "sqrt",
    "Square": "square",
    "Subtract": "subtract",
    "Tanh": "tanh",
    "TrueDivide": "true_divide",
    "Where": "where",
}
# and those that take an axis, and maybe more
WITH_AXIS = {
    "All": ("all", ("axis", "keepdims")),
    "Any": ("any", ("axis", "keepdims")),
    "Concatenate": ("concatenate", ("axis",)),
    "ExpandDims": ("expand_dims", ("axis",)),
    "Max": ("max", ("axis", "keepdims")),
    "Mean": ("mean", ("axis", "keepdims")),
    "Min": ("min", ("axis", "keepdims")),
    "Softmax": ("softmax", ("axis",)),
    "Squeeze": ("squeeze", ("axis",)),
    "Stack": ("stack", ("axis",)),
    "Sum": ("sum", ("axis", "keepdims")),
    "Transpose": ("transpose", ("axes",)),
}
TAKES_LIST = ("Concatenate", "Stack")
