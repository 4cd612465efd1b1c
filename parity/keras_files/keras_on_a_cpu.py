"""Layers of Keras in the form that TensorFlow computes on a CPU, in both precisions."""

from functools import cache
from typing import Any

from grulight.keras_files.plan.spec import LayerSpec
from parity.sides.keras_setup import layers, ops

VOLUMES = {"MaxPooling3D": ops.max_pool, "AveragePooling3D": ops.average_pool}


def on_a_cpu(spec: LayerSpec, settings: dict[str, Any]) -> type[Any]:
    """Return the class of such a layer; ``settings`` are changed to what it takes."""
    if spec.kind in VOLUMES:
        return _Volumes.of(spec.kind)
    settings["data_format"] = "channels_last"
    return _features_first(spec.kind)


@cache
def _features_first(kind: str) -> type[Any]:
    """Return a class that moves the features to the end, and back."""
    base: Any = getattr(layers, kind)

    class FeaturesFirst(base):  # type: ignore[misc]  # Keras has no types
        def build(self, input_shape: Any) -> None:
            super().build((input_shape[0], *input_shape[2:], input_shape[1]))

        def call(self, inputs: Any) -> Any:
            return ops.moveaxis(super().call(ops.moveaxis(inputs, 1, -1)), -1, 1)

        def compute_output_shape(self, input_shape: Any) -> Any:
            turned = (input_shape[0], *input_shape[2:], input_shape[1])
            shape = super().compute_output_shape(turned)
            return (shape[0], shape[-1], *shape[1:-1])

    return FeaturesFirst


class _Volumes:
    """Pooling of three axes as one of two and then one of the third."""

    @staticmethod
    @cache
    def of(kind: str) -> type[Any]:
        base: Any = getattr(layers, kind)
        pool = VOLUMES[kind]

        class Volumes(base):  # type: ignore[misc]  # Keras has no types
            def call(self, inputs: Any) -> Any:
                first = self.data_format == "channels_first"
                x = ops.moveaxis(inputs, 1, -1) if first else inputs
                for axes in ((1, 2), (3,)):
                    x = _pooled(pool, x, axes, self)
                return ops.moveaxis(x, -1, 1) if first else x

        return Volumes


def _pooled(pool: Any, x: Any, axes: tuple[int, ...], layer: Any) -> Any:
    """Pool one or two of three axes, the others put to the batch."""
    others = [axis for axis in (0, 1, 2, 3) if axis not in axes]
    order = [*others, *axes, 4]
    moved = ops.transpose(x, order)
    shape = ops.shape(moved)
    flat = ops.reshape(moved, (-1, *(shape[at] for at in range(len(others), 5))))
    sizes, strides = (
        tuple(setting[axis - 1] for axis in axes) for setting in (layer.pool_size, layer.strides)
    )
    y = pool(flat, sizes, strides, layer.padding)
    back = ops.reshape(y, (*shape[: len(others)], *ops.shape(y)[1:]))
    return ops.transpose(back, [order.index(axis) for axis in range(5)])
