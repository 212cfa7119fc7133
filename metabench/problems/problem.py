"""A meta-learning problem: inner loss, outer loss, and the map from theta to phi_0."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from metabench.problems.batch_norm_statistics import Statistics
from metabench.problems.checkpoints import Fits, LoadedTheta, Weights, load_theta
from metabench.problems.module_functions import Features, module_functions
from metabench.problems.networks.module_call import ModuleCall
from metabench.problems.networks.plain_norms import with_plain_norms
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.sampling import Sampling
from metabench.problems.tasks import Data, Loss, Sampler
from metabench.settings.errors import InvalidInput

T = TypeVar("T")


class Problem(NamedTuple):
    """Inner and outer loss of a task, and the map from theta to phi_0, where adaptation starts.

    >>> import torch
    >>> import metabench as mb
    >>> from metabench.problems.parameter_layout import Layouts
    >>> def loss(phi, theta, data):  # of one task: phi (P,), theta (Q,), data as the sampler gives
    ...     return ((phi - data) ** 2).mean()
    >>> layout = mb.Layout.from_tensors({"point": torch.zeros(2)})
    >>> problem = mb.Problem(lambda theta: theta, loss, loss, Layouts(layout, layout))
    >>> task = mb.Task(support=torch.ones(5, 2), query=torch.ones(5, 2))
    >>> mb.MAML(steps=1, inner_optimizer=mb.SGD(0.5))(problem, torch.zeros(2), task).grad
    tensor([-0.2500, -0.2500])
    """

    init: Callable[[Tensor], Tensor]  # theta (Q,) -> phi_0 (P,)
    inner_loss: Loss  # f(phi, theta, support) -> ()
    outer_loss: Loss  # F(phi, theta, query) -> ()
    layouts: Layouts
    theta: Tensor | None = None  # initial theta (Q,), such as the module's values
    notes: tuple[str, ...] = ()  # sentences on changes to the module for the inner loop
    fused: tuple[str, ...] = ()  # modules whose third derivatives torch computes wrongly
    fixed: Mapping[str, Tensor] = {}  # parameters and buffers in neither phi nor theta
    aliases: Mapping[str, str] = {}  # further names of tied parameters -> the name in a layout
    norms: tuple[str, ...] = ()  # parameters of phi that scale and shift normalized features
    accuracy: Loss | None = None  # fraction of a set classified correctly, for classification
    statistics: Statistics | None = None  # of batch norms, where there are any
    features: Features | None = None  # mean and variance of each layer's output
    base: Problem | None = None  # the problem before `appended`
    unfused: Callable[[], Problem] | None = None  # the same problem, norms by plain operations
    tasks: Sampler | None = None  # (address, seed) -> Task, or an Indexed or Stream
    differs: str = ""  # why the gradient is meant to differ from the loss's: "gradient reversal"
    examine: Callable[[Tensor, Tensor, Data], ModuleCall] | None = None  # what a call shows
    last_called: Callable[[], tuple[str, ...]] | None = None  # names of the head's parameters
    sampled: bool = False  # whether the losses draw samples, whose law may depend on phi
    sampling: Sampling | None = None  # the parts of a loss that does, for `verify`
    expected_inner_loss: Loss | None = None  # (phi, theta, support) -> (), over all samples
    expected_outer_loss: Loss | None = None  # (phi, theta, query) -> (), over all samples

    def appended(self, theta: Tensor, parts: Mapping[str, Tensor]) -> tuple[Problem, Tensor]:
        """Return the problem and theta `(Q,)` with further meta-parameters appended to theta."""
        if not parts:
            return self, theta
        Q, more = self.layouts.theta.size, Layout.from_tensors(parts)
        names = self.layouts.theta.names + more.names
        longer = Layout(names, self.layouts.theta.shapes + more.shapes)

        def with_prefix(
            function: Callable[[Tensor, Tensor, Data], T],
        ) -> Callable[[Tensor, Tensor, Data], T]:
            return lambda phi, theta, data: function(phi, theta[:Q], data)

        problem = self._replace(
            init=lambda theta: self.init(theta[:Q]),
            inner_loss=with_prefix(self.inner_loss),
            outer_loss=with_prefix(self.outer_loss),
            layouts=Layouts(self.layouts.phi, longer),
            theta=None,
            accuracy=self.accuracy and with_prefix(self.accuracy),
            statistics=self.statistics and self.statistics.with_prefix(Q),
            features=self.features and with_prefix(self.features),
            sampling=self.sampling and self.sampling.through(lambda phi, theta: (phi, theta[:Q])),
            expected_inner_loss=self.expected_inner_loss and with_prefix(self.expected_inner_loss),
            expected_outer_loss=self.expected_outer_loss and with_prefix(self.expected_outer_loss),
            base=self,
        )
        return problem, torch.cat([theta, more.flatten(parts).to(theta)])

    def expected(self) -> Problem:
        """Return the problem with the expected losses in place of those that sample.

        Its meta-gradient is that of the expected adaptation, whose inner steps are exact.

        Raises:
            InvalidInput: if an expectation isn't known.
        """
        inner, outer = self.expected_inner_loss, self.expected_outer_loss
        if inner is None or outer is None:
            raise InvalidInput(
                "The expected losses of this problem aren't known; give Problem(..., "
                "expected_inner_loss=, expected_outer_loss=), functions (phi, theta, data) -> ()."
            )
        return self._replace(inner_loss=inner, outer_loss=outer, sampled=False, sampling=None)

    def flatten(self, weights: Weights) -> Tensor:
        """Return theta `(Q,)` of a module, a state dict, a flat vector or a file of weights.

        >>> import torch
        >>> import metabench as mb
        >>> net, trained = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
        >>> problem = mb.Problem.from_module(net, torch.nn.functional.mse_loss)
        >>> problem.flatten(trained).shape, problem.flatten(trained.state_dict()).shape
        (torch.Size([3]), torch.Size([3]))

        Raises:
            InvalidInput: if they don't fit this problem.
        """
        return self.load(weights).theta

    def load(self, weights: Weights) -> LoadedTheta:
        """Return theta `(Q,)` as `flatten` does, with sentences on how it was found.

        Raises:
            InvalidInput: if the weights don't fit this problem.
        """
        return load_theta(weights, Fits(self.layouts.theta, self.fixed, self.aliases))

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Return the parameters in theta `(Q,)` by name, without those an algorithm appended.

        >>> import torch
        >>> import metabench as mb
        >>> net = torch.nn.Linear(2, 1)
        >>> problem = mb.Problem.from_module(net, torch.nn.functional.mse_loss)
        >>> net.load_state_dict(problem.unflatten(torch.zeros(3)), strict=False)
        <All keys matched successfully>
        """
        layout = (self.base or self).layouts.theta
        return layout.unflatten(theta[: layout.size])

    def with_accuracy(self) -> Problem:
        """Return the problem whose outer loss is `(loss, accuracy)`, `(2,)`, for evaluation only.

        Raises:
            InvalidInput: if it is not a classification problem.
        """
        accuracy, statistics = self.accuracy, self.statistics
        if accuracy is None:
            raise InvalidInput(
                "This problem has no accuracy, because its loss isn't one of torch's "
                "cross-entropies."
            )

        def both(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
            return torch.stack([self.outer_loss(phi, theta, data), accuracy(phi, theta, data)])

        if statistics is not None and statistics.accuracy is not None:
            loss_given, accuracy_given = statistics.outer_loss, statistics.accuracy

            def both_given(phi: Tensor, theta: Tensor, data: Data, used: Tensor) -> Tensor:
                each = (f(phi, theta, data, used) for f in (loss_given, accuracy_given))
                return torch.stack(list(each))

            statistics = statistics._replace(outer_loss=both_given)
        return self._replace(outer_loss=both, statistics=statistics)

    @classmethod
    def from_module(
        cls,
        net: nn.Module,
        loss: Callable[..., Tensor],
        adapt: Iterable[str] | None = None,
        learn: Iterable[str] | None = None,
        tasks: Sampler | None = None,
        inner_loss: Callable[..., Tensor] | None = None,
        differs: str = "",
    ) -> Problem:
        """Return the problem of adapting a network, or part of it, from a learned theta.

        Data are pairs `(x, y)`; both losses are `loss(net(x), y)`, where a tuple x is passed as
        arguments and a dict x as keywords. A loss of three arguments is called with the parameters
        that are adapted or learned, by name: weight decay, or a loss that is learned. The module
        is copied; parameters that are neither adapted nor learned keep its values. It must be on
        the device you measure on.

        Args:
            net: the module; batch norm in training mode uses batch statistics.
            loss: `(prediction, y) -> ()` or `(prediction, y, parameters) -> ()`; its own tensors
                follow theta's dtype and device.
            adapt: name patterns of the parameters in phi, such as `head.*`; by default all with
                requires_grad.
            learn: name patterns of the parameters in theta; by default those of `adapt`.
                Parameters learned but not adapted enter both losses directly; those adapted but
                not learned start from the module's values.
            tasks: sampler: an `Indexed`, a `Stream`, or a function (address, seed) -> Task with a
                leading T; needed for `--problem my.py:NAME`.
            inner_loss: loss of the inner loop, if another than that of the query set.
            differs: why the gradient is meant to differ from the loss's, such as "gradient
                reversal"; `verify` then reports the difference and judges it not.

        Returns:
            The problem, with the module's values as `theta`.

        Raises:
            InvalidInput: if the loss takes other arguments, dropout is active, or a pattern is
                unknown.
        """
        made = module_functions(net, loss, inner_loss, adapt, learn)
        problem = cls(made.init, made.inner_loss, made.outer_loss, made.layouts, made.theta,
                      made.notes, made.fused, made.fixed, made.aliases, made.norms,
                      made.accuracy, made.statistics, made.features, tasks=tasks, differs=differs,
                      examine=made.examine, last_called=made.last_called)  # fmt: skip
        return problem._replace(unfused=lambda: _with_plain_norms(problem))


def _with_plain_norms(problem: Problem) -> Problem:
    """Return the problem whose functions call torch's norms in their plain form."""
    accuracy, statistics, features = problem.accuracy, problem.statistics, problem.features
    return problem._replace(
        inner_loss=with_plain_norms(problem.inner_loss),
        outer_loss=with_plain_norms(problem.outer_loss),
        accuracy=accuracy and with_plain_norms(accuracy),
        statistics=statistics and statistics.with_plain_norms(),
        features=features and with_plain_norms(features),
        fused=(),
    )
