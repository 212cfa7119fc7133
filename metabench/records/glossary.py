"""Terms that findings, tables and pages use, each explained in one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# In order of need: where only some are shown, the first ones are.
GLOSSARY: dict[str, str] = {
    "noise scale": (
        "Tasks in a batch at which noise equals signal: tr Cov(g) / |E g|^2 for the meta-gradient "
        "g of one task (McCandlish et al., 2018)."
    ),
    "signal-to-noise ratio": (
        "B |E g|^2 / tr Cov(g) for a batch of B tasks, without unit; 1 at the noise scale."
    ),
    "break-even": (
        "Tasks per step (or time per step) above which the exact meta-gradient has the smaller "
        "mean squared error; below, the cheaper, biased one does."
    ),
    "support x query": (
        "Variance from the interaction of a task's support and query draws, which neither "
        "explains alone (two-way random-effects design; Searle, Casella & McCulloch, 1992)."
    ),
    "amplification by step": (
        "Factor by which backpropagation through K inner steps changes the norm of the query "
        "gradient: |v_0| / |v_K| of the adjoints v_k, without unit."
    ),
    "amplification": (
        "Variance of the meta-gradient over that of the query gradient without an inner loop (K = "
        "0), without unit."
    ),
    "tail index": (
        "Exponent a of the tail P(|g - E g| > x) ~ x^-a over tasks; below 2 the variance does not "
        "exist (Hill, 1975)."
    ),
    "top share": (
        "Share of the sum of |g - E g|^2 that the 1 % of tasks with the largest values contribute."
    ),
    "objective gap": (
        "Difference between the meta-gradient's mean with your number of shots and in the "
        "many-shot limit, as a squared norm."
    ),
    "many-shot limit": (
        "The objective with support sets so large that sampling them no longer matters, "
        "approximated with a multiple of your shots."
    ),
    "tasks to detect": (
        "Number of tasks needed to distinguish the expected meta-gradient from zero."
    ),
    "proximal strength": (
        "Weight lambda of the term lambda/2 |phi - init(theta)|^2 in the inner loss, in units of "
        "curvature (iMAML; Rajeswaran et al., 2019)."
    ),
    "edge of stability": (
        "Limit above which inner steps grow along an eigenvector of the inner Hessian: rate x "
        "eigenvalue = 2 for plain gradient descent (Cohen et al., 2021)."
    ),
    "stable rate": (
        "Inner rate below which the given share of tasks is inside the edge of stability."
    ),
    "finite-time Lyapunov exponent": (
        "log sigma_i(d phi_K / d phi_0) / K, the mean growth of a small change of phi_0 per inner "
        "step; positive values mean growth."
    ),
    "effective rank": (
        "Number of directions that carry the curvature: (sum |eigenvalue|)^2 / sum eigenvalue^2, "
        "with means over tasks."
    ),
    "negative mass": "Share of the sum of |eigenvalue| that negative eigenvalues contribute.",
    "Ritz value": (
        "Approximate eigenvalue: an eigenvalue of the matrix restricted to a Krylov space, as "
        "Lanczos iterations give it."
    ),
    "condition number": (
        "Largest over smallest eigenvalue of a positive definite matrix; conjugate gradients need "
        "more steps the larger it is."
    ),
    "meta-Hessian": "Hessian of the expected query loss after adaptation, with respect to theta.",
    "stable outer rate": (
        "Outer rate below which plain outer gradient descent is stable along every eigenvector: 2 "
        "/ largest eigenvalue of the meta-Hessian."
    ),
    "negative curvature": (
        "Negative eigenvalues of the inner Hessian, along whose eigenvectors a gradient step "
        "increases differences of phi."
    ),
    "overshoot": "An inner step grows because rate times curvature exceeds 2.",
    "stretching": (
        "Logarithm of the largest factor by which one step of plain gradient descent stretches a "
        "small change of phi."
    ),
    "adjoint": (
        "Gradient v_k of the query loss with respect to the inner iterate phi_k, printed relative "
        "to the last one: |v_k| / |v_K|."
    ),
    "float32 departure": (
        "Inner steps K after which float32 and float64 meta-gradients differ by the given "
        "percentage in half of the tasks."
    ),
    "feature shift": (
        "Change of a layer's mean outputs on the support set since phi_0, in the standard "
        "deviations that they had there."
    ),
    "feature spread": (
        "Factor by which the standard deviations of a layer's outputs on the support set grew "
        "since phi_0."
    ),
    "error part": (
        "Part of a method's error with one cause: inner convergence, solver, or arithmetic; as "
        "vectors the parts sum to the error."
    ),
    "saddles": (
        "Share of tasks whose inner objective has negative curvature at phi_K, so that phi_K is "
        "not near a minimum."
    ),
    "validation loss": "Query loss after adaptation, the mean over held-out tasks.",
    "unrolled meta-gradient": (
        "Meta-gradient by backpropagation through all inner steps, exact for the loss at phi_K."
    ),
    "implicit meta-gradient": (
        "Meta-gradient by the implicit function theorem at the inner minimum, which needs one "
        "linear solve and no stored inner steps."
    ),
    "first-order meta-gradient": (
        "Meta-gradient without second derivatives: the query gradient at phi_K, used as if it were "
        "that at theta (FOMAML; Finn, Abbeel & Levine, 2017)."
    ),
    "norm ratio": (
        "Norm of a method's expected meta-gradient over that of the reference, without unit."
    ),
    "gradient Lipschitz": (
        "Smallest L with |grad f(u) - grad f(w)| <= L |u - w|; measured locally, as the largest "
        "Hessian norm that was found."
    ),
    "hessian Lipschitz": (
        "Smallest rho with |H(u) - H(w)| <= rho |u - w|; measured locally, so a lower bound."
    ),
    "path factor": (
        "(1 + alpha L)^(2 K), the factor by which the many-step bounds grow with K inner steps at "
        "rate alpha."
    ),
    "slack": "Bound of the theory over the measured value, without unit; 1 is tight.",
    "kink": (
        "Point where a derivative does not exist, such as the corner of a ReLU; finite differences "
        "can't check a gradient there."
    ),
    "residual": "|A x - b| / |b| of a linear solve: 0 if the solution is exact.",
    "mse": (
        "Mean squared distance of a meta-gradient estimate from the exact one: squared bias plus "
        "variance / B, in units of a squared gradient."
    ),
    "bias": (
        "Squared norm of the difference between the estimator's mean and the exact meta-gradient, "
        "in units of a squared gradient."
    ),
    "redraw": "New support or query set of the same task.",
    "address": "Integer that names a task; the same address and seed give the same task.",
    "largest task": "Index of the task whose meta-gradient lies farthest from the mean.",
    "mean norm squared": (
        "|E g|^2, the squared norm of the expected meta-gradient, estimated without bias from "
        "pairs of tasks."
    ),
    "total variance": (
        "tr Cov(g) of the meta-gradient g of one task: its mean squared distance from the mean, in "
        "units of a squared gradient."
    ),
    "step growth": (
        "Factor by which one inner step stretches the direction that it stretches most, without "
        "unit."
    ),
    "growth": "Change of log |g(K)| per inner step, the median over tasks.",
    "unresolved": "Not distinguishable from zero, or there are too few tasks to tell.",
    "withheld": "Not computed, because an assumption of the quantity does not hold here.",
    "unbounded": "The interval has no finite end on this side, or the number is infinite.",
    "slope": "Exponent b in variance ~ B^b over batches of B tasks: -1 for independent tasks.",
    "cell": "One measurement of a study: a probe on one algorithm, family and seed.",
    "interval": (
        "Two numbers in brackets: a 95 % confidence interval, unless the text says otherwise."
    ),
}

# Other words for the same terms, as tables and findings print them.
_SYNONYMS = {
    "task variance": "total variance",
    "signal-to-noise": "signal-to-noise ratio",
    "snr": "signal-to-noise ratio",
    "break-even seconds": "break-even",
    "proximal term": "proximal strength",
    "lambda": "proximal strength",
    "lyapunov exponent": "finite-time Lyapunov exponent",
    "many-shot": "many-shot limit",
    "past the edge": "edge of stability",
    "mean squared error": "mse",
    "redrawn": "redraw",
    "saddle": "saddles",
    "unrolled": "unrolled meta-gradient",
    "implicit": "implicit meta-gradient",
    "implicit gradient": "implicit meta-gradient",
    "first-order": "first-order meta-gradient",
    "hessian-lipschitz": "hessian Lipschitz",
}


class Use(NamedTuple):
    """One use of a term in a text."""

    term: str  # a key of GLOSSARY
    start: int
    end: int


def terms_in(text: str) -> list[str]:
    """List the terms of the glossary that a text uses, in order of first use.

    >>> terms_in("Noise scale 5.61; break even at 3 tasks; noise scales differ.")
    ['noise scale', 'break-even']
    """
    return list(dict.fromkeys(use.term for use in uses_in(text)))


def uses_in(text: str) -> Iterator[Use]:
    """Yield every use of a term, upper or lower case, hyphenated or not, the longest match."""
    for match in _PATTERN.finditer(text):
        yield Use(_TERMS[_plain(match["term"])], match.start(), match.end())


def markdown() -> str:
    """Write the glossary as the table of docs/glossary.md, in alphabetical order."""
    terms = sorted(GLOSSARY, key=str.lower)
    lines = [f"| {term} | {_escaped(GLOSSARY[term])} |" for term in terms]
    return "\n".join(["| term | meaning |", "|---|---|", *lines, ""])


def _escaped(sentence: str) -> str:
    """Escape what ends a cell of a Markdown table or begins emphasis in it."""
    return re.sub(r"([|*_<])", r"\\\1", sentence)


def _plain(words: str) -> str:
    return re.sub(r"[-\s]+", " ", words).lower()


_TERMS = {
    _plain(word): term for word, term in ({term: term for term in GLOSSARY} | _SYNONYMS).items()
}
_WORDS = "|".join(
    re.escape(word).replace(r"\ ", r"[-\s]") for word in sorted(_TERMS, key=len, reverse=True)
)
_PATTERN = re.compile(rf"(?<![\w.-])(?P<term>{_WORDS})s?(?![\w-])", re.IGNORECASE)
