r"""Exact moments of the meta-gradient on the quadratic family.

In each coordinate, with mean curvature h, :math:`w = \theta - c` and e the gradient noise, K plain
steps on a support set of mean curvature A end at :math:`\phi_K - c = r w + s \bar e_S`, where
:math:`r = (1 - \alpha A)^K` and :math:`s = \alpha \sum_{j<K} (1 - \alpha A)^j`, so that

.. math:: g = \ell\, [\bar a_Q (r w + s \bar e_S) - \bar e_Q],

with :math:`\ell = r` for MAML and 1 to first order. Expectations over A sum its binomial
distribution; those over inner mini-batches, for K = 1, are sampling without replacement.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb, gammainc, gammaincinv

from metabench.settings.errors import InvalidInput

Vector = NDArray[np.float64]


class Truth(NamedTuple):
    """Exact moments of one task's meta-gradient: E g `(dim,)`, tr Cov(g), and its components."""

    mean: Vector
    variance: float
    components: dict[str, float]  # by source; empty where the variance is infinite

    @property
    def mean_norm_squared(self) -> float:
        """|E g|^2."""
        return float(self.mean @ self.mean)

    @property
    def noise_scale(self) -> float:
        """Tr Cov(g) / |E g|^2, in tasks."""
        return self.variance / self.mean_norm_squared


class Inner(NamedTuple):
    """Means over inner mini-batches of one support set, one column per value of A."""

    carried: Vector  # E[l r | S], the factor of w in g, (dim, values)
    noise: Vector  # E over e_S of E[l s e_S | S]^2, (dim, values)
    direct: Vector  # E[l | S], the factor of the query noise in g, (dim, values)
    weights: Vector  # probabilities of the values, (values,)

    def mean(self, values: Vector) -> Vector:
        """Average over support sets, `(dim,)`."""
        mean: Vector = values @ self.weights
        return mean


class Bowl(NamedTuple):
    """The settings of the quadratic family that its moments depend on."""

    curvatures: Vector  # h, (dim,)
    jitter: float
    noise: float
    spread_squared: float  # variance of a center's coordinate
    shots: int
    queries: int

    def truth(
        self, u: Vector, steps: int, rate: float, first_order: bool = False, batch: int = 0
    ) -> Truth:
        """Compute the moments by source.

        Args:
            u: theta - E c, `(dim,)`.
            steps: K.
            rate: alpha.
            first_order: FOMAML's moments instead of MAML's.
            batch: examples in an inner mini-batch, 0 for all; for one step only.

        Raises:
            InvalidInput: for mini-batches over several steps, whose moments have no closed form
                here.
        """
        h, square = self.curvatures, u**2 + self.spread_squared
        of_query = h**2 * (1 + self.jitter**2 / self.queries)
        query_noise = self.noise**2 / self.queries
        S = self._inner(steps, rate, first_order, batch)
        through, direct = S.mean(S.carried), S.mean(S.direct)
        adapted = S.mean(S.carried**2) * square + S.mean(S.noise)
        mean = h * through * u
        if not np.isfinite(square).all():
            return Truth(mean, np.inf, {})
        # Second moments of E[g | the sources that two draws share], by source besides the task.
        nothing = h**2 * through**2 * square
        support = h**2 * adapted
        query = of_query * through**2 * square + direct**2 * query_noise
        both = of_query * adapted + S.mean(S.direct**2) * query_noise
        found = {
            "task": nothing - mean**2,
            "support": support - nothing,
            "query": query - nothing,
            "support x query": both - support - query + nothing,
        }
        parts = {source: float(each.sum()) for source, each in found.items()}
        variance = sum(parts.values())
        if batch:  # a mini-batch of independent examples is a smaller support set
            whole = self._replace(shots=batch).truth(u, steps, rate, first_order)
            parts["inner"], variance = whole.variance - variance, whole.variance
        return Truth(mean, variance, {"inner": 0.0, **parts})

    def many_shot(self, u: Vector, steps: int, rate: float) -> Vector:
        """Compute the gradient of the many-shot objective, `(dim,)`.

        Args:
            u: theta - E c, `(dim,)`.
            steps: K.
            rate: alpha.
        """
        limit: Vector = self.curvatures * (1 - rate * self.curvatures) ** (2 * steps) * u
        return limit

    def _inner(self, steps: int, rate: float, first_order: bool, batch: int) -> Inner:
        heads = np.arange(self.shots + 1)
        weights = np.asarray(comb(self.shots, heads) / 2.0**self.shots, np.float64)
        signs, h = 2 * heads / self.shots - 1, self.curvatures[:, None]
        shrink = 1 - rate * h * (1 + self.jitter * signs)  # 1 - alpha A
        noise = self.noise**2 / self.shots
        if not batch:
            r = shrink**steps
            s = rate * sum((shrink**j for j in range(steps)), start=np.zeros_like(shrink))
            lead = np.ones_like(r) if first_order else r
            return Inner(lead * r, lead**2 * s**2 * noise, lead, weights)
        if steps != 1:
            raise InvalidInput(
                f"steps is {steps}; mini-batches have closed-form moments only for 1 step."
            )
        if first_order:
            return Inner(shrink, rate**2 * noise + 0 * shrink, np.ones_like(shrink), weights)
        within = (h * self.jitter) ** 2 * (1 - signs**2)  # variance of a in the support set
        left = (self.shots - batch) / (batch * max(self.shots - 1, 1))
        carried = shrink**2 + rate**2 * left * within
        noise_kept = rate**2 * noise * (shrink**2 + (rate * left) ** 2 * within)
        return Inner(carried, noise_kept, shrink, weights)


def gaussian_top_share(dim: int, top: float) -> float:
    r"""Compute the share of :math:`E |x|^2` in the largest fraction `top` of isotropic Gaussians.

    :math:`|x|^2` is chi-square; weighing by it adds two degrees of freedom.
    """
    threshold = float(gammaincinv(dim / 2, 1 - top))
    return float(1 - gammainc(dim / 2 + 1, threshold))
