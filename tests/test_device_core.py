"""The device loop with the trained core, beside the loop on CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from noble_net import load_core, load_family, network_from
from noble_net.loop import Loop
from noble_net.network.build import Network, build_network

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_torch_thread")

from on_device import ON, record  # noqa: E402 - needs torch
from test_streaming import SLOW, cells, zoned_core, zoned_drive  # noqa: E402

from noble_net.device.cores import DeviceDrive, NmdaInput  # noqa: E402
from noble_net.device.loop import DeviceLoop  # noqa: E402
from noble_net.device.streaming import DeviceStreaming  # noqa: E402
from noble_net.surrogate.streaming_shape import Slow  # noqa: E402

FAMILY = "allen-pv-peri"


def pv_network(**changes: Any) -> Network:
    """Held-out PV cells under fluctuating current, unconnected unless ``changes`` say otherwise."""
    noise = {"mean": "0.3 nA", "sigma": "0.12 nA", "tau": "5 ms"}
    population = {"family": FAMILY, "size": 40, "sample": {"from": "members", "role": "held_out"}}
    data = {
        "name": "pv",
        "duration": "200 ms",
        "core": "pv-stream",
        "populations": {"pv": population},
        "stimuli": [{"to": "pv", "ornstein_uhlenbeck": noise}],
    }
    spec = network_from(data | changes)
    return build_network(spec, {FAMILY: load_family(FAMILY)}, {"pv-stream": load_core("pv-stream").info})


INHIBITION: dict[str, Any] = {
    "synapses": {
        "gaba": {"model": "exp2", "rise": "0.3 ms", "decay": "5 ms", "reversal": "-80 mV"},
        "nmda": {"model": "nmda", "rise": "2 ms", "decay": "60 ms", "reversal": "0 mV", "magnesium": "1 mM"},
    },
    "projections": [
        {
            "name": f"pv-{synapse}",
            "from": "pv",
            "to": "pv",
            "rule": {"fixed_indegree": {"indegree": 8}},
            "synapse": synapse,
            "weight": weight,
            "delay": "2 ms",
        }
        for synapse, weight in (("gaba", "2 nS"), ("nmda", "0.2 nS"))
    ],
}


def test_the_trained_core_replays_open_loop_within_a_tolerance() -> None:
    """The tolerance of the agreement between devices: 0.2 mV in 95 % of samples, 99 % of spikes within 0.1 ms.

    Rounding is some µV; a core makes more of it where a cell is about to fire.
    """
    network, cores = pv_network(), {"pv-stream": load_core("pv-stream")}
    ours, fired = record(DeviceLoop(network, cores, ON), 2000)
    theirs, expected = record(Loop(network, cores), 2000)
    apart = np.abs(ours["pv"] - theirs["pv"])
    assert np.quantile(apart, 0.5) < 0.002 and np.quantile(apart, 0.95) < 0.2
    told, known = (sorted((cell, time) for _, cell, time in each["pv"]) for each in (fired, expected))
    met = [any(cell == own and abs(time - at) < 0.1 for own, at in told) for cell, time in known]
    assert len(known) > 100 and abs(len(told) / len(known) - 1) < 0.01 and np.mean(met) > 0.99


def test_the_trained_core_starts_a_network_like_the_cpu() -> None:
    network, cores = pv_network(**INHIBITION), {"pv-stream": load_core("pv-stream")}
    ours, fired = record(DeviceLoop(network, cores, ON), 400)
    theirs, expected = record(Loop(network, cores), 400)
    assert len(expected["pv"]) > 20
    assert [each[1] for each in fired["pv"]] == [each[1] for each in expected["pv"]]
    assert np.quantile(np.abs(ours["pv"] - theirs["pv"]), 0.95) < 0.2


def test_the_trained_core_in_a_network_fires_as_often_as_on_the_cpu() -> None:
    network, cores = pv_network(**INHIBITION), {"pv-stream": load_core("pv-stream")}
    rates = [
        len(record(loop, 4000)[1]["pv"]) for loop in (DeviceLoop(network, cores, ON), Loop(network, cores))
    ]
    assert min(rates) > 200 and abs(rates[0] - rates[1]) < 0.05 * max(rates)


def test_the_trained_core_gives_the_same_bits_for_any_block_and_after_its_state() -> None:
    network, cores = pv_network(**INHIBITION), {"pv-stream": load_core("pv-stream")}
    whole, spikes = record(DeviceLoop(network, cores, ON), 300)
    again, same = record(DeviceLoop(network, cores, ON, 5), 300)
    assert spikes["pv"] and spikes == same and np.array_equal(whole["pv"], again["pv"])
    before, after = (DeviceLoop(network, cores, ON) for _ in range(2))
    record(before, 160)
    after.restore(before.state())
    assert np.array_equal(record(after, 300)[0]["pv"], whole["pv"][:, 160:])


def test_inputs_beyond_the_envelope_are_counted_alike() -> None:
    strong = {"mean": "1.9 nA", "sigma": "0.6 nA", "tau": "5 ms"}
    network = pv_network(stimuli=[{"to": "pv", "ornstein_uhlenbeck": strong}])
    cores = {"pv-stream": load_core("pv-stream")}
    counts = []
    for loop in (DeviceLoop(network, cores, ON, None, 13), Loop(network, cores)):
        counts.append(sum(loop.advance()["pv"].outside.astype(int) for _ in range(10)))
    assert counts[1].sum() > 100 and np.array_equal(*counts)


@pytest.mark.parametrize(
    ("nmda", "slow", "direct"),
    [(False, (), False), (True, (), False), (True, SLOW, False), (True, SLOW, True)],
)
def test_input_on_the_dendrites_acts_as_on_the_cpu(nmda: bool, slow: tuple[Slow, ...], direct: bool) -> None:
    core, _ = zoned_core(nmda, slow, direct)
    table, drive = cells(40), zoned_drive(40, 200, nmda)
    expected, _ = core.advance(core.begin(table), drive)

    def moved(array: Any) -> Any:
        return torch.from_numpy(array.swapaxes(1, 2).copy()).to(ON)

    into = drive.nmda and NmdaInput(
        moved(drive.nmda.conductance),
        moved(drive.nmda.reversal_current),
        torch.from_numpy(drive.nmda.half).to(ON),
    )
    inputs = (moved(each) for each in (drive.current, drive.conductance, drive.reversal_current))
    device = DeviceStreaming(core, ON)
    answer = device.advance(device.begin(table), DeviceDrive(*inputs, into))
    np.testing.assert_allclose(answer.voltage.T.cpu().numpy(), expected.voltage, atol=2e-2)
    assert np.array_equal(answer.outside.cpu().numpy(), expected.outside)
