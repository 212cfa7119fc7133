"""Does the assertion for users' tests raise for a wrong meta-gradient, in words, and no other?"""

from __future__ import annotations

import re

import pytest
import torch
from black_boxes import PROBLEM, draw, plain_loop

import metabench as mb
from metabench.settings.errors import InvalidInput

OWN = PROBLEM._replace(tasks=draw)


def changed(change):
    """The gradient of a right loss, changed."""

    def estimate(theta, task):
        loss, grads = plain_loop(theta, task)
        return loss, [change(g) for g in grads]

    return estimate


WRONG = {
    "sign": changed(torch.neg),
    "factor": changed(lambda g: 25 * g),
    "missing": changed(torch.zeros_like),
    "first order": lambda theta, task: plain_loop(theta, task, create_graph=False),
}


@pytest.mark.parametrize(
    ("problem", "estimator"),
    [
        (OWN, plain_loop),
        (OWN, mb.BlackBox(plain_loop)),
        (OWN, mb.MAML(steps=2)),
        (mb.Quadratic(dim=3), mb.MAML(steps=2)),
        (mb.Quadratic(dim=3), mb.FOMAML(steps=2)),  # first order by design
    ],
)
def test_a_right_meta_gradient_passes(problem, estimator):
    found = mb.testing.assert_meta_gradient(problem, estimator)

    assert {finding.level for finding in found} == {"info"}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_meta_gradient_fails_in_the_words_of_verify(fault):
    with pytest.raises(AssertionError) as raised:
        mb.testing.assert_meta_gradient(OWN, WRONG[fault])

    probe = mb.Verify()
    theta = OWN.theta.double()
    rows = probe.measure(mb.Subject(OWN, draw, mb.BlackBox(WRONG[fault]), theta), seed=0)
    severe = [f for f in probe.find(mb.to_table(rows)) if f.level != "info"]
    assert severe
    assert all(finding.claim in str(raised.value) for finding in severe)


def test_a_severity_that_is_none_is_refused():
    with pytest.raises(InvalidInput, match=re.escape("not_looked_at, undecided, warning")):
        mb.testing.assert_meta_gradient(OWN, plain_loop, fail_on="error")


def test_what_verify_cannot_tell_fails_where_asked_for(monkeypatch):
    said = [mb.Finding("it", "info", "undecided", "It can't be told.", "Look closer.", ())]
    monkeypatch.setattr(mb.Verify, "find", lambda probe, table: said)

    assert mb.testing.assert_meta_gradient(OWN, plain_loop) == said
    with pytest.raises(AssertionError, match=r"It can't be told\. Look closer\."):
        mb.testing.assert_meta_gradient(OWN, plain_loop, fail_on="undecided")
