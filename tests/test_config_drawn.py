"""Any network file that the schema allows reads back equal."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network_text import write
from ruamel.yaml import YAML

from noble_net.config import dump_network, json_schema, load_network, network_from

SCHEMA = jsonschema.Draft202012Validator(json_schema())
numbers = st.floats(0.2, 1e4, allow_subnormal=False)
names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True)


def distributions(unit: str) -> st.SearchStrategy[Any]:
    def shape(kind: str, a: float, b: float, bounded: bool) -> Any:
        low, high = sorted((a, b))
        if kind == "constant":
            return f"{a!r} {unit}"
        if kind == "uniform":
            return {"uniform": {"low": f"{low!r} {unit}", "high": f"{high!r} {unit}"}}
        values = {"mean": f"{high!r} {unit}", "std": f"{b!r} {unit}", "min": f"{low!r} {unit}"}
        return {kind: values | ({"max": f"{high + 1!r} {unit}"} if bounded else {})}

    kinds = st.sampled_from(["constant", "uniform", "normal", "lognormal", "gamma"])
    times = st.floats(0.2, 6000, allow_subnormal=False)
    return st.builds(shape, kinds, times, times, st.booleans())


samples = st.one_of(
    st.fixed_dictionaries({"spread": st.floats(0, 1)}),
    st.fixed_dictionaries({"from": st.sampled_from(["members", "hull"]), "role": st.just("train")}),
    st.fixed_dictionaries(
        {
            "from": st.sampled_from(["gaussian", "kde"]),
            "outside": st.sampled_from(["allow", "redraw", "warn", "fail"]),
        }
    ),
    st.fixed_dictionaries(
        {"from": st.just("circle"), "around": names, "radius": st.floats(1e-3, 1), "spread": st.floats(0, 1)}
    ),
    st.fixed_dictionaries({"from": st.just("fixed"), "member": names}),
)


def lengths(least: float = -1e6) -> st.SearchStrategy[str]:
    return st.builds("{!r} um".format, st.floats(least, 1e6, allow_subnormal=False))


def intervals() -> st.SearchStrategy[list[str]]:
    pair = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=2)
    return pair.map(lambda ends: [f"{each!r} um" for each in sorted(ends)])


positions = st.one_of(
    st.builds(lambda x, y, z: {"box": {"x": x, "y": y, "z": z}}, intervals(), intervals(), intervals()),
    st.builds(lambda r, z: {"cylinder": {"radius": r, "depth": z}}, lengths(0.1), intervals()),
    st.builds(lambda s: {"lattice": {"spacing": s, "shape": [3, 1, 3]}}, lengths(0.1)),
    st.just({"points": "cells/points.csv"}),
)
anywhere = st.one_of(
    st.sampled_from(
        [
            "all_to_all",
            {"one_to_one": {"autapses": True}},
            {"pairwise_bernoulli": {"p": 0.25}},
            {"fixed_indegree": {"indegree": 4, "autapses": True}},
            {"fixed_outdegree": {"outdegree": 12, "multapses": True}},
            {"fixed_total_number": {"number": 72}},
            {"graph": {"file": "g.graphml"}},
            {"table": {"file": "edges.csv"}},
            {"sonata": {"file": "edges.h5", "population": "a b"}},
        ]
    ),
    st.builds(lambda mean: {"pairwise_poisson": {"mean": mean}}, st.floats(0, 1e6)),
    st.builds(
        lambda p, own, cutoff: {"distance": {"p0": p, **own, **cutoff}},
        st.floats(0, 1),
        st.one_of(
            st.builds(lambda v: {"sigma": v}, lengths(0.1)),
            st.builds(lambda v: {"profile": "exponential", "length": v, "axes": "xz"}, lengths(0.1)),
            st.builds(lambda v: {"profile": "cutoff", "radius": v}, lengths(0.1)),
        ),
        st.one_of(st.just({}), st.builds(lambda v: {"cutoff": v}, lengths(0.1))),
    ),
)
within = st.one_of(
    st.builds(lambda p: {"small_world": {"neighbours": 4, "rewire": p}}, st.floats(0, 1)),
    st.builds(
        lambda p, flag: {"graph": {"generator": "gnp_random_graph", "arguments": {"p": p, "directed": flag}}},
        st.floats(0, 1),
        st.booleans(),
    ),
)


NODE_SETS = {  # names longer than those drawn for populations
    "a-few-cells": {"population": "lif", "cells": [3, 1]},
    "a-part-of-them": {"population": "lif", "fraction": 0.25},
    "with-low-rest": {"population": "lif", "where": {"v_rest": ["-70 mV", "-60.5 mV"], "gbar": [0.1, 3]}},
}


@st.composite
def further_stimuli(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One of every kind, some with a window of their own, to a population or a node set."""
    window = draw(st.sampled_from([{}, {"delay": "0.3 ms"}, {"delay": "1 ms", "duration": "3.7 ms"}]))
    current, time = draw(distributions("nA")), draw(distributions("ms"))
    hertz = {"uniform": {"low": "1 Hz", "high": f"{draw(st.floats(1, 900))!r} Hz"}}
    shape = {"rise": "0.1 ms", "decay": time, "rate": hertz, "amp_mean": current, "amp_std": current}
    afferent = {"synapse": "g", "weight": "1 nS"}
    kinds: dict[str, dict[str, Any]] = {
        "linear": {"amp_start": current, "amp_end": "-1 nA", "duration": "2 ms"},
        "pulse": {"amp": current, "width": "0.5 ms", "frequency": hertz, **window},
        "sinusoidal": {"amp": current, "frequency": hertz, "phase": "12.5 deg", "dt": "0.4 ms", **window},
        "noise": {"mean": current, "sigma": "3 pA", "dt": "0.2 ms", **window},
        "shot_noise": shape | window,
        "current_table": {"file": "a.h5", "dataset": "b", "dt": "0.3 ms", "scale": current},
        "poisson": {
            "rate": hertz,
            "modulation": 0.5,
            "frequency": "3 Hz",
            "phase": "1 rad",
            **afferent,
            **window,
        },
        "synapse_replay": {"file": "a.h5", "population": "x", "map": "all", "probability": 0.5, **afferent},
    }
    to = draw(st.sampled_from(["lif", *NODE_SETS]))
    return [{"to": to, kind: parameters} for kind, parameters in kinds.items()]


reports = st.fixed_dictionaries(
    {"cells": st.sampled_from(["all", 3, "lif", ["lif", *NODE_SETS]])},
    optional={"dt": st.just("0.3 ms"), "stop": st.just("2 s")},
)


@st.composite
def networks(draw: st.DrawFn) -> dict[str, Any]:
    populations = {
        name: {"size": 9, "family": "f", "sample": draw(samples), "position": draw(positions)}
        for name in draw(st.lists(names, min_size=1, max_size=3, unique=True))
    }
    lif = {key: draw(distributions(unit)) for key, unit in (("capacitance", "pF"), ("refractory", "ms"))}
    place = draw(positions)
    populations["lif!"[:3]] = {
        "size": 9,
        "core": "integrate-and-fire",
        "parameters": lif,
        "position": place,
    }
    decay, reversal = draw(numbers), draw(st.floats(-150, 50))
    synapses = {
        "g": {
            "model": draw(st.sampled_from(["exp2", "nmda"])),
            "rise": f"{decay / 2!r} ms",
            "decay": f"{decay!r} ms",
            "reversal": f"{reversal!r} mV",
        },
        "i": {"model": draw(st.sampled_from(["exp", "alpha"])), "decay": f"{decay!r} ms"},
    }
    rate = st.floats(0.01, 1)
    plastic = draw(
        st.sampled_from(
            [
                {},
                {"tsodyks_markram": {"U": draw(rate), "tau_rec": f"{decay!r} ms", "tau_facil": "0.2 s"}},
                {
                    "stdp": {
                        "tau_plus": "20 ms",
                        "tau_minus": f"{decay!r} ms",
                        "a_plus": draw(rate),
                        "a_minus": 0.01,
                        "w_max": "900 nA",
                        "rule": draw(st.sampled_from(["additive", "multiplicative"])),
                    }
                },
            ]
        )
    )
    if "tsodyks_markram" in plastic:
        synapses["i"]["plasticity"] = plastic
    elif plastic:
        synapses["unused"] = {**synapses["i"], "plasticity": plastic}
    ends = st.sampled_from(list(populations))
    projections = []
    for name in draw(st.lists(names, max_size=3, unique=True)):
        synapse, unit = draw(st.sampled_from([("g", "nS"), ("i", "pA"), ("i", "nA")]))
        unit = "pA" if unit == "nA" and draw(st.booleans()) else unit
        weight = f"{draw(st.floats(1e-3, 900))!r} {unit}" if unit == "nA" else draw(distributions(unit))
        source, target = draw(ends), draw(ends)
        delay = draw(distributions("ms"))
        if draw(st.booleans()):
            delay = {"distance": {"velocity": f"{draw(numbers)!r} m/s", "offset": delay}}
        projection = {
            "name": name,
            "from": source,
            "to": target,
            "rule": draw(st.one_of(anywhere, within) if source == target else anywhere),
            "synapse": synapse,
            "weight": weight,
            "delay": delay,
        }
        reads = isinstance(projection["rule"], dict) and {"table", "sonata"} & set(projection["rule"])
        left_out = draw(st.sampled_from(["weight", "delay", "none"])) if reads else "none"
        projections.append({key: value for key, value in projection.items() if key != left_out})
    taken = {projection["name"] for projection in projections}
    gap_junctions = [
        {
            "name": name,
            "from": "lif",
            "to": draw(ends),
            "rule": "all_to_all",
            "conductance": draw(distributions("nS")),
        }
        for name in draw(st.lists(names, max_size=2, unique=True))
        if name not in taken
    ]
    stimuli = draw(
        st.lists(
            st.sampled_from(
                [
                    {
                        "to": "lif",
                        "ornstein_uhlenbeck": {
                            "mean": "0.3 nA",
                            "sigma": f"{draw(numbers)!r} nA",
                            "tau": "5 ms",
                        },
                    },
                    {
                        "to": "lif",
                        "ornstein_uhlenbeck": {
                            "mean": "3 uS",
                            "sigma": "1 nS",
                            "tau": "5 ms",
                            "reversal": "0 mV",
                        },
                    },
                    {"to": "lif", "step": {"amplitude": draw(distributions("nA")), "stop": "1 s"}},
                    *draw(further_stimuli()),
                    {
                        "to": "lif",
                        "poisson": {"rate": f"{draw(numbers)!r} Hz", "synapse": "g", "weight": "1 nS"},
                    },
                ]
            ),
            max_size=4,
        )
    )
    record = {
        "spikes": draw(st.sampled_from(["all", "none"])),
        "voltage": draw(reports),
        "current": draw(reports),
        "synapses": {"g": draw(reports)},
        "rates": {"bin": "1 ms"},
        "edges": draw(st.sampled_from(["auto", True, False])),
    }
    return {
        "name": draw(names),
        "seed": draw(st.integers(0, 2**63 - 1)),
        "duration": f"{draw(st.integers(1, 10**6)) / 10} ms",
        "populations": populations,
        "node_sets": NODE_SETS,
        "synapses": synapses,
        "projections": projections,
        "gap_junctions": gap_junctions,
        "stimuli": stimuli,
        "record": record,
    }


@given(networks())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_network_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("round")
    spec = network_from(data)
    once = dump_network(spec)
    again = load_network(write(folder, once))
    assert again == spec
    assert dump_network(again) == once
    SCHEMA.validate(YAML(typ="safe").load(once))
