"""The spectral convolution against neuraloperator's, forth and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noble_net.surrogate.spectral import spectral_convolution

pytest.importorskip("neuralop", reason="the extra [train]")


@given(
    st.integers(4, 64),
    st.integers(2, 64),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_it_is_the_library_s_forth_and_back(samples, modes, traces, inner, outer, seed):
    from neuralop.layers.spectral_convolution import SpectralConv

    torch.manual_seed(seed)
    theirs = SpectralConv(inner, outer, (min(modes, samples),))
    x = torch.randn(traces, inner, samples, requires_grad=True)
    weight, bias = theirs.weight.tensor.detach().clone(), theirs.bias.detach()[:, 0].clone()
    for parameter in (weight, bias):
        parameter.requires_grad_()
    ours = spectral_convolution(x, weight, bias)
    wanted = theirs(x)
    torch.testing.assert_close(ours, wanted)
    back = torch.randn_like(wanted)
    mine = torch.autograd.grad(ours, (x, weight, bias), back)
    library = torch.autograd.grad(wanted, (x, theirs.weight.tensor, theirs.bias), back)
    torch.testing.assert_close(mine[0], library[0])
    torch.testing.assert_close(mine[1], library[1])
    torch.testing.assert_close(mine[2], library[2][:, 0])
