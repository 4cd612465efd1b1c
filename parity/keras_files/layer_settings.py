"""Which settings of a file go to the constructors of Keras' layers as they are."""

SETTINGS: dict[str, tuple[str, ...]] = {
    "Activation": (),
    "ActivityRegularization": ("l1", "l2"),
    "Add": (),
    "AdditiveAttention": ("use_scale", "dropout"),
    "AlphaDropout": ("rate",),
    "Attention": ("use_scale", "score_mode", "dropout"),
    "Average": (),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Concatenate": ("axis",),
    "Dense": ("units", "use_bias"),
    "Dot": ("axes", "normalize"),
    "Dropout": ("rate",),
    "ELU": ("alpha",),
    "Embedding": ("input_dim", "output_dim", "mask_zero"),
    "Flatten": ("data_format",),
    "GRU": (
        *("units", "use_bias", "return_sequences", "return_state", "go_backwards"),
        *("reset_after", "zero_output_for_mask"),
    ),
    "GaussianDropout": ("rate",),
    "GaussianNoise": ("stddev",),
    "GroupNormalization": ("groups", "axis", "epsilon", "center", "scale"),
    "Identity": (),
    "LayerNormalization": ("axis", "epsilon", "center", "scale", "rms_scaling"),
    "LeakyReLU": (),
    "Masking": ("mask_value",),
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
    "RMSNormalization": ("axis", "epsilon"),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "RepeatVector": ("n",),
    "Rescaling": ("scale", "offset"),
    "Reshape": ("target_shape",),
    "Softmax": ("axis",),
    "Subtract": (),
    "UnitNormalization": ("axis",),
}
POOLED = ("pool_size", "strides", "padding")
SLID = ("kernel_size", "strides", "padding", "dilation_rate", "use_bias")
SPATIAL: dict[str, tuple[str, ...]] = {
    "AveragePooling": POOLED,
    "Conv": ("filters", "groups", *SLID),
    "Cropping": ("cropping",),
    "DepthwiseConv": ("depth_multiplier", *SLID),
    "GlobalAveragePooling": ("keepdims",),
    "GlobalMaxPooling": ("keepdims",),
    "MaxPooling": POOLED,
    "SeparableConv": ("filters", "depth_multiplier", *SLID),
    "SpatialDropout": ("rate",),
    "UpSampling": ("size",),
    "ZeroPadding": ("padding",),
}
WITHOUT_FORMAT = ("SpatialDropout1D", "Cropping1D", "UpSampling1D", "ZeroPadding1D")
for rank in (1, 2, 3):
    SETTINGS[f"Conv{rank}DTranspose"] = ("filters", "output_padding", *SLID, "data_format")
    for name, settings in SPATIAL.items():
        kind = f"{name}{rank}D"
        SETTINGS[kind] = settings if kind in WITHOUT_FORMAT else (*settings, "data_format")
SETTINGS["LSTM"] = SETTINGS["SimpleRNN"] = SETTINGS["RNN"] = (
    *("units", "use_bias", "return_sequences", "return_state", "go_backwards"),
    "zero_output_for_mask",
)
