"""Keras' optimisers: against twins in NumPy, through a checkpoint, and what they refuse."""

# ruff: noqa: ANN001, ANN003  # the twins' arguments are the options under test

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from grulight.optim import KerasAdam, KerasRMSprop, KerasSGD

SHAPES = ((48, 5), (48, 16), (48,), (3,))
STEPS = 50
Make = Callable[..., Optimizer]


def case(make: type[Optimizer], **options: object) -> object:
    name = "_".join([make.__name__, *(f"{key}={value}" for key, value in options.items())])
    return pytest.param(make, options, id=name)


CASES = [
    case(KerasAdam),
    case(KerasAdam, betas=(0.8, 0.99), eps=1e-6, amsgrad=True, weight_decay=0.004),
    case(KerasRMSprop),
    case(KerasRMSprop, rho=0.95, momentum=0.7, centered=True, weight_decay=0.004),
    case(KerasSGD),
    case(KerasSGD, momentum=0.9, weight_decay=0.004),
    case(KerasSGD, momentum=0.9, nesterov=True),
]
every_case = pytest.mark.parametrize(("make", "options"), CASES)


def parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    random = np.random.default_rng(0)
    return [nn.Parameter(torch.tensor(random.normal(size=s) * 0.3, dtype=dtype)) for s in SHAPES]


def gradients(scale: float, dtype: torch.dtype = torch.float32) -> Iterator[list[Tensor]]:
    random = np.random.default_rng(1)
    while True:
        yield [torch.tensor(random.normal(size=s) * scale, dtype=dtype) for s in SHAPES]


def walk(optimiser: Optimizer, source: Iterator[list[Tensor]], steps: int = STEPS) -> list[Tensor]:
    ours = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for _, grads in zip(range(steps), source, strict=False):
        for parameter, gradient in zip(ours, grads, strict=True):
            parameter.grad = gradient
        optimiser.step()
    return [parameter.detach().clone() for parameter in ours]


class Twin:
    """One tensor under Keras' documented update, in NumPy arithmetic of the tensor's dtype."""

    def __init__(self, weight: NDArray, kind: type[Optimizer], options: dict) -> None:
        self.w, self.kind, self.options = weight.copy(), kind, options
        self.number = weight.dtype.type
        self.m, self.v, self.a, self.top = (np.zeros_like(weight) for _ in range(4))
        self.t = 0

    def rounded(self, value: float) -> np.floating:
        return self.number(np.float32(value))

    def step(self, g: NDArray, lr: float) -> None:
        self.t += 1
        self.w -= self.w * self.rounded(self.options.get("weight_decay", 0)) * self.rounded(lr)
        update = {KerasAdam: self.adam, KerasRMSprop: self.rmsprop, KerasSGD: self.sgd}[self.kind]
        update(g, self.rounded(lr), **self.options)

    def adam(self, g, lr, betas=(0.9, 0.999), eps=1e-7, amsgrad=False, **_) -> None:
        n, t = self.number, self.number(self.t)
        decay1, decay2 = (n(1) - self.rounded(beta) ** t for beta in betas)
        self.m += (g - self.m) * n(1 - betas[0])
        self.v += (g * g - self.v) * n(1 - betas[1])
        self.top = np.maximum(self.top, self.v)
        root = np.sqrt(self.top if amsgrad else self.v)
        self.w -= self.m * (lr * np.sqrt(decay2) / decay1) / (root + n(eps))

    def rmsprop(self, g, lr, rho=0.9, momentum=0.0, eps=1e-7, centered=False, **_) -> None:
        n = self.number
        self.v = n(rho) * self.v + n(1 - rho) * (g * g)
        self.a = n(rho) * self.a + n(1 - rho) * g
        spread = self.v - self.a * self.a if centered else self.v
        self.m = n(momentum) * self.m + lr * g / np.sqrt(spread + n(eps))
        self.w -= self.m

    def sgd(self, g, lr, momentum=0.0, nesterov=False, **_) -> None:
        keep = self.rounded(momentum)
        self.m = self.m * keep - g * lr
        self.w += self.m * keep - g * lr if nesterov else self.m


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 0.0), (torch.float64, 1e-15)], ids=["float32", "float64"]
)
@every_case
def test_fifty_steps_with_a_changing_rate_follow_the_formula(
    make: Make, options: dict, dtype: torch.dtype, bound: float, scale: float
) -> None:
    ours = parameters(dtype)
    optimiser = make(ours, lr=1e-3, **options)
    theirs = [Twin(parameter.detach().numpy(), make, options) for parameter in ours]
    for step, grads in zip(range(STEPS), gradients(scale, dtype), strict=False):
        optimiser.param_groups[0]["lr"] = lr = 1e-3 * (1.5 + np.cos(step))
        walk(optimiser, iter([grads]))
        for parameter, twin, gradient in zip(ours, theirs, grads, strict=True):
            twin.step(gradient.numpy(), lr)
            distance = np.abs(parameter.detach().numpy() - twin.w).max()
            assert distance <= bound * np.abs(twin.w).max()


@every_case
def test_one_by_one_gives_the_same_bits(make: Make, options: dict) -> None:
    ours = walk(make(parameters(), foreach=True, **options), gradients(1e-3))
    single = walk(make(parameters(), foreach=False, **options), gradients(1e-3))
    assert all(map(torch.equal, ours, single))


@every_case
def test_resuming_from_a_file_changes_no_bit(make: Make, options: dict) -> None:
    source, twin_source = gradients(1e-3), gradients(1e-3)
    straight = walk(make(parameters(), **options), source, steps=12)

    first = make(parameters(), **options)
    halfway = walk(first, twin_source, steps=5)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = make([nn.Parameter(weight) for weight in halfway], lr=0.5)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert all(map(torch.equal, straight, walk(second, twin_source, steps=7)))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (KerasAdam, lambda p: torch.optim.Adam(p, eps=1e-7)),
        (KerasRMSprop, lambda p: torch.optim.RMSprop(p, lr=1e-3, alpha=0.9, eps=1e-7)),
    ],
)
def test_torchs_own_place_for_epsilon_is_another_algorithm(ours: Make, theirs: Make) -> None:
    start = parameters()
    ours_moved, theirs_moved = (
        walk(make(parameters()), gradients(1e-6)) for make in (ours, theirs)
    )
    for w0, w1, w2 in zip(start, ours_moved, theirs_moved, strict=True):
        assert (w1 - w2).abs().max() > 0.1 * (w2 - w0).abs().max()


def test_torchs_velocity_equals_keras_only_while_the_rate_is_constant() -> None:
    def moved(make: Make, gamma: float) -> Tensor:
        weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimiser = make([weight], lr=0.25, momentum=0.5)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, gamma)
        for _ in range(5):
            weight.grad = torch.ones_like(weight)
            optimiser.step()
            schedule.step()
        return weight.detach()

    assert moved(KerasSGD, 1.0) == moved(torch.optim.SGD, 1.0)
    assert moved(KerasSGD, 0.5) - moved(torch.optim.SGD, 0.5) < -0.1


def test_groups_keep_their_own_rate_under_a_scheduler() -> None:
    slow, fast = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    optimiser = KerasAdam([{"params": [slow]}, {"params": [fast], "lr": 0.5}], lr=0.25)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=1, gamma=0.5)
    for rates in ((0.25, 0.5), (0.125, 0.25)):
        before = slow.detach().clone(), fast.detach().clone()
        slow.grad = fast.grad = torch.ones(2)
        optimiser.step()
        schedule.step()
        for parameter, start, rate in zip((slow, fast), before, rates, strict=True):
            torch.testing.assert_close(start - parameter, torch.full((2,), rate))


def test_a_rate_that_is_a_tensor_may_be_moved_in_place() -> None:
    weight, rate = nn.Parameter(torch.ones(3)), torch.tensor(0.125)
    optimiser = KerasAdam([weight])
    optimiser.param_groups[0]["lr"] = rate
    weight.grad = torch.ones(3)
    optimiser.step()
    moved = weight.detach().clone()
    assert not torch.equal(moved, torch.ones(3))
    optimiser.step()
    assert not torch.equal(weight, moved)
    rate.zero_()
    moved = weight.detach().clone()
    optimiser.step()
    assert torch.equal(weight, moved)


def test_a_parameter_without_gradient_stays_while_the_count_goes_on() -> None:
    still, moving = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimiser = KerasAdam([still, moving], weight_decay=0.1)
    optimiser.step()
    assert optimiser.param_groups[0]["step"] == 0
    moving.grad = torch.ones(2)
    optimiser.step()
    assert optimiser.param_groups[0]["step"] == 1
    assert torch.equal(still, torch.ones(2))
    assert (moving < 1).all()
    assert still not in optimiser.state


def test_a_closure_is_run_with_gradients_and_its_loss_returned() -> None:
    weight = nn.Parameter(torch.ones(1))

    def closure() -> Tensor:
        loss = (weight**2).sum()
        loss.backward()
        return loss

    assert KerasAdam([weight]).step(closure) == 1.0
    assert weight < 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_case
def test_low_precision_weights_move(make: Make, options: dict, dtype: torch.dtype) -> None:
    for w0, w1 in zip(
        parameters(dtype),
        walk(make(parameters(dtype), **options), gradients(0.1, dtype)),
        strict=True,
    ):
        assert w1.isfinite().all()
        assert not torch.equal(w0, w1)


REFUSED = [
    (KerasAdam, {"lr": -1.0}, r"KerasAdam: lr must be a number in \[0, inf\).*got -1.0"),
    (KerasAdam, {"lr": float("nan")}, "lr must be .* got nan"),
    (KerasAdam, {"lr": 1e39}, "lr must be .* once rounded to float32, got 1e"),
    (KerasAdam, {"lr": torch.tensor(0.1)}, r"lr must be a number .* got tensor\(0.1"),
    (KerasAdam, {"betas": (0.9, 1.0)}, r"betas\[1\] must be a number in \[0, 1.0\).* got 1.0"),
    (KerasAdam, {"betas": (1 - 1e-9, 0.9)}, r"betas\[0\] must be .* once rounded to float32"),
    (KerasAdam, {"betas": (0.9,)}, r"betas\[1\] must be .* got None"),
    (KerasRMSprop, {"rho": 1.5}, "KerasRMSprop: rho must be"),
    (KerasRMSprop, {"eps": -1e-7}, "eps must be"),
    (KerasSGD, {"momentum": "0.9"}, "KerasSGD: momentum must be .* got '0.9'"),
    (KerasSGD, {"weight_decay": -0.1}, "weight_decay must be"),
]


@pytest.mark.parametrize(("make", "options", "message"), REFUSED)
def test_bad_options_are_named(make: Make, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(parameters(), **options)
    with pytest.raises(ValueError, match=message):
        make([{"params": parameters(), **options}])


@pytest.mark.parametrize("kind", ["sparse", "complex"])
def test_gradients_it_cannot_use_are_refused_before_anything_moves(kind: str) -> None:
    dense = nn.Parameter(torch.ones(2))
    other = nn.Parameter(torch.ones(2, dtype=torch.complex64 if kind == "complex" else None))
    dense.grad = torch.ones(2)
    other.grad = torch.ones_like(other) if kind == "complex" else torch.ones(2).to_sparse()
    with pytest.raises(RuntimeError, match=f"KerasAdam needs dense real gradients.*{kind}"):
        KerasAdam([dense, other]).step()
    assert torch.equal(dense, torch.ones(2))


def test_another_optimisers_state_is_refused() -> None:
    theirs = torch.optim.Adam(parameters()).state_dict()
    with pytest.raises(ValueError, match=r"No state of a KerasAdam: .* lack \['step'\]"):
        KerasAdam(parameters()).load_state_dict(theirs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_case
def test_cuda_gives_the_same_bits(make: Make, options: dict) -> None:
    here = walk(make(parameters(), **options), gradients(1e-3))
    there = [nn.Parameter(parameter.detach().cuda()) for parameter in parameters()]
    source = ([g.cuda() for g in grads] for grads in gradients(1e-3))
    for ours, theirs in zip(here, walk(make(there, **options), source), strict=True):
        assert torch.equal(ours, theirs.cpu())
