"""The device loop on PyTorch's own CPU device: what it shares with the loop on CPU, and what it promises by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers import built, network_data
from hypothesis import given, settings
from hypothesis import strategies as st

from noble_net import load_core, load_family, network_from
from noble_net.errors import BackendError, OutputError, SolverError
from noble_net.loop import Loop
from noble_net.network.build import Network, build_network
from noble_net.network.injection import Target
from noble_net.network.noise import normals as cpu_normals
from noble_net.network.random_kernels import philox_words
from noble_net.network.stimuli import make_stimulus
from noble_net.network.underway_kernels import FIXED_POINT
from noble_net.spikes import detect_block, new_detector
from noble_net.surrogate.integrate_and_fire import IntegrateAndFire
from noble_net.types import Response

torch = pytest.importorskip("torch")

from noble_net.device import delivery, random  # noqa: E402 - needs torch
from noble_net.device.detection import detect  # noqa: E402
from noble_net.device.loop import DeviceLoop  # noqa: E402
from noble_net.device.stimuli import DevicePoisson, device_source  # noqa: E402

CORES = {"integrate-and-fire": IntegrateAndFire(), "integrate-and-fire-grid": IntegrateAndFire(on_grid=True)}
FAMILY = "allen-pv-peri"
CPU = torch.device("cpu")
Spikes = dict[str, list[tuple[int, int, float]]]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, which on a busy machine wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def record(loop: Any, samples: int) -> tuple[dict[str, Any], Spikes]:
    """Voltage [cells, samples] of every population, and its spikes as (sample, cell, ms)."""
    voltage: dict[str, list[Any]] = {}
    spikes: Spikes = {}
    while loop.position < samples:
        start = loop.position
        for name, each in loop.advance(min(loop.block_samples, samples - start)).items():
            voltage.setdefault(name, []).append(each.voltage)
            told = zip(each.event_sample, each.event_cell, each.event_time, strict=True)
            spikes.setdefault(name, []).extend(
                (start + int(k), int(i), round(start * 0.1 + float(t), 6)) for k, i, t in told
            )
    return {name: np.concatenate(parts, axis=1) for name, parts in voltage.items()}, spikes


def with_all_synapses(core: str = "integrate-and-fire", **changes: Any) -> dict[str, Any]:
    """The helpers' network with every kind of synapse and stimulus the device loop makes itself or takes over."""
    data = network_data()
    ampa = data["synapses"]["ampa"]
    release = {"tsodyks_markram": {"U": 0.5, "tau_rec": "80 ms", "tau_facil": "20 ms"}}
    data["synapses"] |= {
        "depressing": {**ampa, "plasticity": release},
        "slow": {"model": "alpha", "decay": "8 ms", "reversal": "-75 mV"},
        "nmda": {"model": "nmda", "rise": "2 ms", "decay": "60 ms", "reversal": "0 mV", "magnesium": "1 mM"},
    }
    data["projections"][0]["synapse"] = "depressing"
    wired = {"rule": {"fixed_indegree": {"indegree": 5}}, "weight": "0.5 nS", "delay": "1.5 ms"}
    data["projections"] += [
        {"name": "e-e", "from": "exc", "to": "exc", "synapse": "nmda", **wired},
        {"name": "i-i", "from": "inh", "to": "inh", "synapse": "slow", **wired},
    ]
    common = {"mean": "0 nA", "sigma": "0.05 nA", "tau": "9 ms", "shared": True}
    shots = {"rate": "400 Hz", "amp_mean": "1 nS", "rise": "0.4 ms", "decay": "4 ms", "reversal": "0 mV"}
    data["stimuli"] += [
        {"to": "exc", "name": "common", "ornstein_uhlenbeck": common},
        {"to": "half", "name": "white", "noise": {"mean": "0 nA", "sigma": "0.05 nA", "dt": "0.5 ms"}},
        {"to": "inh", "name": "shots", "shot_noise": {**shots, "amp_std": "0.5 nS"}},
        {"to": "half", "name": "some", "poisson": {"rate": "300 Hz", "synapse": "nmda", "weight": "0.3 nS"}},
    ]
    data["node_sets"] = {"half": {"population": "exc", "fraction": 0.5}}
    return {**data, "core": core, **changes}


# --- randomness and stimuli ---------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=4), st.integers(0, 2**64 - 1))
def test_philox_gives_the_same_words(counter: list[int], key: int) -> None:
    expected = philox_words(np.array(counter, np.int64), np.uint64(key))
    words = random.philox(*(torch.tensor([each]) for each in counter[:3]), counter[3], key)
    assert [int(each) for each in words] == expected.tolist()


@given(st.integers(0, 2**34), st.integers(1, 30), st.integers(0, 2**64 - 1))
def test_normals_are_those_of_the_cpu_at_any_sample(start: int, samples: int, key: int) -> None:
    cells = np.array([0, 3, 70_000], np.int64)
    expected = cpu_normals(np.uint64(key), cells, start, samples)
    found = random.normals(key, torch.from_numpy(cells), start, samples).numpy().T
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
    source = device_source(make_stimulus(spec.stimuli[0], spec, target), CPU)
    current, conductance, reversal = (torch.zeros((200, 90)) for _ in range(3))
    for start in range(0, 200, 25):
        part = slice(start, start + 25)
        source.inject(start, current[part], conductance[part], reversal[part])
    found = conductance if stimulus.reversal is not None else current
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found.numpy().T[[2, 5, 89]], expected, rtol=0, atol=1e-5)
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
    drawn = DevicePoisson(stimulus, CPU)
    found = torch.cat([drawn.counts(index) for index in range(10)]).numpy().T
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
    detector, found = torch.from_numpy(new_detector(6)), []
    last = torch.from_numpy(traces[:, 0].copy())
    for start in range(1, 161, block):
        part = torch.from_numpy(traces[:, start : start + block].T.copy())
        fired, lag, detector = detect(part, last, detector)
        sample, cell = fired.nonzero(as_tuple=True)
        time = (sample + start).double() * 0.1 - lag[sample, cell].double()
        found += zip(cell.tolist(), (sample + start - 1).tolist(), time.tolist(), strict=True)
        last = part[-1]
    assert [each[:2] for each in found] == list(zip(expected[0].tolist(), expected[1].tolist(), strict=True))
    np.testing.assert_allclose([each[2] for each in found], expected[2], rtol=0, atol=1e-6)
    np.testing.assert_allclose(detector.numpy(), state, atol=1e-6)


# --- synapses -----------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([1, 7, 40, delivery.AT_ONCE]))
def test_what_arrives_is_the_cpus_whatever_the_piece(seed: int, at_once: int) -> None:
    """Spikes at random, sent both ways: the sums in fixed point are equal."""
    network = built(network_data(seed=seed % 97))
    loop, device = Loop(network, CORES), DeviceLoop(network, CORES, "cpu")
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
            fired = torch.from_numpy(mask[:, own])
            route.send(0, fired, *fired.nonzero(as_tuple=True))
    for key, bank in loop._banks.items():
        counts, target, amount = bank.underway.packed()
        expected = np.zeros((bank.underway.slots, bank.decaying.size), np.int64)
        np.add.at(
            expected,
            (np.repeat(np.arange(len(counts)), counts), target),
            (amount.astype(float) * FIXED_POINT).astype(np.int64),
        )
        assert np.array_equal(device._banks[key].ring.numpy(), expected)


# --- networks of integrate-and-fire cells -------------------------------------------------------------------


@pytest.mark.parametrize("core", list(CORES))
def test_a_network_agrees_with_the_cpu_until_rounding_shows(core: str) -> None:
    network = built(with_all_synapses()) if core == "integrate-and-fire" else grid(with_all_synapses(core))
    ours, fired = record(DeviceLoop(network, CORES, "cpu"), 1000)
    theirs, expected = record(Loop(network, CORES), 1000)
    for name in theirs:
        assert len(expected[name]) > 25
        assert [each[:2] for each in fired[name]] == [each[:2] for each in expected[name]]
        np.testing.assert_allclose(
            [each[2] for each in fired[name]], [each[2] for each in expected[name]], atol=1e-3
        )
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=2e-2)


def grid(data: dict[str, Any]) -> Network:
    return build_network(network_from(data), {}, {name: core.info for name, core in CORES.items()})


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([1, 3, 8]), st.sampled_from([None, 7, 50]), st.sampled_from(list(CORES)))
def test_same_bits_for_any_block_and_batch(block: int, batch: int | None, core: str) -> None:
    network = grid(with_all_synapses(core))
    whole, spikes = record(DeviceLoop(network, CORES, "cpu"), 240)
    again, same = record(DeviceLoop(network, CORES, "cpu", block, batch), 240)
    assert sum(map(len, spikes.values())) > 20 and same == spikes
    for name, voltage in whole.items():
        assert np.array_equal(again[name], voltage)


@pytest.mark.parametrize("core", list(CORES))
def test_a_device_loop_goes_on_from_its_state(core: str) -> None:
    network = grid(with_all_synapses(core))
    whole = record(DeviceLoop(network, CORES, "cpu"), 400)[0]
    before = DeviceLoop(network, CORES, "cpu")
    record(before, 184)
    state = {name: array.copy() for name, array in before.state().items()}
    record(before, 240)  # what was saved is not touched by going on
    after = DeviceLoop(network, CORES, "cpu", 4, 50)
    after.restore(state)
    assert after.position == 184
    rest = record(after, 400)[0]
    for name, voltage in whole.items():
        assert np.array_equal(rest[name], voltage[:, 184:])
    smaller = with_all_synapses(core)
    smaller["populations"]["inh"]["size"] = 29
    with pytest.raises(OutputError, match="does not fit its network"):
        DeviceLoop(grid(smaller), CORES, "cpu").restore(state)


@pytest.mark.parametrize("report", ["current", "conductance", "synapse-nmda", "synapse-gaba"])
def test_reports_of_inputs_agree(report: str) -> None:
    population = "inh" if report == "conductance" else "exc"
    kept = {"synapses": {"nmda": {"cells": 2}, "gaba": {"cells": 1}}, "current": {"cells": 3}}
    network = built(with_all_synapses(record={**kept, "conductance": {"cells": 2}}))
    loops = Loop(network, CORES), DeviceLoop(network, CORES, "cpu")
    told = DeviceLoop(network, CORES, "cpu", everything=False)
    for _ in range(40):
        for loop in (*loops, told):
            loop.advance()
        expected, found = (loop.inputs(report, population) for loop in loops)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)
        some = told.inputs(report, population)
        wanted = np.flatnonzero(some.any(axis=1))
        assert len(wanted) <= 3 and np.array_equal(some[wanted], found[wanted])
    assert expected.any()


def test_only_recorded_voltages_leave_the_device() -> None:
    network = built(network_data())  # records three cells
    response = DeviceLoop(network, CORES, "cpu", everything=False).advance()
    assert sum(int(each.voltage.any(axis=1).sum()) for each in response.values()) in (3, 6)
    network = built(network_data(record={}))
    response = DeviceLoop(network, CORES, "cpu", everything=False).advance()
    assert all(
        each.voltage.shape == (size, 0) for each, size in zip(response.values(), (90, 30), strict=True)
    )


def test_a_voltage_that_is_no_number_is_named() -> None:
    data = network_data()
    data["populations"] = {"exc": {"size": 90}, "inh": {"size": 30}}
    network = built(data)
    loop = DeviceLoop(network, CORES, "cpu")
    loop.advance()
    loop._groups[0].states[0]["membrane"][95] = np.nan
    with pytest.raises(SolverError, match=r"voltage of cell 5 .* of population inh is not finite at 0\.9 ms"):
        loop.advance()


# --- the trained core ---------------------------------------------------------------------------------------


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
    """The tolerance of the agreement between devices: 0.01 mV in 99 % of samples, spikes within 0.1 ms."""
    network, cores = pv_network(), {"pv-stream": load_core("pv-stream")}
    ours, fired = record(DeviceLoop(network, cores, "cpu"), 2000)
    theirs, expected = record(Loop(network, cores), 2000)
    apart = np.abs(ours["pv"] - theirs["pv"])
    assert np.quantile(apart, 0.99) < 0.01
    told, known = (sorted((cell, time) for _, cell, time in each["pv"]) for each in (fired, expected))
    assert len(known) > 100 and [cell for cell, _ in told] == [cell for cell, _ in known]
    assert max(abs(a - b) for (_, a), (_, b) in zip(told, known, strict=True)) < 0.1


def test_the_trained_core_starts_a_network_like_the_cpu() -> None:
    network, cores = pv_network(**INHIBITION), {"pv-stream": load_core("pv-stream")}
    ours, fired = record(DeviceLoop(network, cores, "cpu"), 400)
    theirs, expected = record(Loop(network, cores), 400)
    assert len(expected["pv"]) > 20
    assert [each[1] for each in fired["pv"]] == [each[1] for each in expected["pv"]]
    assert np.quantile(np.abs(ours["pv"] - theirs["pv"]), 0.99) < 0.05


def test_the_trained_core_in_a_network_fires_as_often_as_on_the_cpu() -> None:
    network, cores = pv_network(**INHIBITION), {"pv-stream": load_core("pv-stream")}
    rates = [
        len(record(loop, 4000)[1]["pv"]) for loop in (DeviceLoop(network, cores, "cpu"), Loop(network, cores))
    ]
    assert min(rates) > 200 and abs(rates[0] - rates[1]) < 0.05 * max(rates)


def test_the_trained_core_gives_the_same_bits_for_any_block_and_after_its_state() -> None:
    network, cores = pv_network(**INHIBITION), {"pv-stream": load_core("pv-stream")}
    whole, spikes = record(DeviceLoop(network, cores, "cpu"), 300)
    again, same = record(DeviceLoop(network, cores, "cpu", 5), 300)
    assert spikes["pv"] and spikes == same and np.array_equal(whole["pv"], again["pv"])
    before, after = (DeviceLoop(network, cores, "cpu") for _ in range(2))
    record(before, 160)
    after.restore(before.state())
    assert np.array_equal(record(after, 300)[0]["pv"], whole["pv"][:, 160:])


def test_inputs_beyond_the_envelope_are_counted_alike() -> None:
    strong = {"mean": "1.9 nA", "sigma": "0.6 nA", "tau": "5 ms"}
    network = pv_network(stimuli=[{"to": "pv", "ornstein_uhlenbeck": strong}])
    cores = {"pv-stream": load_core("pv-stream")}
    counts = []
    for loop in (DeviceLoop(network, cores, "cpu", None, 13), Loop(network, cores)):
        counts.append(sum(loop.advance()["pv"].outside.astype(int) for _ in range(10)))
    assert counts[1].sum() > 100 and np.array_equal(*counts)


# --- refusals -----------------------------------------------------------------------------------------------


def test_what_it_does_not_hold_is_refused_by_name() -> None:
    gap = {"name": "gap", "from": "inh", "to": "inh", "rule": {"pairwise_bernoulli": {"p": 0.1}}}
    coupled = built(network_data(gap_junctions=[{**gap, "conductance": "0.5 nS"}]))
    with pytest.raises(BackendError, match=r"gap junctions \(gap\); take --device cpu"):
        DeviceLoop(coupled, CORES, "cpu")
    data = network_data()
    times = {"tau_plus": "20 ms", "tau_minus": "20 ms"}
    rule = {**times, "a_plus": 0.02, "a_minus": 0.02, "w_max": "6 nS"}
    data["synapses"]["ampa"]["plasticity"] = {"stdp": rule}
    with pytest.raises(BackendError, match=r"stdp \(synapse ampa\); take --device cpu"):
        DeviceLoop(built(data), CORES, "cpu")

    class Other(IntegrateAndFire.__base__):  # type: ignore[misc, name-defined]
        name, zones, step_samples = "other", ("soma",), 1
        begin = advance = None

    with pytest.raises(BackendError, match="does not hold core other"):
        DeviceLoop(built(network_data()), {"integrate-and-fire": Other()}, "cpu")


@pytest.mark.parametrize("options", [{"block_samples": 9}, {"block_samples": 0}, {"batch": 0}])
def test_wrong_blocks_and_batches_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"a block of|a batch of"):
        DeviceLoop(built(network_data()), CORES, "cpu", **options)
