"""What a core was trained on, and what is said of cells driven beyond it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from noble_net import load_family, network_from, simulate
from noble_net.config import dump_network
from noble_net.errors import CheckpointError, EnvelopeWarning
from noble_net.surrogate.envelope import Envelope, ZoneEnvelope
from noble_net.surrogate.streaming import StreamingCore
from noble_net.training.ranges import envelope_of
from noble_net.training.streams import TrainingData
from noble_net.types import Drive

CHECKPOINT = Path(__file__).parent.parent / "surrogate/checkpoints/pv-stream"
FAMILY = "allen-pv-peri"


@pytest.fixture
def narrow(tmp_path: Path) -> Path:
    """pv-stream as if it had been trained on currents up to 0.2 nA."""
    folder = tmp_path / "narrow"
    shutil.copytree(CHECKPOINT, folder)
    about = json.loads((folder / "core.json").read_text())
    zone = ZoneEnvelope((-0.2, 0.2), 10.0, 0.0)
    about["envelope"] = Envelope({"soma": zone}, (-120.0, 50.0)).to_json()
    (folder / "core.json").write_text(json.dumps(about))
    return folder


def test_only_samples_beyond_the_envelope_count_and_nothing_else_changes(narrow: Path) -> None:
    plain, core = StreamingCore.load(CHECKPOINT), StreamingCore.load(narrow)
    cells = load_family(FAMILY).cells(load_family(FAMILY).ids()[:3])
    drive = Drive.zeros(("soma",), 3, 100)
    drive.current[0, 1, 10:40] = 0.25
    drive.current[0, 2, 50:60] = -0.25
    drive.conductance[0, 2, 90:] = 11.0
    drive.reversal_current[0, 2, 90:] = -75.0 * 11.0
    answers = [each.advance(each.begin(cells), drive)[0] for each in (plain, core)]
    assert np.array_equal(answers[0].voltage, answers[1].voltage)
    assert answers[0].outside.tolist() == [0, 0, 0]
    assert answers[1].outside.tolist() == [0, 30, 20]


def test_limits_never_lie_beyond_the_clamps() -> None:
    wide = Envelope({"soma": ZoneEnvelope((-9.0, 9.0), 1e4, 1e4)}, (-500.0, 500.0))
    assert np.array_equal(wide.limits(), Envelope.clamps(("soma",)).limits())


@pytest.mark.parametrize(
    "told",
    [
        {"zones": {}, "voltage": [-150, 80]},
        {"zones": {"soma": {"current": [1, -1], "conductance": 3}}, "voltage": [-150, 80]},
        {"zones": {"soma": {"current": [-1, 1], "conductance": float("nan")}}, "voltage": [-150, 80]},
        {"zones": {"soma": {"current": [-1, 1], "conductance": 3}}, "voltage": [1]},
        [],
    ],
)
def test_an_envelope_that_makes_no_sense_is_refused(narrow: Path, told: object) -> None:
    about = json.loads((narrow / "core.json").read_text())
    (narrow / "core.json").write_text(json.dumps({**about, "envelope": told}))
    with pytest.raises(CheckpointError, match="envelope is not one of the zones soma"):
        StreamingCore.load(narrow)


def network(core: Path) -> dict[str, object]:
    return {
        "name": "driven",
        "duration": "50 ms",
        "core": str(core),
        "populations": {"calm": {"family": FAMILY, "size": 4}, "pv": {"family": FAMILY, "size": 4}},
        "stimuli": [{"to": "pv", "step": {"amplitude": "0.3 nA", "stop": "25 ms"}}],
    }


def test_a_run_warns_of_a_population_beyond_it(narrow: Path, tmp_path: Path) -> None:
    with pytest.warns(
        EnvelopeWarning, match=r"population pv spent \d\d\.\d% of its cell-time outside"
    ) as seen:
        results = simulate(network_from(network(narrow)), out=tmp_path / "run")
    assert len(seen) == 1
    shares = {name: told["outside_share"] for name, told in results.summary["populations"].items()}
    assert shares["calm"] == 0.0 and shares["pv"] >= 0.5
    assert "pv spent" in (results.path / "report.html").read_text()


def test_the_command_line_tells_it_as_a_message(narrow: Path, tmp_path: Path) -> None:
    file = tmp_path / "driven.yaml"
    file.write_text(dump_network(network_from(network(narrow))))
    command = [sys.executable, "-m", "noble_net", "run", str(file), "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "warning: population pv spent" in done.stderr and "EnvelopeWarning" not in done.stderr


def test_the_extremes_of_the_data_are_found() -> None:
    members, samples = 2, 20
    shape = (members, 2, samples)
    current = np.zeros((members, samples), np.float32)
    current[1, 7], current[0, 3] = 0.5, -0.25
    conductance, reversal, nmda = np.zeros(shape, np.float32), np.zeros(shape, np.float32), None
    conductance[0, 1, 5:10] = 4.0  # one step of the dendrite, at -80 mV and a reversal of 0 mV: 0.32 nA
    conductance[1, 1, 0] = 10.0  # 2 nS in the mean
    voltage = np.full((members, samples + 1), -8000, np.int16)
    voltage[0, 11] = 2000
    code = np.zeros((members, 3), np.float32)
    data = TrainingData(current, conductance, reversal, nmda, None, voltage, code, "")
    found = envelope_of(data, ("soma", "distal"), 5)
    assert found.zones["soma"] == ZoneEnvelope((-0.25, 0.5), 0.0, 0.0)
    assert found.zones["distal"] == ZoneEnvelope((0.0, 0.32), 4.0, 0.0)
    assert found.voltage == (-80.0, 20.0)
