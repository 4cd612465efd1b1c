"""Which settings of a file go to the constructors of Keras' layers as they are."""

SETTINGS: dict[str, tuple[str, ...]] = {
    "Activation": (),
    "ActivityRegularization": (),
    "Add": (),
    "AdditiveAttention": ("use_scale", "dropout"),
    "AlphaDropout": ("rate",),
    "Attention": ("use_scale", "score_mode", "dropout"),
    "Average": (),
    "AveragePooling1D": ("pool_size", "strides", "padding"),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Concatenate": ("axis",),
    "Conv1D": ("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups"),
    "Cropping1D": ("cropping",),
    "Dense": ("units", "use_bias"),
    "Dot": ("axes", "normalize"),
    "Dropout": ("rate",),
    "ELU": ("alpha",),
    "Embedding": ("input_dim", "output_dim", "mask_zero"),
    "Flatten": (),
    "GRU": (
        *("units", "use_bias", "return_sequences", "return_state", "go_backwards"),
        *("reset_after", "zero_output_for_mask"),
    ),
    "GaussianDropout": ("rate",),
    "GaussianNoise": ("stddev",),
    "GlobalAveragePooling1D": ("keepdims",),
    "GlobalMaxPooling1D": ("keepdims",),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "LeakyReLU": (),
    "Masking": ("mask_value",),
    "MaxPooling1D": ("pool_size", "strides", "padding"),
    "Maximum": (),
    "Minimum": (),
    "MultiHeadAttention": (
        *("num_heads", "key_dim", "value_dim", "dropout", "use_bias", "output_shape"),
        *("attention_axes", "sliding_window", "use_gate"),
    ),
    "Multiply": (),
    "Normalization": ("axis", "mean", "variance", "invert"),
    "PReLU": ("shared_axes",),
    "Permute": ("dims",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "RepeatVector": ("n",),
    "Rescaling": ("scale", "offset"),
    "Reshape": ("target_shape",),
    "Softmax": ("axis",),
    "SpatialDropout1D": ("rate",),
    "Subtract": (),
    "UnitNormalization": ("axis",),
    "UpSampling1D": ("size",),
    "ZeroPadding1D": ("padding",),
}
SETTINGS["Conv1D"] += ("use_bias",)
SETTINGS["DepthwiseConv1D"] = (
    *("kernel_size", "strides", "padding", "depth_multiplier", "dilation_rate", "use_bias"),
)
SETTINGS["SeparableConv1D"] = ("filters", *SETTINGS["DepthwiseConv1D"])
SETTINGS["LSTM"] = SETTINGS["SimpleRNN"] = SETTINGS["RNN"] = (
    *("units", "use_bias", "return_sequences", "return_state", "go_backwards"),
    "zero_output_for_mask",
)
