"""The streaming core: agreement with its PyTorch definition, and the contract of every core."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from noble_net.surrogate.checkpoint import Checkpoint
from noble_net.surrogate.streaming import StreamingCore
from noble_net.types import CellTable, Drive

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


@pytest.fixture(scope="module")
def core(weights) -> StreamingCore:
    about = {
        "name": "random", "kind": "streaming", "version": 1, "family": "none", "family_hash": "",
        "code": [f"c{i}" for i in range(CODE)], "zones": ["soma"], "step_samples": STEP, "weights_sha256": "",
    }  # fmt: skip
    return StreamingCore(Checkpoint(about, weights, ""))


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


def test_agrees_with_the_pytorch_definition(core, weights):
    torch = pytest.importorskip("torch")
    from noble_net.surrogate.streaming_torch import StreamingNet

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
