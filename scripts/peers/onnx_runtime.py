"""ONNX Runtime: one GRU node, one Gemm, one Softmax; inference only."""

import os
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from peer_server import Peer, serve
from work import Array, Work


def build(work: Work, arguments: Sequence[str]) -> Peer:
    """Load a model made of the work's weights."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model(work).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def predict(values: Array) -> Array:
        return session.run(None, {"x": values})[0]

    return Peer(f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}", predict)


def model(work: Work) -> onnx.ModelProto:
    """Return the network; ONNX stacks gates as z, r, n and reads time first."""
    weights = work.weights

    def restacked(name: str) -> Array:
        r, z, n = np.split(weights[f"gru.{name}_l0"], 3)
        return np.concatenate((z, r, n))

    biases = np.concatenate((restacked("bias_ih"), restacked("bias_hh")))
    arrays = {
        "W": restacked("weight_ih")[None],
        "R": restacked("weight_hh")[None],
        "B": biases[None],
        "head": weights["head.weight"],
        "bias": weights["head.bias"],
        "axis": np.array([0]),
    }
    gru = {"hidden_size": work.hidden, "linear_before_reset": 1}
    nodes = [
        helper.make_node("Transpose", ["x"], ["by_time"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["by_time", "W", "R", "B"], ["", "last"], **gru),
        helper.make_node("Squeeze", ["last", "axis"], ["summary"]),
        helper.make_node("Gemm", ["summary", "head", "bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["p"], axis=-1),
    ]
    shape = ["batch", *work.x.shape[1:]]
    graph = helper.make_graph(
        nodes,
        "gru",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["batch", work.classes])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


if __name__ == "__main__":
    serve(build)
