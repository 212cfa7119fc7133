"""Does clipping equal torch's, for each of many gradients?"""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from metabench.autodiff.clipping import clipped
from metabench.settings.errors import InvalidInput, check_limits


def gradients() -> torch.Tensor:
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("norm", "value"), [(2.0, math.inf), (math.inf, 0.5), (1.0, 0.5)])
def test_each_gradient_is_clipped_as_torch_clips_it(norm, value):
    many = gradients()

    found = clipped(many, norm, value)

    for line, before in zip(found, many, strict=True):
        parameter = torch.nn.Parameter(torch.zeros(7, dtype=torch.float64))
        parameter.grad = before.clone()
        torch.nn.utils.clip_grad_value_([parameter], value)
        torch.nn.utils.clip_grad_norm_([parameter], norm)
        # torch adds 1e-6 to the norm that it divides by
        assert_close(line, parameter.grad, rtol=2e-6, atol=0)


def test_infinite_limits_change_no_bit():
    assert torch.equal(clipped(gradients()), gradients())


def test_a_gradient_of_zero_has_a_derivative():
    zero = torch.zeros(3, requires_grad=True)

    clipped(zero, norm=1.0, value=1.0).sum().backward()

    assert_close(zero.grad, torch.ones(3))


def test_a_limit_of_zero_is_rejected():
    with pytest.raises(InvalidInput, match="outer_norm is 0"):
        check_limits(outer_norm=0)
