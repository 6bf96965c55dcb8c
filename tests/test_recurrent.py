"""The compiled gated recurrent unit against PyTorch's: answers and every gradient."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("streams", "steps", "inputs", "units"), [(128, 20, 32, 32), (70, 7, 16, 40), (3, 1, 8, 8)]
)
@pytest.mark.parametrize("begun", [True, False])
def test_answers_and_gradients_are_pytorchs(streams, steps, inputs, units, begun):
    from noble_net.surrogate.recurrent_torch import recur

    generator = torch.Generator().manual_seed(streams)
    torch.manual_seed(1)
    gru = torch.nn.GRU(inputs, units, batch_first=True)
    x = torch.randn(streams, steps, inputs, generator=generator, requires_grad=True)
    start = torch.randn(1, streams, units, generator=generator).tanh().requires_grad_() if begun else None
    weights = torch.randn(streams, steps, units, generator=generator)
    found = []
    for run in (gru, lambda x, start: recur(gru, x, start)):
        states, last = run(x, start)
        ((states * weights).sum() + (last**2).sum()).backward()
        leaves = [x, *([start] if begun else []), *gru.parameters()]
        found.append([states.detach(), last.detach(), *(leaf.grad.clone() for leaf in leaves)])
        for leaf in leaves:
            leaf.grad = None
    for expected, answer in zip(*found, strict=True):
        torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_what_the_kernels_cannot_run_pytorch_runs():
    from noble_net.surrogate.recurrent_torch import recur

    gru = torch.nn.GRU(4, 6, batch_first=True)  # six rows are no multiple of four
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(recur(gru, x, None), gru(x))
