"""Training that begins from the weights of another core."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from noble_net.cells.zones import ZONES  # noqa: E402 - needs torch
from noble_net.errors import CheckpointError  # noqa: E402
from noble_net.surrogate.checkpoint import save_checkpoint  # noqa: E402
from noble_net.surrogate.streaming_shape import Slow  # noqa: E402
from noble_net.surrogate.streaming_torch import Dendrites, StreamingNet  # noqa: E402
from noble_net.training.starting import begin_from  # noqa: E402

SHUT = Slow("h_Kd", 0.0, 0.5, 1500.0, 1e-3, 0.9)
CALCIUM = Slow("cai", 1e-4, 4.3e-4, 799.0, 0.04, 1e-4)
CELLS, STEPS, CODE = 5, 8, 3
FAMILY = "known"


def net_of(slow: tuple[Slow, ...], direct: bool = False, code_hidden: int | None = None) -> StreamingNet:
    return StreamingNet(
        CODE,
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


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A core on disk that keeps account of calcium and has no direct way."""
    folder: Path = tmp_path_factory.mktemp("core")
    torch.manual_seed(3)
    weights = {name: values.numpy().copy() for name, values in net_of((CALCIUM,)).state_dict().items()}
    weights["coupling"] += 0.1  # all others are random
    about = {
        "name": "calcium",
        "kind": "streaming",
        "family": FAMILY,
        "family_hash": "",
        "code": [f"c{i}" for i in range(CODE)],
        "zones": list(ZONES),
        "step_samples": 5,
        "slow": [CALCIUM._asdict()],
    }
    save_checkpoint(folder, about, weights)
    return str(folder)


def answers(net: StreamingNet, slow: torch.Tensor) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    drive = torch.randn(CELLS, STEPS, 3, 5, generator=random)
    voltage = -70.0 + 5.0 * torch.randn(CELLS, STEPS, 5, generator=random)
    code = torch.randn(CELLS, net.code_in.in_features, generator=random)
    arriving = torch.rand(3, CELLS, STEPS, 2, generator=random)
    dendrites = Dendrites(arriving[0], -40.0 * arriving[1], arriving[2], torch.full((CELLS,), -20.5))
    with torch.no_grad():
        return net(drive, voltage, code, None, dendrites, slow)[0]


def test_what_was_known_of_slow_variables_is_taken_and_others_change_nothing(core: str) -> None:
    told = 0.5 + torch.rand(CELLS, STEPS, 2, generator=torch.Generator().manual_seed(1))
    original = net_of((CALCIUM,))
    begin_from(original, core, FAMILY)
    expected = answers(original, told[..., 1:])
    # Counted in another influx, and behind a variable that the core knows nothing of.
    more = net_of((SHUT, CALCIUM._replace(influx=0.1, start=2e-4)))
    begin_from(more, core, FAMILY)
    found = answers(more, told)
    torch.testing.assert_close(found[..., :5], expected[..., :5], atol=1e-4, rtol=0)
    torch.testing.assert_close(0.1 * found[..., 6], CALCIUM.influx * expected[..., 5], atol=1e-6, rtol=1e-4)
    assert not found[..., 5].any() and expected[..., 5].abs().max() > 1e-3


def test_a_direct_way_that_a_core_does_not_have_changes_nothing_at_first(core: str) -> None:
    told = 0.5 + torch.rand(CELLS, STEPS, 1, generator=torch.Generator().manual_seed(1))
    without, given = net_of((CALCIUM,)), net_of((CALCIUM,), direct=True)
    torch.nn.init.normal_(given.direct.weight)
    for net in (without, given):
        begin_from(net, core, FAMILY)
    torch.testing.assert_close(answers(given, told), answers(without, told), atol=1e-5, rtol=0)


def test_a_variable_that_decays_otherwise_is_another_one(core: str) -> None:
    net = net_of((CALCIUM._replace(decay=100.0),))
    begin_from(net, core, FAMILY)
    assert not net.decode_out.weight[5].any() and not net.encode_in.weight[:, net.inputs - 1].any()


def test_of_another_family_the_code_may_be_read_by_more_units(core: str) -> None:
    net = net_of((CALCIUM,), code_hidden=24)
    before = {name: values.clone() for name, values in net.state_dict().items()}
    with pytest.raises(CheckpointError, match="code_in"):
        begin_from(net, core, FAMILY)
    begin_from(net, core, "another")
    taken = {name for name, values in net.state_dict().items() if not torch.equal(values, before[name])}
    assert set(before) - taken == {"code_in.weight", "code_in.bias", "code_out.weight"}


def test_a_core_of_another_shape_is_refused(core: str) -> None:
    other = StreamingNet(3, 16, 5, code_units=4, encoder_layers=1, decoder_units=8, slow=(SHUT,))
    with pytest.raises(CheckpointError, match=f"training.start: core {re.escape(core)} is of another shape"):
        begin_from(other, core, FAMILY)
