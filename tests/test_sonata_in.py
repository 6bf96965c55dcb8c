"""Circuits of bmtk's NetworkBuilder, and runs of our own, simulated from their SONATA configs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from circuits import EXC, INH, write_circuit, write_simulation
from helpers import CORES
from typer.testing import CliRunner

from noble_net.cli import app
from noble_net.config import dump_network, load_network, network_from
from noble_net.errors import ConfigError
from noble_net.network.build import build_network
from noble_net.reference.neuron_network import simulate_neuron
from noble_net.results import load_results
from noble_net.simulation import describe, load_parts, simulate
from noble_net.sonata_in import load_simulation
from noble_net.sonata_in.mapping import read_cell_types

POINTS = {"model_template": "noble-net:integrate-and-fire"}


@pytest.fixture(scope="module")
def circuit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All nodes integrate-and-fire cells by their own columns, so that one population holds them."""
    folder = tmp_path_factory.mktemp("circuit")
    write_circuit(folder, POINTS, POINTS | {"dynamics_params": {"capacitance": 50.0}})
    write_simulation(folder)
    return folder


def written_edges(circuit: Path, name: str) -> dict[str, np.ndarray]:
    """Source, target, type and group of the edges bmtk wrote, and the columns of its groups."""
    with h5py.File(circuit / "network" / f"{name.replace('_to', '')}_edges.h5") as file:
        root = file[f"edges/{name}"]
        found = {key: root[key][:] for key in ("source_node_id", "target_node_id", "edge_type_id")}
        return found | {
            f"{g}/{key}": each[:] for g in ("0", "1") if g in root for key, each in root[g].items()
        }


def test_a_bmtk_circuit_runs_end_to_end(circuit: Path, tmp_path: Path) -> None:
    file = circuit / "simulation_config.json"
    result = CliRunner().invoke(app, ["run", str(file), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    results = load_results(tmp_path / "run")
    times, cells = (
        results.spike_arrays("cortex") if hasattr(results, "spike_arrays") else results.spikes("cortex")
    )
    assert set(range(5)) <= set(cells.tolist())  # driven by the virtual nodes
    driven = times[np.isin(cells, np.arange(EXC, EXC + INH))]
    assert driven.size and driven.min() > 50.0  # stimulated from 50 ms on
    assert sorted(results.voltage("cortex").columns.tolist()) == [0, 2, 9]


def test_edges_weights_and_delays_are_those_bmtk_wrote(circuit: Path) -> None:
    translation = load_simulation(circuit / "simulation_config.json")
    network = build_network(translation.network, {}, CORES)
    written = written_edges(circuit, "cortex_to_cortex")
    by_name = {each.name: each for each in network.projections}
    assert set(by_name) == {"cortex_to_cortex-AMPA", "cortex_to_cortex-GABA"}
    ampa, gaba = by_name["cortex_to_cortex-AMPA"], by_name["cortex_to_cortex-GABA"]
    of = written["edge_type_id"] == 101
    order = np.lexsort((written["target_node_id"][of], written["source_node_id"][of]))
    np.testing.assert_array_equal(gaba.source_ids, written["source_node_id"][of][order])
    np.testing.assert_array_equal(gaba.target, written["target_node_id"][of][order])
    np.testing.assert_allclose(gaba.weight, written["1/syn_weight"][order] * 1e3, rtol=1e-6)
    np.testing.assert_array_equal(gaba.delay, np.rint(written["1/delay"][order] * 10))
    assert ampa.size == written["0/nsyns"].sum() == 2 * EXC * INH
    assert set(ampa.weight) == {1.0} and set(ampa.delay) == {15}
    synapses = translation.network.synapses
    assert (synapses["AMPA"].rise, synapses["AMPA"].decay, synapses["AMPA"].reversal) == (0.3, 3.0, 0.0)
    assert synapses["GABA"].zone == "soma" and synapses["GABA"].reversal == -80.0
    (cells,) = network.populations
    np.testing.assert_array_equal(cells.cells.parameters["capacitance"], [100.0] * EXC + [50.0] * INH)
    assert len(network.spec.stimuli) == 2 and translation.output == circuit / "output"


def test_a_translation_is_a_network_file(circuit: Path, tmp_path: Path) -> None:
    spec = load_simulation(circuit / "simulation_config.json", overrides={"seed": 7}).network
    assert spec.seed == 7 and spec.source == circuit / "simulation_config.json"
    (tmp_path / "network.yaml").write_text(dump_network(spec))
    assert load_network(tmp_path / "network.yaml") == spec


def test_bmtk_s_config_of_configs_is_read(circuit: Path) -> None:
    simulation = json.loads((circuit / "simulation_config.json").read_text())
    del simulation["network"]
    (circuit / "sim.json").write_text(json.dumps(simulation))
    names = {"network": "circuit_config.json", "simulation": "${configdir}/sim.json"}
    (circuit / "config.json").write_text(json.dumps(names))
    assert (
        load_simulation(circuit / "config.json").network
        == load_simulation(circuit / "simulation_config.json").network
    )


TABLES = {
    "cells.csv": "pop_name,model_template,family,core,member\n"
    "exc,ctdb:Biophys1.hoc,allen-pv-peri,pv-stream,\n"
    ",,,integrate-and-fire,\n",
    "cells.yaml": "cell_types:\n"
    "  - {node_type_id: 100, family: allen-pv-peri}\n"
    "  - {population: cortex, core: integrate-and-fire}\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_says_what_cells_are_and_splits_a_population(tmp_path: Path, name: str) -> None:
    write_circuit(tmp_path, {"I_thr": np.linspace(0.11, 0.25, EXC)})
    (tmp_path / name).write_text(TABLES[name])
    translation = load_simulation(write_simulation(tmp_path), tmp_path / name)
    spec = translation.network
    assert {key: each.size for key, each in spec.populations.items()} == {
        "cortex-allen-pv-peri": EXC,
        "cortex-integrate-and-fire": INH,
    }
    assert any("simulated in parts" in note for note in translation.notes)
    cores, families = load_parts(spec)
    network = build_network(spec, families, {key: core.info for key, core in cores.items()})
    exc = network.population("cortex-allen-pv-peri")
    np.testing.assert_allclose(exc.cells.features["I_thr"], np.linspace(0.11, 0.25, EXC), atol=0.02)
    ends = {each.synapse: (each.source, each.target_population, each.size) for each in network.projections}
    assert ends["AMPA"] == ("cortex-allen-pv-peri", "cortex-integrate-and-fire", 2 * EXC * INH)
    assert ends["GABA"][:2] == ("cortex-integrate-and-fire", "cortex-allen-pv-peri")
    (some,) = [each for each in spec.node_sets.values() if each.population == "cortex-integrate-and-fire"]
    assert some.cells == (1,) and spec.stimuli[0].to == "cortex-integrate-and-fire"


def test_the_tables_and_the_network_of_the_page_are_valid(circuit: Path, tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "sonata.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"```csv\n(.*?)```", page, re.DOTALL)
    rows, network = re.findall(r"```yaml.*?\n(.*?)```", page, re.DOTALL)
    (tmp_path / "cells.csv").write_text(table)
    (tmp_path / "cells.yaml").write_text(rows)
    read = [read_cell_types(tmp_path / f"cells.{kind}") for kind in ("csv", "yaml")]
    for name, core in (("PV1", "pv-stream"), ("LIF_exc", "integrate-and-fire")):
        answers = [each.find({"pop_name": name, "model_template": "ctdb:x"}) for each in read]
        assert answers[0] == answers[1] and answers[0]["core"] == core
    assert read[0].find({"pop_name": "other"}) == {}
    (circuit / "network.yaml").write_text(network)
    described = describe(load_network(circuit / "network.yaml"))
    assert f"exc-inh: exc → inh, sonata, {2 * EXC * INH} synapses" in described
    for module in SONATA_INPUTS:
        assert f"`{module}`" in page


def test_one_member_a_type(tmp_path: Path) -> None:
    write_circuit(tmp_path)
    table = "pop_name,family,core,member\nexc,allen-pv-peri,pv-stream,{}\ninh,allen-pv-peri,pv-stream,\n"
    from noble_net.registry import load_family

    member = load_family("allen-pv-peri").ids()[4]
    (tmp_path / "cells.csv").write_text(table.format(member))
    spec = load_simulation(write_simulation(tmp_path), tmp_path / "cells.csv").network
    assert list(spec.populations) == ["cortex"]
    cores, families = load_parts(spec)
    (cells,) = build_network(spec, families, {key: core.info for key, core in cores.items()}).populations
    assert cells.cells.labels[:EXC] == (member,) * EXC and len(set(cells.cells.labels[EXC:])) == INH


@pytest.mark.filterwarnings("ignore::noble_net.errors.StimulusWarning")  # one begins after this short run
def test_a_circuit_is_the_same_in_neuron(tmp_path: Path) -> None:
    """Replayed spikes arrive along the same edges there: the same cells spike, as often and at the same times."""
    write_circuit(tmp_path)
    (tmp_path / "cells.csv").write_text("family\nallen-pv-peri\n")
    network = load_simulation(
        write_simulation(tmp_path), tmp_path / "cells.csv", {"duration": "45 ms"}
    ).network
    runs = [
        simulate(network, out=tmp_path / "ours", report=False),
        simulate_neuron(network, out=tmp_path / "neuron"),
    ]
    (cells, times), (exact_cells, exact_times) = (
        np.array(sorted(zip(*reversed(run.spike_arrays("cortex")), strict=True))).T for run in runs
    )
    assert len(times) >= 8 and cells.tolist() == exact_cells.tolist()
    np.testing.assert_allclose(times, exact_times, atol=1.0)


SONATA_INPUTS: dict[str, dict[str, Any]] = {
    "linear": {"amp_start": 0.1, "amp_end": 0.2, "delay": 10, "duration": 50},
    "pulse": {"amp_start": 0.3, "width": 2, "frequency": 20, "delay": 10, "duration": 50},
    "sinusoidal": {"amp_start": 0.1, "frequency": 8, "delay": 0, "duration": 200, "dt": 0.1},
    "noise": {"mean": 0.1, "variance": 0.04, "delay": 0, "duration": 200},
    "shot_noise": {
        "rise_time": 0.5,
        "decay_time": 4,
        "rate": 300,
        "amp_mean": 0.05,
        "amp_var": 0.0001,
        "delay": 0,
        "duration": 100,
    },
    "ornstein_uhlenbeck": {"mean": 0.1, "sigma": 0.05, "tau": 5, "delay": 0, "duration": 200},
}


def test_sonata_s_own_inputs_are_stimuli(circuit: Path, tmp_path: Path) -> None:
    shared = {"input_type": "current_clamp", "node_set": "inhibitory"}
    inputs = {module: {"module": module, **shared, **given} for module, given in SONATA_INPUTS.items()}
    inputs["conducts"] = {
        **inputs["ornstein_uhlenbeck"],
        "input_type": "conductance",
        "reversal": -10,
        "mean": 3.0,
    }
    file = write_simulation(circuit, inputs=inputs)
    try:
        spec = load_simulation(file).network
    finally:
        write_simulation(circuit)
    found = {each.name: each for each in spec.stimuli}
    assert {each.to for each in found.values()} == {"inhibitory"}
    assert spec.node_sets["inhibitory"].cells == tuple(range(EXC, EXC + INH))
    assert found["noise"].noise is not None and found["noise"].noise.sigma.a == pytest.approx(0.2)
    assert found["shot_noise"].shot_noise is not None
    assert found["shot_noise"].shot_noise.amp_std.a == pytest.approx(0.01)
    assert found["pulse"].pulse is not None and found["pulse"].pulse.amp.a == 0.3
    assert found["linear"].linear is not None and found["linear"].linear.amp_end.a == 0.2
    conducts = found["conducts"].ornstein_uhlenbeck
    assert conducts is not None and (conducts.reversal, conducts.mean.unit) == (-10.0, "nS")


def test_what_is_not_taken_as_it_stands_is_noted(circuit: Path) -> None:
    file = write_simulation(
        circuit, run={"tstop": 100.0, "dt": 0.025}, conditions={"celsius": 34.0, "v_init": -80.0}, inputs={}
    )
    try:
        result = CliRunner().invoke(app, ["run", str(file), "--dry-run"])
    finally:
        write_simulation(circuit)
    assert result.exit_code == 0, result.output
    for text in ("not 0.025 ms", "(celsius, v_init) are not read", "virtual population lgn has no spikes"):
        assert text in result.output


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"run": {"dt": 0.1}}, "run.tstop", "is missing"),
    ({"run": {"tstop": "long"}}, "run.tstop", "is no number"),
    ({"run": {"tstop": 10, "tstart": 5}}, "run.tstart", "starts at 0 ms"),
    ({"network": "$NOWHERE/circuit.json"}, "network", r"no variable \$NOWHERE. known: \$configdir"),
    ({"network": "nothing.json"}, "network", "there is no file"),
    ({"inputs": {"a": {"module": "seclamp"}}}, "inputs.a.module", "cannot be simulated here"),
    (
        {"inputs": {"a": {"module": "IClamp", "node_set": "inhibitori", "amp": 1}}},
        "inputs.a.node_set",
        "unknown",
    ),
    (
        {"inputs": {"a": {"module": "IClamp", "node_set": {"pop_name": {"$regex": "("}}, "amp": 1}}},
        "inputs.a.node_set",
        r"\$regex '\(' is none",
    ),
    ({"inputs": {"a": {"module": "IClamp", "node_set": "all", "amp": 1}}}, "inputs.a.delay", "is missing"),
    ({"inputs": {"a": {"module": "h5", "input_file": "no.h5"}}}, "inputs.a.input_file", "there is no file"),
    ({"reports": {"a": {"module": "extracellular"}}}, "reports.a.module", "cannot be recorded here"),
    ({"reports": {"a": {"sections": "all", "variable_name": "v"}}}, "reports.a.sections", "one compartment"),
    ({"reports": {"a": {"variable_name": "cai"}}}, "reports.a.variable_name", "cannot be recorded"),
    ({"reports": {"a": {"cells": "all"}, "b": {"cells": "all"}}}, "reports.b", "second report of voltage"),
    ({"connection_overrides": [{"name": "x"}]}, "connection_overrides", "cannot be held"),
]


@pytest.mark.parametrize(("changes", "key", "message"), FAULTS)
def test_faults_name_file_key_and_remedy(
    circuit: Path, changes: dict[str, Any], key: str, message: str
) -> None:
    file = write_simulation(circuit, **changes)
    try:
        with pytest.raises(ConfigError, match=message) as caught:
            load_simulation(file)
    finally:
        write_simulation(circuit)
    assert caught.value.key == key and str(caught.value.file) == str(file) and caught.value.remedy
    assert caught.value.line is not None


def test_a_population_of_edges_that_is_not_described_is_refused(tmp_path: Path, circuit: Path) -> None:
    shutil.copytree(circuit, tmp_path / "c")
    file = next((tmp_path / "c").rglob("circuit_config.json"))
    config = json.loads(file.read_text())
    config["networks"]["edges"][0]["populations"] = {"p": "chemical"}
    file.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="is not what is wanted here") as caught:
        load_simulation(tmp_path / "c" / "simulation_config.json")
    assert caught.value.key == "networks.edges[0].populations.p"


def test_cells_nobody_knows_are_refused_with_the_row_to_write(tmp_path: Path) -> None:
    write_circuit(tmp_path)
    file = write_simulation(tmp_path)
    result = CliRunner().invoke(app, ["run", str(file), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2 and not (tmp_path / "run").exists()
    for text in (
        "node type 100 of population cortex",
        "ctdb:Biophys1.hoc",
        "--cell-types",
        "node_type_id: 100",
    ):
        assert text in result.output
    result = CliRunner().invoke(app, ["run", "quickstart", "--cell-types", str(file)])
    assert result.exit_code == 2 and "is for SONATA" in result.output


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("pop_name,family\nexc,\n", r"cells.csv:2: says neither family nor core"),
        ("pop_name,core\nexc,integrate-and-fire\n", "node type 101 .* is"),
        ("pop_nam,core\nexc,integrate-and-fire\n", "no attribute `pop_nam`, .* did you mean `pop_name`"),
        ("pop_name;core\nexc;integrate-and-fire\n", "its columns are separated by semicolons"),
        ("core\npv-strem\n", "did you mean 'pv-stream'"),
        ("family\nvip-like\n", "which 0 shipped cores know"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, table: str, message: str) -> None:
    write_circuit(tmp_path)
    (tmp_path / "cells.csv").write_text(table)
    with pytest.raises(ConfigError, match=message):
        load_simulation(write_simulation(tmp_path), tmp_path / "cells.csv")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("weight_function", "gaussianLL", "made by bmtk's weight_function 'gaussianLL'"),
        ("model_template", "stp2syn", "of an unknown model, 'stp2syn'"),
        ("dynamics_params", "None.json", "cannot be read as JSON"),
        ("dynamics_params", "{'tau1': 3.0, 'tau2': 1.0}", "tau1 is not below tau2"),
        ("dynamics_params", "{'erev': 0.0}", "its synapses have no tau1"),
        ("delay", None, "has no delay"),
        ("syn_weight", None, "has no weight"),
    ],
)
def test_edges_that_cannot_be_held_are_refused(
    tmp_path: Path, circuit: Path, column: str, value: str | None, message: str
) -> None:
    import pandas as pd

    shutil.copytree(circuit, tmp_path / "c")
    file = tmp_path / "c" / "network" / "cortex_cortex_edge_types.csv"
    table = pd.read_csv(file, sep=" ").astype(object)
    table.loc[0, column] = value
    table.to_csv(file, sep=" ", index=False, na_rep="NULL")
    with pytest.raises(ConfigError, match=message) as caught:
        load_simulation(tmp_path / "c" / "simulation_config.json")
    assert caught.value.key == "networks.edges[0].edges_file" and "edge type 100" in str(caught.value)


OURS: dict[str, Any] = {
    "name": "ours",
    "seed": 3,
    "noise_seed": 2**40,
    "duration": "150 ms",
    "warmup": "20 ms",
    "core": "pv-stream",
    "populations": {
        "pv": {"size": 6, "family": "allen-pv-peri"},
        "lif": {"size": 5, "core": "integrate-and-fire", "parameters": {"v_rest": "-65 mV"}},
    },
    "node_sets": {"two": {"population": "lif", "cells": [1, 3]}},
    "synapses": {
        "ampa": {"model": "exp2", "rise": "0.3 ms", "decay": "3 ms", "reversal": "0 mV"},
        "psc": {
            "model": "exp",
            "decay": "5 ms",
            "plasticity": {"tsodyks_markram": {"U": 0.5, "tau_rec": "100 ms"}},
        },
    },
    "projections": [
        {"name": "a", "from": "lif", "to": "pv", "rule": {"all_to_all": {}}, "synapse": "ampa"}
        | {"weight": {"lognormal": {"mean": "1 nS", "std": "0.5 nS"}}, "delay": "1.5 ms"},
        {"name": "b", "from": "pv", "to": "lif", "rule": {"all_to_all": {}}, "synapse": "psc"}
        | {"weight": "-32 pA", "delay": {"uniform": {"low": "1 ms", "high": "4 ms"}}},
    ],
    "stimuli": [
        {"to": "pv", "ornstein_uhlenbeck": {"mean": "0.5 nA", "sigma": "0.05 nA", "tau": "5 ms"}},
        {"to": "two", "noise": {"mean": "0.3 nA", "sigma": "0.7 nA", "delay": "10 ms"}},
        {"to": "lif", "step": {"amplitude": "0.21 nA", "start": "5 ms", "stop": "120 ms"}},
    ],
    "record": {"voltage": {"cells": ["two", "pv"], "dt": "0.2 ms"}, "synapses": {"ampa": {"cells": "all"}}},
}


def test_a_run_of_ours_is_run_again_from_its_sonata_files(tmp_path: Path) -> None:
    """Same cells, edges and noise from the files alone, and so the same spikes."""
    import libsonata

    first = simulate(network_from(OURS), out=tmp_path / "first", report=False)
    file = tmp_path / "first" / "simulation_config.json"
    inputs = libsonata.SimulationConfig.from_file(str(file)).list_input_names
    assert sorted(inputs) == ["noise-two-0", "ornstein_uhlenbeck-pv-0", "step-lif-0"]
    translation = load_simulation(file)
    assert translation.notes == () and translation.network.name == "ours"
    again = simulate(translation.network, out=tmp_path / "again", report=False)
    for name in ("pv", "lif"):
        for one, other in zip(first.spike_arrays(name), again.spike_arrays(name), strict=True):
            np.testing.assert_array_equal(one, other)
        assert len(first.spike_arrays(name)[0]) > 5
        assert first.recording("synapse-ampa", "pv").equals(again.recording("synapse-ampa", "pv"))
        np.testing.assert_array_equal(first.nodes(name)["label"], again.nodes(name)["label"])
    assert first.voltage("lif").columns.tolist() == again.voltage("lif").columns.tolist() == [1, 3]


def test_the_noise_of_a_run_of_ours_follows_another_seed_unless_it_had_one_of_its_own(tmp_path: Path) -> None:
    for noise_seed, followed in ((None, 7), (5, 5)):
        out, data = tmp_path / str(noise_seed), {**OURS, "noise_seed": noise_seed, "warmup": "0 ms"}
        simulate(network_from(data), out=out, report=False, duration="20 ms")
        again = load_simulation(out / "simulation_config.json", overrides={"seed": 7}).network
        assert again.seed == 7 and again.seed_of_noise == followed


def test_what_sonata_cannot_hold_of_a_run_is_noted_when_it_is_read(tmp_path: Path) -> None:
    gap = {"name": "gap", "from": "lif", "to": "lif", "conductance": "0.5 nS"}
    poisson = {"to": "lif", "poisson": {"rate": "50 Hz", "synapse": "ampa", "weight": "1 nS"}}
    data = {
        **OURS,
        "stimuli": [poisson],
        "gap_junctions": [gap | {"rule": {"pairwise_bernoulli": {"p": 0.4}}}],
    }
    simulate(network_from(data), out=tmp_path / "run", report=False, duration="5 ms")
    notes = "\n".join(load_simulation(tmp_path / "run" / "simulation_config.json").notes)
    assert "left out here: poisson-lif-0\n" in notes + "\n"
    assert "edges gap are gap junctions and are left out" in notes
