"""JAX and optax: each step jitted, or a whole epoch in one jit, as it is or unrolled."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from peer_server import Peer, boundary, serve
from work import Array, Work

Weights = dict[str, jax.Array]


UNROLL = 10  # time steps in a row without a loop: faster, and larger to compile


def logits_of(weights: Weights, x: jax.Array, unroll: int = 1) -> jax.Array:
    """Return logits (batch, classes) of sequences (batch, steps, features)."""
    inputs = x @ weights["gru.weight_ih_l0"].T + weights["gru.bias_ih_l0"]

    def step(h: jax.Array, a: jax.Array) -> tuple[jax.Array, None]:
        a_r, a_z, a_n = jnp.split(a, 3, -1)
        c = h @ weights["gru.weight_hh_l0"].T + weights["gru.bias_hh_l0"]
        c_r, c_z, c_n = jnp.split(c, 3, -1)
        r, z = jax.nn.sigmoid(a_r + c_r), jax.nn.sigmoid(a_z + c_z)
        n = jnp.tanh(a_n + r * c_n)
        return z * h + (1 - z) * n, None

    h0 = jnp.zeros((len(x), weights["gru.weight_hh_l0"].shape[1]), x.dtype)
    last, _ = jax.lax.scan(step, h0, inputs.swapaxes(0, 1), unroll=unroll)
    return last @ weights["head.weight"].T + weights["head.bias"]


def objective(
    weights: Weights, x: jax.Array, y: jax.Array, unroll: int
) -> tuple[jax.Array, jax.Array]:
    """Return the mean cross entropy and the right answers."""
    logits = logits_of(weights, x, unroll)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return losses.mean(), (logits.argmax(-1) == y).sum()


def build(work: Work, arguments: Sequence[str]) -> Peer:
    """Jit each step, each epoch, or each epoch with unrolled time, as the arguments say."""
    (mode,) = arguments
    unroll = UNROLL if mode == "unrolled" else 1
    adam = optax.adam(1e-3)
    first = {name: jnp.asarray(array) for name, array in work.weights.items()}
    slope = jax.value_and_grad(objective, has_aux=True)
    x, y = jnp.asarray(work.x), jnp.asarray(work.y)
    whole = len(x) // work.batch * work.batch  # a scan takes batches of one size

    def step(state: tuple, chosen: jax.Array) -> tuple:
        weights, moments = state
        (loss, right), grads = slope(weights, x[chosen], y[chosen], unroll)
        updates, moments = adam.update(grads, moments)
        return (optax.apply_updates(weights, updates), moments), jnp.stack((loss, right))

    one = jax.jit(step, donate_argnums=0)

    @partial(jax.jit, donate_argnums=0)
    def epoch(state: tuple, order: jax.Array) -> tuple:
        state, sums = jax.lax.scan(step, state, order)
        return state, sums.mean(0)

    def train() -> None:
        state = jax.tree.map(jnp.copy, (first, adam.init(first)))
        rng = np.random.default_rng(0)
        while True:
            boundary()
            order = rng.permutation(len(x))
            if mode != "step":
                state, sums = epoch(state, order[:whole].reshape(-1, work.batch))
                np.asarray(sums)
                continue
            found = []
            for start in range(0, len(x), work.batch):
                state, sums = one(state, order[start : start + work.batch])
                found.append(sums)
            np.asarray(jnp.stack(found)).mean(0)

    answer = jax.jit(lambda weights, values: jax.nn.softmax(logits_of(weights, values, unroll)))
    grads = jax.jit(jax.grad(lambda *each: objective(*each, unroll)[0]))

    def predict(values: Array) -> Array:
        return np.asarray(answer(first, values))

    def gradients(values: Array, labels: Array) -> dict[str, Array]:
        return {name: np.asarray(grad) for name, grad in grads(first, values, labels).items()}

    return Peer(f"jax {jax.__version__}, optax {optax.__version__}", predict, gradients, train)


if __name__ == "__main__":
    serve(build)
