"""The streaming core: agreement with its PyTorch definition, and the contract of every core."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest
import torch

from noble_net.errors import CheckpointError
from noble_net.registry import load_core, load_family
from noble_net.surrogate.checkpoint import Checkpoint
from noble_net.surrogate.streaming import StreamingCore
from noble_net.surrogate.streaming_shape import Slow
from noble_net.surrogate.streaming_torch import Dendrites, StreamingNet
from noble_net.types import CellTable, Drive, Nmda

STEP, CODE, HIDDEN = 5, 13, 48
SHAPES = {
    "encode_in.weight": (HIDDEN, 3 * STEP + CODE),
    "encode_in.bias": (HIDDEN,),
    "encode_out.weight": (HIDDEN, HIDDEN),
    "encode_out.bias": (HIDDEN,),
    "gru.weight_ih_l0": (3 * HIDDEN, HIDDEN),
    "gru.bias_ih_l0": (3 * HIDDEN,),
    "gru.weight_hh_l0": (3 * HIDDEN, HIDDEN),
    "gru.bias_hh_l0": (3 * HIDDEN,),
    "decode_in.weight": (HIDDEN, 2 * HIDDEN),
    "decode_in.bias": (HIDDEN,),
    "decode_out.weight": (STEP, HIDDEN),
    "decode_out.bias": (STEP,),
}


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    g = np.random.default_rng(0)
    return {k: (g.standard_normal(s) / np.sqrt(s[-1])).astype(np.float32) for k, s in SHAPES.items()}


SLOW = (Slow("cai", 1e-4, 4e-4, 50.0, 0.3, 1.2e-4), Slow("h_Kd", 0.0, 0.5, 1500.0, 0.01, 0.4))


def made(weights, precision, slow=()) -> StreamingCore:
    about = {
        "name": "random", "kind": "streaming", "version": 1, "family": "none", "family_hash": "",
        "code": [f"c{i}" for i in range(CODE)], "zones": ["soma"], "step_samples": STEP, "weights_sha256": "",
        "slow": [each._asdict() for each in slow], "direct": "direct.weight" in weights,
    }  # fmt: skip
    return StreamingCore(Checkpoint(about, weights, ""), precision)


@pytest.fixture(scope="module", params=["float32", "bfloat16", "int16", "slow"])
def core(weights, request) -> StreamingCore:
    if request.param != "slow":
        return made(weights, request.param)
    more = {"encode_in.weight": np.insert(weights["encode_in.weight"], [3 * STEP] * 2, 0.3, axis=1)}
    more |= {
        key: np.concatenate([weights[key], weights[key][:2]])
        for key in ("decode_out.weight", "decode_out.bias")
    }
    more["direct.weight"] = 0.1 * weights["encode_in.weight"][:STEP, : 3 * STEP]
    return made({**weights, **more}, "int16", SLOW)


def cells(n: int) -> CellTable:
    return CellTable(n, np.random.default_rng(1).standard_normal((n, CODE)).astype(np.float32))


def drive(n: int, samples: int) -> Drive:
    g = np.random.default_rng(2)
    shape = (1, n, samples)
    conductance = np.abs(g.normal(0, 5, shape)).astype(np.float32)
    return Drive(
        ("soma",),
        g.normal(0.1, 0.2, shape).astype(np.float32),
        conductance,
        (conductance * -70).astype(np.float32),
    )


def cut(d: Drive, cell: slice, sample: slice) -> Drive:
    return Drive(
        d.zones,
        *(np.ascontiguousarray(a[:, cell, sample]) for a in (d.current, d.conductance, d.reversal_current)),
    )


ZONES = ("soma", "proximal", "distal")


def zoned_core(nmda: bool, slow=(), direct=False) -> tuple[StreamingCore, StreamingNet]:
    """A random core with dendrites, an embedded code and one encoder layer, and its definition."""
    torch.manual_seed(3)
    shape = {"code_units": 8, "code_hidden": 12 if direct else None, "encoder_layers": 1, "decoder_units": 20}
    net = StreamingNet(CODE, HIDDEN, STEP, zones=2, nmda=nmda, slow=slow, direct=direct, **shape)
    if net.direct is not None:
        torch.nn.init.normal_(net.direct.weight, std=0.1)
    about = {
        "name": "zoned", "kind": "streaming", "version": 1, "family": "none", "family_hash": "",
        "code": [f"c{i}" for i in range(CODE)], "zones": list(ZONES), "step_samples": STEP, "weights_sha256": "",
        "nmda": nmda, "encoder_layers": 1, "slow": [each._asdict() for each in slow], "direct": direct,
    }  # fmt: skip
    weights = {name: values.numpy().copy() for name, values in net.state_dict().items()}
    return StreamingCore(Checkpoint(about, weights, "")), net


def zoned_drive(n: int, samples: int, nmda: bool) -> Drive:
    g = np.random.default_rng(4)
    shape = (len(ZONES), n, samples)
    conductance = np.abs(g.normal(0, 5, shape)).astype(np.float32)
    current = np.zeros(shape, np.float32)
    current[0] = g.normal(0.1, 0.2, shape[1:])
    half = g.choice([-20.5, -34.5], n).astype(np.float32)
    slow = np.abs(g.normal(0, 3, shape)).astype(np.float32)
    slow[0] = 0.0
    into = Nmda(slow, np.zeros(shape, np.float32), half) if nmda else None
    return Drive(ZONES, current, conductance, (conductance * -40).astype(np.float32), nmda=into)


@pytest.mark.parametrize(
    ("nmda", "slow", "direct"),
    [
        (False, (), False),
        (True, (), False),
        (True, SLOW, False),
        (False, SLOW, False),
        (False, (), True),
        (True, SLOW, True),
    ],
)
def test_dendrites_agree_with_the_pytorch_definition(nmda, slow, direct):
    core, net = zoned_core(nmda, slow, direct)
    table, d = cells(70), zoned_drive(70, 200, nmda)
    state = core.begin(table)
    start, *carried = (torch.from_numpy(state.arrays[name].copy()) for name in ("history", "hidden", "slow"))
    hidden = torch.cat(carried, dim=1)
    response, after = core.advance(state, d)

    def steps(a):
        return torch.from_numpy(a.reshape(*a.shape[:-1], -1, STEP).copy())

    soma = torch.stack([steps(a[0]) for a in (d.current, d.conductance, d.reversal_current)], dim=2)
    means = [steps(a[1:]).mean(-1).permute(1, 2, 0) for a in (d.conductance, d.reversal_current)]
    if d.nmda is not None:
        means += [steps(d.nmda.conductance[1:]).mean(-1).permute(1, 2, 0), torch.from_numpy(d.nmda.half)]
    with torch.no_grad():
        args = torch.from_numpy(table.code), hidden[None], Dendrites(*means)
        expected, last = net.roll_out(soma, start, *args)
    np.testing.assert_allclose(after.arrays["slow"], last[0, :, HIDDEN:], rtol=2e-3, atol=1e-5)
    assert not slow or (after.arrays["slow"].max(axis=0) > [0.3, 0.5]).all(), "nothing flowed in"
    np.testing.assert_allclose(response.voltage, expected.reshape(70, -1).numpy(), atol=2e-2)
    silent = replace(
        d, conductance=np.zeros_like(d.conductance), reversal_current=np.zeros_like(d.conductance)
    )
    other, _ = core.advance(core.begin(table), silent)
    assert np.abs(other.voltage - response.voltage).max() > 0.1  # the dendrites are heard


@pytest.mark.parametrize("slow", [(), SLOW])
def test_teacher_forcing_and_free_runs_are_one_network(slow):
    _, net = zoned_core(True, slow)
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator)

    drive, code = random(4, 6, 3, STEP), random(4, CODE)
    dendrites = Dendrites(
        random(4, 6, 2).abs(), random(4, 6, 2), random(4, 6, 2).abs(), torch.full((4,), -20.5)
    )
    start = -70 + random(4, STEP)
    with torch.no_grad():
        free, last = net.roll_out(drive, start, code, None, dendrites)
        before = torch.cat([start[:, None], free[:, :-1]], dim=1)
        forced, state = net(drive, before, code, None, dendrites)
    assert torch.allclose(free, forced, atol=1e-3) and torch.allclose(last, state, atol=1e-5)
    if not slow:
        return
    # Fed the slow variables that it lets in itself, it answers the same, and what flows in.
    own, fed = net.start(4)[0, :, HIDDEN:], []
    for step in range(6):
        fed.append(own)
        told = torch.stack([*fed, *fed[:1] * (5 - step)], dim=1)
        with torch.no_grad():
            answer, _ = net(drive, before, code, None, dendrites, told)
        own = net.let_in(answer[:, step, STEP:], own)
    assert torch.allclose(answer[..., :STEP], free, atol=1e-3)
    assert torch.allclose(own, last[0, :, HIDDEN:], rtol=1e-4)


def test_zones_of_another_kind_and_wrong_weights_are_refused():
    core, net = zoned_core(False)
    with pytest.raises(ValueError, match="takes zones"):
        core.advance(core.begin(cells(2)), drive(2, STEP))
    weights = {k: v.numpy() for k, v in net.state_dict().items()}
    about = {
        "name": "zoned", "family": "none", "family_hash": "", "code": [f"c{i}" for i in range(CODE)],
        "step_samples": STEP, "encoder_layers": 1, "nmda": False,
    }  # fmt: skip
    for zones, problem in ((["proximal"], "first zone"), (["soma"], "encode_in.weight has the shape")):
        with pytest.raises(CheckpointError, match=problem):
            StreamingCore(Checkpoint({**about, "zones": zones}, weights, ""))
    with pytest.raises(CheckpointError, match="no weight encode_out"):
        StreamingCore(Checkpoint({**about, "zones": list(ZONES), "encoder_layers": 2}, weights, ""))


def test_slow_variables_decay_to_rest_and_stay_within_bounds():
    calcium, _ = SLOW
    core, net = zoned_core(False, SLOW)
    high = torch.tensor([[5.0, 2.0], [0.25, 0.0]])
    left = net.left(high)
    after = calcium.rest + (5.0 * calcium.unit - calcium.rest) * np.exp(-0.5 / calcium.decay)
    assert left[0, 0].item() * calcium.unit == pytest.approx(after, rel=1e-5)
    assert left[0, 1].item() == pytest.approx(2.0 * np.exp(-0.5 / 1500.0))
    assert left[1].tolist() == pytest.approx([0.25, 0.0])
    assert torch.equal(net.let_in(torch.full((2, 2), -1.0), high), left)
    assert (net.let_in(torch.full((2, 2), 1e9), high) == 100.0).all()
    assert core.begin(cells(3)).arrays["slow"].shape == (3, 2)
    assert net.start(2)[0, :, HIDDEN:].tolist() == [pytest.approx([0.3, 0.8])] * 2


@pytest.mark.parametrize("number", [0, 1])
def test_a_core_that_keeps_account_of_a_slow_variable_hears_it(number):
    core, _ = zoned_core(False, SLOW)
    table, d = cells(3), zoned_drive(3, 100, False)
    little, much = core.begin(table), core.begin(table)
    much.arrays["slow"][:, number] = 10.0
    apart = core.advance(little, d)[0].voltage - core.advance(much, d)[0].voltage
    assert np.abs(apart).max() > 1e-3, "without it not a bit would differ"


@pytest.mark.parametrize("features", [{}, {"voltage_base": np.full(5, -70.0)}])
def test_slow_variables_begin_where_those_of_neuron_do(features):
    core, _ = zoned_core(False, SLOW)
    state = core.begin(CellTable(5, cells(5).code, features))
    np.testing.assert_allclose(state.arrays["slow"], [[0.3, 0.8]] * 5, rtol=1e-6)


@pytest.mark.parametrize(
    "slow",
    [
        [{"variable": "cai", "rest": 1.0, "unit": 1.0, "decay": 1.0}],
        [{"variable": "cai", "rest": 1.0, "unit": 0.0, "decay": 1.0, "influx": 1.0, "start": 1.0}],
        [{"variable": "cai", "rest": -1.0, "unit": 1.0, "decay": 1.0, "influx": 1.0, "start": 1.0}],
        [{"variable": "cai", "rest": "a", "unit": 1.0, "decay": 1.0, "influx": 1.0, "start": 1.0}],
        3,
        [1, 2, 3],
    ],
)
def test_slow_variables_that_cannot_be_are_refused(slow):
    _, net = zoned_core(False, SLOW[:1])
    about = {
        "name": "zoned", "family": "none", "family_hash": "", "code": [f"c{i}" for i in range(CODE)],
        "step_samples": STEP, "encoder_layers": 1, "nmda": False, "zones": list(ZONES), "slow": slow,
    }  # fmt: skip
    with pytest.raises(CheckpointError, match="each with a rest, a start, and a unit, a decay and an influx"):
        StreamingCore(Checkpoint(about, {k: v.numpy() for k, v in net.state_dict().items()}, ""))


def test_agrees_with_the_pytorch_definition(weights):
    core = made(weights, "float32")
    net = StreamingNet(CODE, HIDDEN, STEP)
    net.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    table, d = cells(37), drive(37, 200)
    state = core.begin(table)
    start = torch.from_numpy(state.arrays["history"].copy())
    hidden = torch.from_numpy(state.arrays["hidden"].copy())[None]
    response, _ = core.advance(state, d)
    inputs = np.stack([d.current[0], d.conductance[0], d.reversal_current[0]], axis=1)
    x = torch.from_numpy(inputs.reshape(37, 3, -1, STEP).transpose(0, 2, 1, 3).copy())
    with torch.no_grad():
        expected, _ = net.roll_out(x, start, torch.from_numpy(table.code), hidden)
    np.testing.assert_allclose(response.voltage, expected.reshape(37, -1).numpy(), atol=2e-2)


@pytest.mark.parametrize("precision", ["bfloat16", "int16"])
@pytest.mark.parametrize("zoned", [False, True])
def test_rounded_products_are_near_float32s(weights, zoned, precision):
    if zoned:
        exact, net = zoned_core(True)
        about = {"name": "zoned", "family": "none", "family_hash": "", "code": ["c"] * CODE, "zones": list(ZONES),
                 "step_samples": STEP, "nmda": True, "encoder_layers": 1}  # fmt: skip
        own = {k: v.numpy() for k, v in net.state_dict().items()}
        rounded = StreamingCore(Checkpoint(about, own, ""), precision)
        d = zoned_drive(70, 50, True)
    else:
        exact, rounded = made(weights, "float32"), made(weights, precision)
        d = drive(70, 50)
    table = cells(70)
    start = exact.begin(table)
    one, _ = exact.advance(start.copy(), d)
    other, _ = rounded.advance(start, d)
    apart = np.abs(one.voltage - other.voltage)
    # These random nets contract, so that rounding (2^-9 of each factor) stays what it is.
    assert 0 < np.sqrt(np.mean(apart**2)) < 0.02 * one.voltage.std()


@pytest.mark.parametrize("batch", [1, 7, 32, 45])
def test_batches_do_not_matter(core, batch):
    table, d = cells(45), drive(45, 100)
    whole, _ = core.advance(core.begin(table), d)
    for first in range(0, 45, batch):
        part = slice(first, min(first + batch, 45))
        response, _ = core.advance(core.begin(table.take(part)), cut(d, part, slice(None)))
        assert np.array_equal(response.voltage, whole.voltage[part])


@pytest.mark.parametrize("block", [5, 15, 50])
def test_blocks_do_not_matter(core, block):
    table, d = cells(20), drive(20, 150)
    whole, _ = core.advance(core.begin(table), d)
    state, parts = core.begin(table), []
    for start in range(0, 150, block):
        response, state = core.advance(state, cut(d, slice(None), slice(start, start + block)))
        parts.append(response.voltage)
    assert np.array_equal(np.concatenate(parts, axis=1), whole.voltage)


def test_threads_do_not_matter(core):
    table, d = cells(100), drive(100, 100)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one, _ = core.advance(core.begin(table), d)
    finally:
        numba.set_num_threads(threads)
    many, _ = core.advance(core.begin(table), d)
    assert np.array_equal(one.voltage, many.voltage)


def test_causal(core):
    table, d = cells(8), drive(8, 100)
    changed = Drive(d.zones, d.current.copy(), d.conductance, d.reversal_current)
    changed.current[:, :, 60:] += 1.0
    a, _ = core.advance(core.begin(table), d)
    b, _ = core.advance(core.begin(table), changed)
    assert np.array_equal(a.voltage[:, :60], b.voltage[:, :60])
    assert not np.array_equal(a.voltage[:, 60:], b.voltage[:, 60:])


def test_bounded_and_flagged_for_any_finite_input(core):
    d = drive(8, 100)
    d.current[:] *= 1e6
    d.conductance[:] *= 1e6
    response, state = core.advance(core.begin(cells(8)), d)
    assert np.isfinite(response.voltage).all() and (response.outside > 0).all()
    assert response.voltage.min() >= -150 and response.voltage.max() <= 80
    calm, _ = core.advance(state, Drive.zeros(("soma",), 8, 100))
    assert np.isfinite(calm.voltage).all()


def test_state_can_be_kept(core):
    table, d = cells(8), drive(8, 100)
    state = core.begin(table)
    kept = state.copy()
    first, _ = core.advance(state, d)
    again, _ = core.advance(kept, d)
    assert np.array_equal(first.voltage, again.voltage)


@pytest.mark.parametrize("name", ["pv-stream", "pv-zones", "nr5a1-zones"])
def test_every_member_rests_where_its_family_says(name: str) -> None:
    core = load_core(name)
    family = load_family(core.family)
    cells = family.cells(family.ids())
    state, rest = core.begin(cells), cells.features["voltage_base"][:, None]
    for _ in range(5):
        response, state = core.advance(state, Drive.zeros(core.zones, cells.size, 2000))
        assert np.abs(response.voltage - rest).max() < 1.0 and not len(response.event_cell)
