"""E-MAML: MAML with the score of the support samples, which credits exploration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metabench.algorithms.adapt import adapt, backpropagate, inner_batch
from metabench.algorithms.base import Algorithm, MetaGrad, through_init
from metabench.algorithms.score_baselines import SCORE_BASELINES, score_baseline
from metabench.autodiff import derivatives
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task, tree_map
from metabench.settings.errors import InvalidInput

DISPLACEMENT = 1e-5  # of a difference of gradients [parameter]
COUNTED_TWICE = 1e-3  # relative difference of two Hessian products that counts


@dataclass(frozen=True)
class EMAML(Algorithm):
    r"""MAML plus the score of the support samples, :math:`F(\phi_K) \nabla \log p`, of each step.

    The unbiased gradient of the query loss after adaptation to samples of theta's own policy,
    :math:`E_{\tau \sim p_\theta} F(\theta - \alpha g(\theta; \tau))`, for an inner loss whose
    Hessian is the derivative of its gradient with the samples fixed (`naive`). With any other
    (`lvc`, `dice`, `loaded_dice`) the sampling would count twice, which is refused. On losses that
    don't sample it is MAML. Note `score`: the norm of the score term.
    (Stadie et al., 2018, https://arxiv.org/abs/1803.01118).

    >>> import metabench as mb
    >>> family = mb.Tabular(surrogate=mb.Naive())
    >>> algorithm = mb.EMAML(steps=1, inner_optimizer=mb.SGD(rate=0.1))
    >>> subject = mb.Subject(family.problem(), family.sample, algorithm, family.theta(seed=0))
    >>> subject.meta_gradients(mb.Address.fresh(0, 3), seed=0).grad.shape  # of 3 tasks
    torch.Size([3, 4])
    """

    score_baseline: str = "leave_one_out"  # none, expected, redrawn or leave_one_out

    def __post_init__(self) -> None:
        """Validate steps, batch and the score's baseline."""
        super().__post_init__()
        if self.score_baseline not in SCORE_BASELINES:
            raise InvalidInput(
                f"score_baseline is {self.score_baseline!r}; "
                f"it must be one of {', '.join(SCORE_BASELINES)}."
            )

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the meta-gradient `(Q,)` of one task at theta `(Q,)`."""
        iterates = adapt(self.inner_optimizer, self.steps, problem, theta, task)
        loss, v, direct = derivatives.value_and_gradients(
            problem.outer_loss, iterates.last, theta, task.query
        )
        scores = self._scores(problem, theta, task, [phi for phi, _ in iterates.states], loss)
        adjoint = backpropagate(iterates, theta, v, scores)
        grad = through_init(problem, theta, adjoint.phi) + adjoint.theta + direct
        total = torch.zeros_like(v) if not scores else torch.stack(list(scores.values())).sum(0)
        return MetaGrad(grad, loss, iterates.last, {"norms": adjoint.norms, "score": total.norm()})

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the query loss `()` after adaptation."""
        return problem.outer_loss(self.adapted(problem, theta, task), theta, task.query)

    def check(self, problem: Problem, theta: Tensor, task: Task) -> None:
        """Reject an inner loss whose Hessian already accounts for the sampling."""
        if problem.sampling is None:
            return
        theta = theta.double()
        support = tree_map(lambda x: x.double() if x.is_floating_point() else x, task.support)
        phi = problem.init(theta).detach()
        sample = problem.sampling.draw(phi, theta, support)
        direction = torch.randn(len(phi), generator=torch.Generator().manual_seed(0)).to(phi)

        def gradient(at: Tensor) -> Tensor:
            assert problem.sampling is not None
            return derivatives.gradient(problem.sampling.loss, at, theta, sample)

        _, times = derivatives.gradient_with_products(problem.sampling.loss, phi, theta, sample)
        moved = DISPLACEMENT * direction
        fixed = (gradient(phi + moved) - gradient(phi - moved)) / (2 * DISPLACEMENT)
        found = times(direction)[0]
        size = torch.maximum(found.norm(), fixed.norm())
        if (found - fixed).norm() > COUNTED_TWICE * size:
            raise InvalidInput(
                "The inner loss's Hessian already accounts for how samples depend on phi (it isn't "
                "the derivative of the gradient of fixed samples), so emaml's score term would "
                "count the sampling twice. Use --set family.surrogate=naive, or maml."
            )

    def _scores(
        self, problem: Problem, theta: Tensor, task: Task, phis: list[Tensor], loss: Tensor
    ) -> dict[int, Tensor]:
        """Return the score term of each step as a cotangent of phi_k, by k.

        Args:
            problem: the losses.
            theta: meta-parameters, `(Q,)`.
            task: one task.
            phis: phi_0 .. phi_K.
            loss: outer loss at phi_K, `()`.
        """
        sampling = problem.sampling
        if sampling is None:
            return {}
        found = {}
        for k in range(self.steps):
            baseline = score_baseline(self, problem, theta, task, phis, k)
            found[k] = _weighted_score(problem, theta, task, phis[k], k, (loss - baseline).detach())
        return found


def _weighted_score(
    problem: Problem, theta: Tensor, task: Task, phi: Tensor, k: int, weights: Tensor
) -> Tensor:
    """Return the gradient of the samples' weighted log-probabilities in phi_k, `(P,)`.

    Args:
        problem: the losses.
        theta: meta-parameters, `(Q,)`.
        task: one task.
        phi: phi_k, `(P,)`.
        k: index of the step, from 0.
        weights: of each sample, `(N,)` or `()`.
    """
    sampling = problem.sampling
    assert sampling is not None
    sample = sampling.draw(phi.detach(), theta.detach(), inner_batch(problem, task, k))

    def total(phi: Tensor, theta: Tensor, sample: Any) -> Tensor:
        return (weights * sampling.log_probabilities(phi, theta, sample).sum(-1)).sum()

    return derivatives.gradient(total, phi, theta, sample)
