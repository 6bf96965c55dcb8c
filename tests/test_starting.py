"""Training that begins from the weights of another core."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from noble_net.errors import CheckpointError  # noqa: E402 - needs torch
from noble_net.registry import checkpoint_folder  # noqa: E402
from noble_net.surrogate.checkpoint import load_checkpoint  # noqa: E402
from noble_net.surrogate.streaming_shape import Slow  # noqa: E402
from noble_net.surrogate.streaming_torch import Dendrites, StreamingNet  # noqa: E402
from noble_net.training.starting import begin_from  # noqa: E402

SHUT = Slow("h_Kd", 0.0, 0.5, 1500.0, 1e-3, 0.9)
CELLS, STEPS = 5, 8


def net_of(slow: tuple[Slow, ...], direct: bool = False, code_hidden: int | None = None) -> StreamingNet:
    code = len(load_checkpoint(checkpoint_folder("nr5a1-zones")).about["code"])
    return StreamingNet(
        code,
        56,
        5,
        zones=2,
        nmda=True,
        code_units=16,
        encoder_layers=1,
        decoder_units=32,
        slow=slow,
        direct=direct,
        code_hidden=code_hidden,
    )


def answers(net: StreamingNet, slow: torch.Tensor) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    drive = torch.randn(CELLS, STEPS, 3, 5, generator=random)
    voltage = -70.0 + 5.0 * torch.randn(CELLS, STEPS, 5, generator=random)
    code = torch.randn(CELLS, net.code_in.in_features, generator=random)
    arriving = torch.rand(3, CELLS, STEPS, 2, generator=random)
    dendrites = Dendrites(arriving[0], -40.0 * arriving[1], arriving[2], torch.full((CELLS,), -20.5))
    with torch.no_grad():
        return net(drive, voltage, code, None, dendrites, slow)[0]


def test_what_was_known_of_slow_variables_is_taken_and_others_change_nothing() -> None:
    told = 0.5 + torch.rand(CELLS, STEPS, 2, generator=torch.Generator().manual_seed(1))
    original = net_of((load_calcium(),))
    begin_from(original, "nr5a1-zones", "allen-nr5a1")
    expected = answers(original, told[..., 1:])
    # Counted in another influx, and behind a variable that the core knows nothing of.
    more = net_of((SHUT, load_calcium()._replace(influx=0.1, start=2e-4)))
    begin_from(more, "nr5a1-zones", "allen-nr5a1")
    found = answers(more, told)
    torch.testing.assert_close(found[..., :5], expected[..., :5], atol=1e-4, rtol=0)
    torch.testing.assert_close(
        0.1 * found[..., 6], load_calcium().influx * expected[..., 5], atol=1e-6, rtol=1e-4
    )
    assert not found[..., 5].any() and expected[..., 5].abs().max() > 1e-3


def load_calcium() -> Slow:
    """As `nr5a1-zones` keeps account of it."""
    found = {
        each["variable"]: Slow(**each)
        for each in load_checkpoint(checkpoint_folder("nr5a1-zones")).about["slow"]
    }
    return found["cai"]


def test_a_direct_way_that_a_core_does_not_have_changes_nothing_at_first() -> None:
    told = 0.5 + torch.rand(CELLS, STEPS, 1, generator=torch.Generator().manual_seed(1))
    without, given = net_of((load_calcium(),)), net_of((load_calcium(),), direct=True)
    torch.nn.init.normal_(given.direct.weight)
    for net in (without, given):
        begin_from(net, "nr5a1-zones", "allen-nr5a1")
    torch.testing.assert_close(answers(given, told), answers(without, told), atol=1e-5, rtol=0)


def test_a_variable_that_decays_otherwise_is_another_one() -> None:
    net = net_of((load_calcium()._replace(decay=100.0),))
    begin_from(net, "nr5a1-zones", "allen-nr5a1")
    assert not net.decode_out.weight[5].any() and not net.encode_in.weight[:, net.inputs - 1].any()


def test_of_another_family_the_code_may_be_read_by_more_units() -> None:
    net = net_of((load_calcium(),), code_hidden=24)
    before = {name: values.clone() for name, values in net.state_dict().items()}
    with pytest.raises(CheckpointError, match="code_in"):
        begin_from(net, "nr5a1-zones", "allen-nr5a1")
    begin_from(net, "nr5a1-zones", "another")
    taken = {name for name, values in net.state_dict().items() if not torch.equal(values, before[name])}
    assert set(before) - taken == {"code_in.weight", "code_in.bias", "code_out.weight"}


def test_a_core_of_another_shape_is_refused() -> None:
    other = StreamingNet(3, 16, 5, code_units=4, encoder_layers=1, decoder_units=8, slow=(SHUT,))
    with pytest.raises(CheckpointError, match=r"training.start: core nr5a1-zones is of another shape"):
        begin_from(other, "nr5a1-zones", "allen-nr5a1")
