"""Parts of the device loop beside those on CPU: random numbers, stimuli, detection of spikes, delivery."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import built, network_data
from hypothesis import given, settings
from hypothesis import strategies as st

from noble_net import network_from
from noble_net.loop import Loop
from noble_net.network.injection import Target
from noble_net.network.noise import normals as cpu_normals
from noble_net.network.random_kernels import philox_words
from noble_net.network.stimuli import make_stimulus
from noble_net.network.underway_kernels import FIXED_POINT
from noble_net.spikes import detect_block, new_detector
from noble_net.types import Response

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_torch_thread")

from on_device import CORES, DEVICE, ON  # noqa: E402 - needs torch

from noble_net.device import delivery, random  # noqa: E402
from noble_net.device.detection import detect  # noqa: E402
from noble_net.device.loop import DeviceLoop  # noqa: E402
from noble_net.device.stimuli import DevicePoisson, device_source  # noqa: E402

# --- randomness and stimuli ---------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=4), st.integers(0, 2**64 - 1))
def test_philox_gives_the_same_words(counter: list[int], key: int) -> None:
    expected = philox_words(np.array(counter, np.int64), np.uint64(key))
    words = random.philox(*(torch.tensor([each], device=DEVICE) for each in counter[:3]), counter[3], key)
    assert [int(each) for each in words] == expected.tolist()


@given(st.integers(0, 2**34), st.integers(1, 30), st.integers(0, 2**64 - 1))
def test_normals_are_those_of_the_cpu_at_any_sample(start: int, samples: int, key: int) -> None:
    cells = np.array([0, 3, 70_000], np.int64)
    expected = cpu_normals(np.uint64(key), cells, start, samples)
    found = random.normals(key, torch.from_numpy(cells).to(DEVICE), start, samples).cpu().numpy().T
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


NOISE = [
    {"ornstein_uhlenbeck": {"mean": "0.2 nA", "sigma": "0.1 nA", "tau": "5 ms"}},
    {"ornstein_uhlenbeck": {"mean": "0.2 nA", "sigma": "0.1 nA", "tau": "5 ms", "shared": True}},
    {
        "ornstein_uhlenbeck": {
            "mean": "1 nS",
            "sigma": "2 nS",
            "tau": "3 ms",
            "reversal": "0 mV",
            "delay": "3 ms",
        }
    },
    {"noise": {"mean": "0 nA", "sigma": "0.1 nA", "dt": "0.7 ms", "delay": "1.3 ms", "duration": "9 ms"}},
]


@pytest.mark.parametrize("noise", NOISE, ids=["own", "shared", "conductance", "white"])
def test_noise_is_that_of_the_cpu(noise: dict[str, Any]) -> None:
    spec = network_from(network_data(stimuli=[{"to": "exc", "name": "noise", **noise}]))
    target = Target("exc", 90, np.array([2, 5, 89], np.int64))
    stimulus = make_stimulus(spec.stimuli[0], spec, target)
    expected = stimulus.values(0, 200)
    source = device_source(make_stimulus(spec.stimuli[0], spec, target), DEVICE)
    current, conductance, reversal = (torch.zeros((200, 90), device=DEVICE) for _ in range(3))
    for start in range(0, 200, 25):
        part = slice(start, start + 25)
        source.inject(start, current[part], conductance[part], reversal[part])
    found = conductance if stimulus.reversal is not None else current
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found.cpu().numpy().T[[2, 5, 89]], expected, rtol=0, atol=1e-5)
    assert not found[:, :2].any()


@pytest.mark.parametrize(
    "rate",
    [{"rate": "900 Hz"}, {"rate": "20000 Hz"}, {"rate": "900 Hz", "modulation": 0.5, "frequency": "40 Hz"}],
)
def test_poisson_counts_are_those_of_the_cpu(rate: dict[str, Any]) -> None:
    poisson = {**rate, "synapse": "ampa", "weight": "2 nS", "delay": "2 ms"}
    spec = network_from(network_data(stimuli=[{"to": "exc", "name": "p", "poisson": poisson}]))
    stimulus = make_stimulus(spec.stimuli[0], spec)
    expected = stimulus.counts(0, 320)
    drawn = DevicePoisson(stimulus, DEVICE)
    found = torch.cat([drawn.counts(index) for index in range(10)]).cpu().numpy().T
    assert expected.sum() > 1000 and np.array_equal(found, expected)


# --- spikes -------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 40))
def test_spikes_are_detected_by_the_same_rule(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    voltage = rng.choice([-70.0, -46.0, -44.0, -41.0, -39.0, -30.0, -20.0, 0.0], (6, 161)) + rng.normal(
        0, 2, (6, 161)
    )
    traces = np.ascontiguousarray(voltage, np.float32)
    state = new_detector(6)
    expected = detect_block(np.ascontiguousarray(traces[:, 1:]), traces[:, 0].copy(), state)
    detector, found = torch.from_numpy(new_detector(6)).to(DEVICE), []
    last = torch.from_numpy(traces[:, 0].copy()).to(DEVICE)
    for start in range(1, 161, block):
        part = torch.from_numpy(traces[:, start : start + block].T.copy()).to(DEVICE)
        fired, lag, detector = detect(part, last, detector)
        sample, cell = fired.nonzero(as_tuple=True)
        time = (sample + start).double() * 0.1 - lag[sample, cell].double()
        found += zip(cell.tolist(), (sample + start - 1).tolist(), time.tolist(), strict=True)
        last = part[-1]
    assert [each[:2] for each in found] == list(zip(expected[0].tolist(), expected[1].tolist(), strict=True))
    np.testing.assert_allclose([each[2] for each in found], expected[2], rtol=0, atol=1e-6)
    np.testing.assert_allclose(detector.cpu().numpy(), state, atol=1e-6)


# --- synapses -----------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([1, 7, 40, delivery.AT_ONCE]))
def test_what_arrives_is_the_cpus_whatever_the_piece(seed: int, at_once: int) -> None:
    """Spikes at random, sent both ways: the sums in fixed point are equal."""
    network = built(network_data(seed=seed % 97))
    loop, device = Loop(network, CORES), DeviceLoop(network, CORES, ON)
    rng, samples = np.random.default_rng(seed), network.block_samples
    mask = rng.random((samples, 120)) < 0.03
    sample, cell = np.nonzero(mask)
    events = cell.astype(np.int32), sample.astype(np.int32)
    (group,) = loop._groups
    nothing = np.empty(0)
    group.response = Response(np.empty((120, 0), np.float32), *events, nothing, nothing.astype(np.uint32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "AT_ONCE", at_once)
        for route in loop._routes:
            route.send(0)
        for projection, route in device._routes:
            own = slice(*((0, 90) if projection.source == "exc" else (90, 120)))
            fired = torch.from_numpy(mask[:, own]).to(DEVICE)
            route.send(0, fired, *fired.nonzero(as_tuple=True))
    for key, bank in loop._banks.items():
        counts, target, amount = bank.underway.packed()
        expected = np.zeros((bank.underway.slots, bank.decaying.size), np.int64)
        np.add.at(
            expected,
            (np.repeat(np.arange(len(counts)), counts), target),
            (amount.astype(float) * FIXED_POINT).astype(np.int64),
        )
        assert np.array_equal(device._banks[key].ring.cpu().numpy(), expected)
