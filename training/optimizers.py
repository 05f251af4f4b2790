"""The optimizer of every stage: Muon for hidden matrices, AdamW for the rest, and gradients averaged over workers."""

import math

import torch

from common import average_over_workers, rank, sum_over_workers, workers


def orthogonalize(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The nearest semi-orthogonal matrix, nearly, by the quintic Newton-Schulz iteration.

    The polynomials are multiplied up on the small side's Gram matrix and meet the matrix itself once: for a convolution
    that is less than half of the work. It takes float32, as a Gram matrix squares what is small.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    gram, identity = x @ x.T, torch.eye(len(x))
    product = identity
    for _ in range(steps):
        polynomial = a * identity + b * gram + c * gram @ gram
        product = polynomial @ product
        gram = polynomial @ gram @ polynomial
    x = product @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose update of each weight matrix is orthogonalized; convolutions count as (out, in * kernel) matrices.

    The update is scaled to AdamW's usual size, 0.2 * sqrt(larger side), so that both share a learning rate (Liu et al.
    2025, "Muon is scalable for LLM training", section 2.2). Workers share out the matrices.
    """

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            updates = []
            for i, parameter in enumerate(group["params"]):
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                if i % workers() != rank():
                    updates.append(torch.zeros_like(parameter))
                    continue
                nesterov = parameter.grad.lerp(state["momentum"], group["momentum"])
                update = orthogonalize(nesterov.reshape(len(nesterov), -1))
                updates.append(0.2 * math.sqrt(max(update.shape)) * update.reshape(parameter.shape))
            sum_over_workers(updates)
            torch._foreach_mul_(group["params"], 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(group["params"], updates, alpha=-group["lr"])


class Optimizers:
    """Muon for the hidden matrices of ``modules``, AdamW for embeddings, norms, biases and thin layers."""

    def __init__(self, modules: list[torch.nn.Module], lr: float, weight_decay: float = 0.0):
        hidden, rest = [], []
        for module in modules:
            for name, parameter in module.named_parameters():
                matrix = parameter.ndim >= 2 and "embedding.weight" not in name and len(parameter) >= 16
                (hidden if matrix else rest).append(parameter)
        self.lr = lr
        self.optimizers: list[torch.optim.Optimizer] = [Muon(hidden, lr, weight_decay=weight_decay)]
        if rest:  # adapters are matrices alone
            self.optimizers.append(torch.optim.AdamW(rest, lr, betas=(0.9, 0.98), weight_decay=0.0))
        self.parameters = hidden + rest

    def step(self, factor: float, max_norm: float = 1.0) -> None:
        """One update at ``factor`` times the learning rate, gradients averaged and clipped, then cleared."""
        average_over_workers([parameter.grad for parameter in self.parameters])
        torch.nn.utils.clip_grad_norm_(self.parameters, max_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[dict]) -> None:
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


class Together:
    """Several ``Optimizers``, each with a learning rate and a clipping of its own, that step as one."""

    def __init__(self, optimizers: list[Optimizers]):
        self.optimizers = optimizers
        self.parameters = [parameter for each in optimizers for parameter in each.parameters]

    def step(self, factor: float) -> None:
        for optimizer in self.optimizers:
            optimizer.step(factor)

    def state_dict(self) -> list[list[dict]]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[list[dict]]) -> None:
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)
