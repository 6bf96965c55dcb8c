"""The network file: what a good one means, and that a bad one names its fault, line and remedy."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from network_text import GOOD, write

from noble_net.config import (
    Distribution,
    NetworkSpec,
    OrnsteinUhlenbeckSpec,
    PopulationSpec,
    RuleSpec,
    config_error,
    dump_network,
    load_network,
    network_from,
    with_overrides,
)
from noble_net.errors import ConfigError


def refused(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_network(write(folder, text))
    return caught.value


def test_values_arrive_in_internal_units(tmp_path: Path) -> None:
    spec = load_network(write(tmp_path, GOOD))
    assert (spec.duration, spec.warmup, spec.dt, spec.seed) == (2000.0, 100.0, 0.1, 1)
    assert spec.source == tmp_path / "net.yaml"
    assert spec.populations["pv"].sample.source == "gaussian"
    assert spec.populations["held"].sample.role == "held_out"
    assert spec.core_of("pv") == "pv-stream"
    assert spec.core_of("lif") == "integrate-and-fire"
    assert spec.synapses["gaba"].kind == "conductance"
    assert spec.synapses["push"].kind == "current"
    first, second, third = spec.projections
    assert first.rule == RuleSpec.model_validate({"pairwise_bernoulli": {"p": 0.2}})
    assert first.weight == Distribution(kind="lognormal", a=1.2, b=0.6, unit="nS")
    assert first.delay == Distribution(kind="normal", a=1.0, b=0.2, low=0.5, unit="ms")
    assert second.weight == Distribution(a=-800.0, unit="pA")
    assert third.rule == RuleSpec.model_validate({"fixed_indegree": {"indegree": 30, "multapses": True}})
    assert third.weight == Distribution(kind="uniform", a=0.0, b=1.0, unit="nS")
    assert spec.record.spikes
    assert spec.record.voltage is not None
    assert (spec.record.voltage.cells, spec.record.voltage.dt) == (20, 0.5)


def test_stimuli_are_typed_and_named(tmp_path: Path) -> None:
    spec = load_network(write(tmp_path, GOOD))
    current, conductance, poisson, step = spec.stimuli
    assert isinstance(current.parameters, OrnsteinUhlenbeckSpec)
    assert (current.parameters.unit, current.parameters.sigma.a) == ("nA", 0.05)
    assert isinstance(conductance.parameters, OrnsteinUhlenbeckSpec)
    assert (conductance.parameters.unit, conductance.parameters.mean.a) == ("nS", 10.0)
    assert poisson.poisson is not None
    assert poisson.poisson.rate == Distribution(a=800.0, unit="Hz")
    assert step.step is not None
    assert (step.step.start, step.step.stop, step.step.amplitude.a) == (100.0, 300.0, 0.3)
    names = ["ornstein_uhlenbeck-pv-0", "ornstein_uhlenbeck-pv-1", "poisson-lif-0", "kick"]
    assert [stimulus.name for stimulus in spec.stimuli] == names
    kinds = ["ornstein_uhlenbeck", "ornstein_uhlenbeck", "poisson", "step"]
    assert [stimulus.kind for stimulus in spec.stimuli] == kinds


def test_integrate_and_fire_gets_all_six_parameters(tmp_path: Path) -> None:
    parameters = load_network(write(tmp_path, GOOD)).populations["lif"].parameters
    assert {name: value.a for name, value in parameters.items()} == {
        "capacitance": 100.0,
        "resistance": 100.0,
        "v_rest": -70.0,
        "v_reset": -65.0,
        "v_threshold": -48.0,
        "refractory": 2.0,
    }
    assert parameters["capacitance"].lowest == 50.0


def test_core_path_is_relative_to_the_file(tmp_path: Path) -> None:
    spec = load_network(write(tmp_path, GOOD.replace("core: pv-stream", "core: ./cores/mine")))
    assert spec.core == str(tmp_path / "cores" / "mine")


BAD = [
    ("seed: 1", "sede: 1", 2, "sede", "did you mean `seed`?"),
    ("seed: 1", "seed: -1", 2, "seed = -1", "greater than or equal to 0"),
    ("seed: 1", "seed: true", 2, "seed", "whole number"),
    ("seed: 1", "seed: 1\nseed: 2", 3, "seed", "given twice"),
    ("name: pv-gamma", "name: a/b", 1, "name = a/b", "pattern"),
    ("name: pv-gamma\n", "", None, "name", "missing"),
    ("duration: 2 s\n", "", None, "duration", "add `duration: …`"),
    ("duration: 2 s", "duration: 2000", 3, "duration = 2000", "has no unit. write a time such as `2 ms`"),
    ("duration: 2 s", "duration: 2 mV", 3, "duration = 2 mV", "is a voltage"),
    ("duration: 2 s", "duration: 2 sec onds", 3, "duration", "not a number with one unit"),
    ("duration: 2 s", "duration: -2 s", 3, "duration = -2 s", "must be at least 0.1 ms"),
    ("duration: 2 s", "duration: .inf", 3, "duration", "has no unit"),
    ("duration: 2 s", "duration: inf s", 3, "duration = inf s", "not a finite number"),
    ("duration: 2 s", "duration: 1e300 s", 3, "duration", "is beyond 1e+09 ms"),
    ("duration: 2 s", "duration: 2.05 ms", 3, "duration", "not a multiple of the 0.1 ms sample"),
    ("duration: 2 s", "duration: [2 s]", 3, "duration", "is a list, not a quantity"),
    ("dt: 0.1 ms", "dt: 0.05 ms", 5, "dt = 0.05 ms", "samples of 0.1 ms"),
    ("size: 400, sample", "size: -4, sample", 8, "populations.pv.size = -4", "greater than or equal to 1"),
    ("size: 400, sample", "size: 0, sample", 8, "populations.pv.size = 0", "greater than or equal to 1"),
    ("size: 400, sample", "size: 4e2, sample", 8, "populations.pv.size", "whole number"),
    (
        "size: 400, sample",
        "size: 1" + "0" * 5000 + ", sample",
        8,
        "populations.pv",
        "is a number of 5001 characters",
    ),
    ("size: 400, sample", "size: 99999999999, sample", 8, "populations.pv.size", "less than or equal"),
    ("from: gaussian", "from: gausian", 8, "populations.pv.sample.from = gausian", "'gaussian'"),
    ("from: gaussian", "source: gaussian", 8, "populations.pv.sample.source", "unknown key"),
    ("spread: 0.5", "spread: 1.5", 8, "populations.pv.sample.spread = 1.5", "less than or equal to 1"),
    (
        "from: gaussian",
        "from: circle, radius: 0.1",
        8,
        "sample.from = circle",
        "needs `around`. add `around: …`",
    ),
    ("from: gaussian", "from: circle, around: a", 8, "sample.from = circle", "`circle` needs `radius`"),
    ("from: gaussian", "from: circle, around: a, radius: 0", 8, "sample.radius = 0", "greater than 0"),
    (
        "from: gaussian",
        "from: circle, around: a, radius: 2",
        8,
        "sample.radius = 2",
        "less than or equal to 1",
    ),
    ("from: gaussian", "from: circle, around: 7, radius: 0.1", 8, "sample.around = 7", "text is wanted"),
    (
        "from: gaussian",
        "from: kde, radius: 0.1",
        8,
        "sample.radius = 0.1",
        "takes no `radius`. remove it; for circle",
    ),
    ("from: gaussian", "from: hull, outside: warn", 8, "sample.outside = warn", "for gaussian, kde, circle"),
    ("from: gaussian", "from: kde, outside: warm", 8, "sample.outside = warm", "'warn'"),
    ("from: gaussian", "from: fixed", 8, "sample.from = fixed", "`fixed` needs `member`"),
    ("from: gaussian", "from: fixed, member: a", 8, "sample.spread = 0.5", "`fixed` takes no `spread`"),
    ("{role: held_out}", "{role: held_out, member: a}", 9, "sample.member = a", "takes no `member`"),
    ("pv: {family: allen-pv-peri, ", "pv: {", 8, "populations.pv", "has no family"),
    ("pv: {family: allen-pv-peri, ", "pv: {famly: x, ", 8, "populations.pv.famly", "`family`"),
    ("  pv: {", "  p v: {", 8, "populations.p v", "pattern"),
    ("capacitance:", "capacity:", 14, "populations.lif.parameters.capacity", "`capacitance`"),
    ("std: 10 pF", "std: 10 nS", 14, "parameters.capacitance.normal.std = 10 nS", "a capacitance such as"),
    (", min: 50 pF", "", 14, "populations.lif.parameters.capacitance.normal", "give `min` of at least"),
    ("-0.048 V", "-66 mV", 15, "populations.lif.parameters.v_threshold = -66 mV", "v_reset"),
    ("rise: 0.3 ms", "rise: 5 ms", 17, "synapses.gaba.rise = 5 ms", "shorter than `decay`"),
    ("rise: 0.3 ms, ", "", 17, "synapses.gaba.model = exp2", "add it, such as `rise: 0.3 ms`"),
    ("model: exp2", "model: exp", 17, "synapses.gaba.rise", "`exp` has no rise time"),
    ("decay: 2 ms,", "decay: 2 ms, plasticity: {}, ", 18, "synapses.ampa.plasticity", "holds no rule"),
    (
        "decay: 2 ms,",
        "decay: 2 ms, plasticity: {tsodyks_markram: {U: 0, tau_rec: 1 s}},",
        18,
        "synapses.ampa.plasticity.tsodyks_markram.U = 0",
        "greater than 0",
    ),
    (
        "decay: 2 ms,",
        "decay: 2 ms, plasticity: {tsodyks_markram: {U: 0.5, tau_rec: 1 s}},",
        39,
        "stimuli[2].poisson.synapse = ampa",
        "a stimulus has no source cells",
    ),
    (
        "decay: 5 ms, reversal: -80 mV",
        "decay: 5 ms, reversal: -80 mV, plasticity: {stdp: {tau_plus: 20 ms, tau_minus: 20 ms, a_plus: 0.01, "
        "a_minus: 0.01, w_max: 3 nS}}",
        26,
        "projections[0].weight",
        "can leave the bounds of synapse gaba's stdp, 0 to 3 nS",
    ),
    (
        "decay: 5 ms, reversal: -80 mV",
        "decay: 5 ms, reversal: -80 mV, plasticity: {stdp: {tau_plus: 20 ms, tau_minus: 20 ms, a_plus: 0.01, "
        "a_minus: 0.01, w_max: 3 pA}}",
        17,
        "synapses.gaba.plasticity.stdp.w_max = 3 pA",
        "give it in nS",
    ),
    ("model: exp2", "model: nmda, kind: current", 17, "synapses.gaba", "has no reversal"),
    (
        "decay: 2 ms,",
        "decay: 2 ms, magnesium: 1 mM,",
        18,
        "synapses.ampa.magnesium",
        "belongs to `model: nmda`",
    ),
    ("model: exp,", "model: nmda,", 18, "synapses.ampa.model", "`nmda` needs `rise`"),
    (
        "model: exp2",
        "model: nmda, magnesium: 1 mV",
        17,
        "synapses.gaba.magnesium",
        "a concentration such as `1 mM`",
    ),
    ("model: exp2", "model: alpha", 17, "synapses.gaba.rise", "`alpha` has no rise time"),
    ("decay: 5 ms, rev", "decay: 0 ms, rev", 17, "synapses.gaba.decay = 0 ms", "at least 0.01 ms"),
    ("decay: 5 ms, rev", "decay: -5 ms, rev", 17, "synapses.gaba.decay = -5 ms", "at least 0.01 ms"),
    ("p: 0.2", "p: 1.2", 24, "projections[0].rule.pairwise_bernoulli.p = 1.2", "less than or equal to 1"),
    ("p: 0.2", "p: -0.2", 24, "projections[0].rule.pairwise_bernoulli.p = -0.2", "greater than or"),
    ("p: 0.2", "p: .nan", 24, "projections[0].rule.pairwise_bernoulli.p", "should be"),
    ("p: 0.2", "prob: 0.2", 24, "projections[0].rule.pairwise_bernoulli.prob", "valid: p, autapses"),
    ("{p: 0.2}", "{}", 24, "projections[0].rule.pairwise_bernoulli.p", "add `p: …`"),
    ("pairwise_bernoulli", "bernoulli", 24, "projections[0].rule.bernoulli", "`pairwise_bernoulli`"),
    ("    from: pv\n", "    from: pvv\n", 22, "projections[0].from = pvv", "did you mean `pv`?"),
    ("    to: lif\n", "    to: lfi\n", 31, "projections[2].to = lfi", "did you mean `lif`?"),
    ("synapse: gaba", "synapse: gabba", 25, "projections[0].synapse = gabba", "did you mean `gaba`?"),
    ("mean: 1.2 nS", "mean: 1.2", 26, "weight.lognormal.mean = 1.2", "has no unit"),
    ("mean: 1.2 nS", "mean: -1.2 nS", 26, "weight.lognormal.mean", "must be above 0"),
    ("std: 0.6 nS", "std: 0.6 pA", 26, "weight.lognormal.std = 0.6 pA", "a conductance such as"),
    (
        "lognormal: {mean: 1.2 nS, std: 0.6 nS}",
        "normal: {mean: 1.2 nS, std: 1 nS}",
        26,
        "weight",
        "min: 0 nS",
    ),
    ("lognormal: {mean: 1.2 nS", "lognormal: {man: 1.2 nS", 26, "weight.lognormal.man", "`mean`"),
    ("lognormal", "lognorm", 26, "projections[0].weight.lognorm", "unknown distribution"),
    (", min: 0.5 ms", "", 27, "projections[0].delay.normal", "give `min` of at least 0.1 ms"),
    ("delay: 1.5 ms", "delay: 0 ms", 28, "projections[1].delay = 0 ms", "at least 0.1 ms"),
    ("delay: 1.5 ms", "delay: 7 s", 28, "projections[1].delay = 7 s", "beyond 6553.5 ms"),
    ("name: lif-pv", "name: pv-pv", 28, "projections[1].name = pv-pv", "projection 0 has that name"),
    ("weight: -0.8 nA", "weight: -0.8 nS", 28, "projections[1].weight = -0.8 nS", "give pA or nA"),
    ("indegree: 30, multapses: true", "indegree: 401", 32, "fixed_indegree.indegree = 401", "at most 400"),
    (
        "delay: 1.5 ms",
        "delay: {distance: {offset: 1 ms}}",
        28,
        "delay.distance.velocity",
        "add `velocity: …`",
    ),
    (
        "delay: 1.5 ms",
        "delay: {distance: {velocity: 1 mm, offset: 1 ms}}",
        28,
        "delay.distance.velocity = 1 mm",
        "a velocity such as `0.3 mm/ms`",
    ),
    (
        "delay: 1.5 ms",
        "delay: {distance: {velocity: 1 mm/ms, offset: 0 ms}}",
        28,
        "delay.distance.offset = 0 ms",
        "at least 0.1 ms",
    ),
    (
        "delay: 1.5 ms",
        "delay: {distance: {velocity: 1 m/s, offset: 1 ms}}",
        28,
        "projections[1].delay",
        "lif has no `position`",
    ),
    ("one_to_one", "{all_to_all: {p: 1}}", 28, "projections[1].rule.all_to_all.p", "valid: autapses"),
    ("low: 0 nS", "low: 2 nS", 34, "projections[2].weight.uniform.low = 2 nS", "above `high`"),
    ("low: 0 nS", "low: -1 nS", 34, "projections[2].weight", "fall below 0"),
    ("mean: 0.25 nA, ", "mean: 2 nS, ", 37, "stimuli[0].ornstein_uhlenbeck.mean = 2 nS", "reversal"),
    ("sigma: 50 pA", "sigma: 3 nS", 37, "stimuli[0].ornstein_uhlenbeck.sigma = 3 nS", "a current such as"),
    ("sigma: 50 pA", "sigma: -3 pA", 37, "stimuli[0].ornstein_uhlenbeck.sigma = -3 pA", "at least 0 nA"),
    ("- {to: lif, poisson", "- {to: lfi, poisson", 39, "stimuli[2].to = lfi", "did you mean `lif`?"),
    ("synapse: ampa, weight: 0.5", "synapse: amp, weight: 0.5", 39, "stimuli[2].poisson.synapse", "`ampa`"),
    ("weight: 0.5 nS", "weight: 0.5 pA", 39, "stimuli[2].poisson.weight = 0.5 pA", "give nS"),
    ("stop: 0.3 s", "stop: 0.1 s", 40, "stimuli[3].step.stop = 0.1 s", "not after `start`"),
    ("name: kick, ", "name: poisson-lif-0, ", 40, "stimuli[3].name", "rename one"),
    ("to: lif, step: {", "to: lif, stop: {", 40, "stimuli[3].stop", "did you mean `step`?"),
    ("spikes: all", "spikes: some", 42, "record.spikes = some", "neither `all` nor `none`"),
    ("cells: 20", "cells: -1", 43, "record.voltage.cells = -1", "at least 1"),
    ("dt: 0.5 ms", "dt: 0.25 ms", 43, "record.voltage.dt = 0.25 ms", "multiple"),
    ("cells: 20, dt", "cells: fee, dt", 43, "record.voltage.cells", "did you mean `few`?"),
    ("[0, 5, 7]", "[0, 5, 400]", 45, "node_sets.few.cells", "numbered 0 to 399"),
    ("0.2 nA]", "0.2 nS]", 46, "node_sets.low.where.I_thr[1] = 0.2 nS", "a current such as"),
    ("to: lif, step: {amp", "to: lif, linear: {amp", 40, "stimuli[3].linear.amplitude", "valid: amp_start"),
    ("poisson: {rate", "poisson: {rate_table: a.csv, rate", 39, "stimuli[2].poisson", "either `rate` or"),
    ("name: pv-gamma", "name: !!python/name:os.system x", 1, "name", "tag"),
    ("record:", "record: &a\n  again: *a", None, "", ""),
    ("record:", "record:\n  <<: {spikes: none}", 42, "record", "merging"),
    ("record:", "record: {", 43, "", "not valid YAML"),
    ("seed: 1", "1: 1", 2, "", "cannot be a key"),
    ("seed: 1", "? [a, b]\n: 1", 2, "", "cannot be a key"),
    ("seed: 1", "seed: 2001-01-01", 2, "seed", "tag"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "message"), BAD)
def test_fault_is_named_with_line_key_and_remedy(
    tmp_path: Path, old: str, new: str, line: int | None, key: str, message: str
) -> None:
    assert old in GOOD
    error = refused(tmp_path, GOOD.replace(old, new, 1))
    text = str(error)
    assert key in text
    assert message in text
    assert error.remedy
    assert text.startswith(f"{tmp_path / 'net.yaml'}:{line or ''}")
    assert len(text) < 400


def test_no_populations(tmp_path: Path) -> None:
    error = refused(tmp_path, "name: a\nduration: 1 s\npopulations: {}\n")
    assert "net.yaml:3: populations: there is no population. add one, such as" in str(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"- a\n- b\n", "holds a list"),
        (b"just text", "holds a str"),
        (b"name: caf\xe9\n", "is not UTF-8 text. save the file as UTF-8"),
        (b"name: a\x00b\n", "not valid YAML"),
        (b"a: 1\n---\nb: 1\n", "not valid YAML"),
        (b"#" * 1_000_001, "is larger than 1 MB"),
        (b"[" * 50_000, "nested deeper"),
        (b"a: " + b"[" * 60 + b"]" * 60, "nested deeper"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8 text"),
        (b"a: {" * 10_000, "nested deeper"),
        (b"- " * 10_000, "nested deeper"),
        (b"a: &a [*a]", "nested deeper"),
        (b"a: &a {b: 1}\nc: {<<: *a}", "merging (`<<`) is not allowed"),
        (b"a: !!python/object/apply:os.system [touch x]", "the tag !!python/object/apply:os.system is not"),
        (b"a: !!binary aGk=", "the tag !!binary is not allowed"),
        (b"a: " + b"!" * 9_000, "is not allowed"),
        (b"a: *" + b"b" * 9_000, "found undefined alias"),
        (b"b" * 900 + b": 1\n", "unknown key"),
        (b"a: 0x" + b"f" * 9_000, "is a number of 9002 characters"),
        (b"a: " + b"9" * 9_000, "is a number of 9000 characters"),
        (b'name: "\\ud800"', "holds half of a character"),
        (b'name: "\\e[2J\\u202e"', r"name = \x1b[2J\u202e: "),
    ],
    ids=itertools.count(),
)
def test_files_that_are_no_network_at_all(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "net.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"net\.yaml") as caught:
        load_network(path)
    assert message in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 700


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("size: 400, sample: {from", "size: 1e999, sample: {from", "size = inf: is a float"),
        ("size: 400, sample: {from", f"size: {10**30}, sample: {{from", "should be less than or equal to"),
        ("duration: 2 s", "duration: 1e999 s", "is not a finite number"),
        ("duration: 2 s", "duration: .nan s", "is not a finite number"),
        ("duration: 2 s", "duration: 1e300 s", "is beyond 1e+09 ms"),
        ("duration: 2 s", "duration: 9**9**9 s", "is not a number with one unit"),
        ("p: 0.2", "p: .nan", "projections[0].rule.pairwise_bernoulli.p = nan"),
        ("mean: 1.2 nS", "mean: 1e999 nS", "is not a finite number"),
        ("core: pv-stream", "core: ~nobody-here/core", "is no path that can be followed"),
        ("core: pv-stream", "core: " + "c" * 300, "is longer than any name"),
        ("{pairwise_bernoulli: {p: 0.2}}", "{table: {file: ~nobody-here/t.csv}}", "is no path that can be"),
        ("{pairwise_bernoulli: {p: 0.2}}", f"{{table: {{file: {'t' * 300}.csv}}}}", "more than 255 bytes"),
        ("{pairwise_bernoulli: {p: 0.2}}", '{table: {file: "a\\0.csv"}}', "is no path. give the path"),
    ],
)
def test_numbers_and_paths_beyond_measure(tmp_path: Path, key: str, value: str, message: str) -> None:
    assert key in GOOD
    error = refused(tmp_path, GOOD.replace(key, value, 1))
    assert message in str(error) and error.line


def test_alias_bomb_is_refused(tmp_path: Path) -> None:
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12))
    error = refused(tmp_path, f"l0: &l0 [x]\n{levels}\n")
    assert "holds more than 100000 values" in str(error)


def test_plain_aliases_are_allowed(tmp_path: Path) -> None:
    text = GOOD.replace("delay: 1.5 ms", "delay: &d 1.5 ms").replace("delay: 1 ms", "delay: *d")
    assert load_network(write(tmp_path, text)).projections[2].delay.a == 1.5


def test_missing_unreadable_and_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_network(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="this is a directory"):
        load_network(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_network(tmp_path / ("x" * 5000))
    with pytest.raises(ConfigError, match="there is no such file"):
        load_network("a\0b")


def test_first_fault_by_line_is_reported(tmp_path: Path) -> None:
    error = refused(tmp_path, GOOD.replace("p: 0.2", "p: 2").replace("seed: 1", "seed: x"))
    assert error.line == 2


def test_later_stages_find_the_line(tmp_path: Path) -> None:
    spec = load_network(write(tmp_path, GOOD))
    error = config_error(spec, ("synapses", "gaba", "zone"), "core has no such zone", "it has dendrite")
    assert str(error) == (
        f"{tmp_path / 'net.yaml'}:17: synapses.gaba.zone = soma: core has no such zone. it has dendrite"
    )
    assert spec.where(("projections", 0, "source")).line == 22
    assert spec.where(("projections", 0, "delay", "mean")).key == "projections[0].delay.normal.mean"
    assert spec.where(("projections", 0, "delay")).line == 27
    assert spec.where(("synapses", "push", "zone")).line == 19  # left out: the synapse's own line


def test_overrides_are_checked_again(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    spec = load_network(path, {"seed": 7, "duration": "500 ms"})
    assert (spec.seed, spec.duration) == (7, 500.0)
    assert spec.source == path
    assert with_overrides(spec, {"duration": 100.0}).duration == 100.0
    for bad in ({"seed": -1}, {"duration": "3"}, {"duration": "-3 s"}, {"sead": 1}):
        with pytest.raises(ConfigError, match="<override>"):
            load_network(path, bad)


def test_building_from_python_takes_internal_units(tmp_path: Path) -> None:
    cell = PopulationSpec(size=3, core="integrate-and-fire", parameters={"v_rest": Distribution(a=-60.0)})
    spec = NetworkSpec(name="three", duration=10.0, populations={"cell": cell})
    assert spec.populations["cell"].parameters["v_rest"] == Distribution(a=-60.0, unit="mV")
    assert (
        network_from(
            {
                "name": "three",
                "duration": "10 ms",
                "populations": {
                    "cell": {"size": 3, "core": "integrate-and-fire", "parameters": {"v_rest": "-60 mV"}}
                },
            }
        )
        == spec
    )
    assert load_network(write(tmp_path, dump_network(spec))) == spec
    with pytest.raises(ConfigError, match="duration = 10: has no unit"):
        network_from({"name": "three", "duration": 10, "populations": {"cell": {"size": 3, "family": "x"}}})


def test_dump_reads_back_equal(tmp_path: Path) -> None:
    spec = load_network(write(tmp_path, GOOD))
    again = load_network(write(tmp_path, dump_network(spec)))
    assert again == spec
    assert with_overrides(spec, {"seed": 2}) != spec
