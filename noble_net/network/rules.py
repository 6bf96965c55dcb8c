"""Connection rules: which cells a projection joins.

Drawn from streams keyed by the projection's name, so that a projection depends on nothing but the seed, its
name, its rule and its two populations. Rules whose cost could matter take time with their synapses, not with
the pairs. Per target cell, each from its own stream:

- ``pairwise_bernoulli``: every pair independently with probability p (in-degree is binomial);
- ``pairwise_poisson``: every pair a Poisson number of synapses;
- ``fixed_indegree``: a random subset of that many sources (with multapses: independent draws);
- ``distance``: every pair independently with a probability that falls with its distance;
- ``small_world``: the nearest neighbours on a ring, some replaced by random cells.

Per source cell: ``fixed_outdegree``. As a whole, keyed by the projection alone, so that whoever draws it
draws the same: ``fixed_total_number`` and ``graph``. Nothing random: ``all_to_all``, ``one_to_one`` (source i
to target i), ``table``, ``sonata`` and graph files, taken as they are.

Without autapses a cell never projects to itself, where source and target are the same population.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from noble_net.network import wiring_kernels
from noble_net.network.geometry import DistanceDraw, Places
from noble_net.network.given import Edges, GivenError, NodeIds, edges_of, read_graph, read_sonata, read_table
from noble_net.network.rows import Rows, grown_rows, only, rows_of
from noble_net.network.threads import Block, blocks_of, in_threads
from noble_net.specs import given_rules
from noble_net.specs import rule_parameters as specs
from noble_net.specs.graphs import generators, parameters_of
from noble_net.specs.rule_parameters import Ends
from noble_net.specs.rules import RuleSpec
from noble_net.types import Int32, Int64


class Setting(NamedTuple):
    """What a rule draws with: the populations, its key, their positions, what weights in files mean, and the node ids
    that SONATA files know the cells by. ``own``: the target cells whose synapses are wanted, if not all."""

    ends: Ends
    key: np.uint64
    places: Places | None = None
    conductance: bool = False
    nodes: NodeIds = (None, None)
    own: range | None = None


def draw_rows(rule: RuleSpec, setting: Setting) -> Rows:
    """The synapses of a rule, by target cell; without those of others than its `own`, where the setting names any.

    What is drawn per target is then drawn for those alone, the rest as a whole before it is cut.

    Raises GivenError for a file or generator that does not fit, ValueError for what the specs would refuse.
    """
    return only(_DRAW[rule.kind](rule.parameters, setting), setting.own)


def expected_size(rule: RuleSpec, setting: Setting) -> int:
    """Number of synapses a rule is going to give: exact, or the mean for a random number.

    Reads what the rule reads: a file is read whole, a graph is generated.
    """
    ends, found = setting.ends, rule.parameters
    pairs = ends.targets * ends.candidates(getattr(found, "autapses", False))
    match found:
        case specs.PairwiseBernoulliSpec():
            return round(pairs * found.p)
        case specs.PairwisePoissonSpec():
            return round(pairs * found.mean)
        case specs.FixedIndegreeSpec():
            return ends.targets * found.indegree
        case specs.FixedOutdegreeSpec():
            return ends.sources * found.outdegree
        case specs.FixedTotalNumberSpec():
            return found.number
        case specs.SmallWorldSpec():
            return ends.targets * found.neighbours
        case specs.DistanceSpec():
            own = ends.targets * found.p0 if ends.within and not found.autapses else 0
            return max(round(DistanceDraw(found, _places(setting)).expected_size() - own), 0)
        case specs.AllToAllSpec():
            return pairs
        case specs.OneToOneSpec():
            return ends.targets
    return len(draw_rows(rule, setting).source)


def _bernoulli(rule: specs.PairwiseBernoulliSpec, setting: Setting) -> Rows:
    ends = setting.ends
    candidates = ends.candidates(rule.autapses)
    if rule.p in (0.0, 1.0):
        return _without_self(_full(candidates if rule.p else 0, setting), ends, rule.autapses)
    log_miss = float(np.log1p(-rule.p))

    def fill(first: int, indptr: Int64, out: Any) -> int:
        return wiring_kernels.bernoulli_fill(setting.key, first, indptr, out, candidates, log_miss)

    rows = grown_rows(fill, ends.targets, ends.targets * candidates * rule.p, setting.own)
    return _without_self(rows, ends, rule.autapses)


def _poisson(rule: specs.PairwisePoissonSpec, setting: Setting) -> Rows:
    ends = setting.ends
    candidates = ends.candidates(rule.autapses)
    if rule.mean == 0.0:
        return _full(0, setting)

    def fill(first: int, indptr: Int64, out: Any) -> int:
        return wiring_kernels.poisson_fill(setting.key, first, indptr, out, candidates, rule.mean)

    rows = grown_rows(fill, ends.targets, ends.targets * candidates * rule.mean, setting.own)
    return _without_self(rows, ends, rule.autapses)


def _subsets(key: np.uint64, indptr: Int64, candidates: int, repeat: bool) -> Int32:
    """`wiring_kernels.subset_fill` of all rows."""
    source = np.empty(indptr[-1], np.int32)

    def fill(block: Block) -> None:
        wiring_kernels.subset_fill(key, indptr, candidates, repeat, *block, source)

    in_threads(fill, blocks_of(indptr))
    return source


def _fixed_indegree(rule: specs.FixedIndegreeSpec, setting: Setting) -> Rows:
    ends = setting.ends
    candidates = ends.candidates(rule.autapses)
    _need_room(rule.indegree, candidates, rule.multapses)
    indptr = _pointers(np.full(ends.targets, rule.indegree, np.int64), setting)
    source = _subsets(setting.key, indptr, candidates, rule.multapses)
    return _without_self(Rows(indptr, source), ends, rule.autapses)


def _fixed_outdegree(rule: specs.FixedOutdegreeSpec, setting: Setting) -> Rows:
    """The fixed in-degree with source and target exchanged."""
    ends = setting.ends
    turned = Ends(ends.targets, ends.sources, ends.within)
    same = specs.FixedIndegreeSpec(indegree=rule.outdegree, autapses=rule.autapses, multapses=rule.multapses)
    by_source = _fixed_indegree(same, setting._replace(ends=turned, own=None))
    return Rows(*wiring_kernels.transpose(by_source.indptr, by_source.source, ends.targets))


def _fixed_total_number(rule: specs.FixedTotalNumberSpec, setting: Setting) -> Rows:
    """How many synapses each target gets, then which, as in the fixed in-degree."""
    ends = setting.ends
    candidates = ends.candidates(rule.autapses)
    _need_room(rule.number, candidates * ends.targets, rule.multapses)
    stream = np.random.Generator(np.random.Philox(key=np.array([setting.key, 0], np.uint64)))
    if rule.multapses:
        counts = stream.multinomial(rule.number, np.full(ends.targets, 1 / ends.targets))
    else:
        counts = _subset_counts(stream, rule.number, candidates, ends.targets)
    indptr = _pointers(counts.astype(np.int64), setting)
    source = _subsets(setting.key, indptr, candidates, rule.multapses)
    return _without_self(Rows(indptr, source), ends, rule.autapses)


def _subset_counts(stream: np.random.Generator, number: int, candidates: int, targets: int) -> Int64:
    """In-degrees of a uniformly random set of ``number`` pairs.

    Pairs taken independently, which makes the in-degrees binomial, then a few more taken or given back at
    random until the number is right: given its size, such a set is uniform at every stage.
    """
    pairs = candidates * targets
    counts = stream.binomial(candidates, number / pairs if pairs else 0.0, targets).astype(np.int64)
    missing = number - int(counts.sum())
    urn = counts if missing < 0 else candidates - counts
    drawn = _distinct(stream, abs(missing), int(urn.sum()))
    change = np.bincount(np.searchsorted(np.cumsum(urn), drawn, side="right"), minlength=targets)
    found: Int64 = counts + np.sign(missing) * change
    return found


def _distinct(stream: np.random.Generator, wanted: int, below: int) -> Int64:
    """A uniformly random set of different numbers, by drawing again for those that came twice."""
    found = np.empty(0, np.int64)
    while len(found) < wanted:
        more = stream.integers(0, below, wanted - len(found), dtype=np.int64)
        found = np.unique(np.concatenate([found, more]))
    return found


def _all_to_all(rule: specs.AllToAllSpec, setting: Setting) -> Rows:
    ends = setting.ends
    return _without_self(_full(ends.candidates(rule.autapses), setting), ends, rule.autapses)


def _one_to_one(rule: specs.OneToOneSpec, setting: Setting) -> Rows:
    targets = setting.ends.targets
    return Rows(np.arange(targets + 1, dtype=np.int64), np.arange(targets, dtype=np.int32))


def _distance(rule: specs.DistanceSpec, setting: Setting) -> Rows:
    draw = DistanceDraw(rule, _places(setting))
    fill = draw.fill(setting.key, setting.ends.within and not rule.autapses)
    return grown_rows(fill, setting.ends.targets, draw.expected_size(), setting.own)


def _small_world(rule: specs.SmallWorldSpec, setting: Setting) -> Rows:
    cells = setting.ends.targets
    source = wiring_kernels.small_world_fill(setting.key, cells, rule.neighbours, rule.rewire)
    return Rows(np.arange(cells + 1, dtype=np.int64) * rule.neighbours, source)


def _graph(rule: given_rules.GraphSpec, setting: Setting) -> Rows:
    ends = setting.ends
    if rule.file is not None:
        edges = read_graph(rule.file, ends.sources, ends.targets)
        return _listed(edges, setting)
    source, target, *_ = _generated(rule, setting)
    if not rule.autapses:
        others = source != target
        source, target = source[others], target[others]
    if not rule.multapses:
        target, source = np.divmod(np.unique(target * ends.sources + source), ends.sources)
    return rows_of(source, target, ends.targets)


def _generated(rule: given_rules.GraphSpec, setting: Setting) -> Edges:
    """The edges of a generated graph, its nodes numbered in its own order."""
    import networkx

    name, cells = str(rule.generator), setting.ends.sources
    parameters = parameters_of(name)
    arguments = dict(rule.arguments)
    if "n" in parameters:
        arguments.setdefault("n", cells)
    if "seed" in parameters:
        arguments["seed"] = int(setting.key) % 2**32
    try:
        graph = generators()[name](**arguments)
        if not isinstance(graph, networkx.Graph):
            raise GivenError(f"{name} gives no graph", "choose another generator")
        graph = networkx.convert_node_labels_to_integers(graph)
    except GivenError:
        raise
    except Exception as error:  # generators raise whatever their arguments lead to
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise GivenError(f"{name} refuses: {reason[:120]}", "change its arguments") from error
    if len(graph) != cells:
        problem = f"{name} gives {len(graph)} nodes for {cells} cells"
        raise GivenError(problem, "change its arguments or the population's size")
    return edges_of(graph, name, cells, cells)


def _table(rule: given_rules.TableSpec, setting: Setting) -> Rows:
    return _listed(read_table(rule.file, setting.ends.sources, setting.ends.targets), setting)


def _sonata(rule: given_rules.SonataSpec, setting: Setting) -> Rows:
    ends = setting.ends
    return _listed(read_sonata(rule, ends.sources, ends.targets, setting.conductance, setting.nodes), setting)


def _listed(edges: Edges, setting: Setting) -> Rows:
    return rows_of(edges.source, edges.target, setting.ends.targets, edges.weight, edges.delay)


def _full(candidates: int, setting: Setting) -> Rows:
    indptr = _pointers(np.full(setting.ends.targets, candidates, np.int64), setting)
    source = np.arange(candidates, dtype=np.int32)
    return Rows(indptr, np.tile(source, int(indptr[-1]) // candidates if candidates else 0))


def _pointers(counts: Int64, setting: Setting) -> Int64:
    """Row pointers of so many synapses per target, none onto others than the setting's own."""
    indptr = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=indptr[1:])
    own = setting.own
    return indptr if own is None else np.clip(indptr, indptr[own.start], indptr[own.stop]) - indptr[own.start]


def _without_self(rows: Rows, ends: Ends, autapses: bool) -> Rows:
    """Candidates as cells: where a cell is no candidate for itself, those from its number on move up."""
    if ends.within and not autapses:
        wiring_kernels.skip_self(rows.indptr, rows.source)
    return rows


def _need_room(wanted: int, places: int, multapses: bool) -> None:
    if wanted > (0 if places < 1 else wanted if multapses else places):
        raise ValueError(f"{wanted} synapses with {places} candidates")


def _places(setting: Setting) -> Places:
    if setting.places is None:
        raise ValueError("a rule that depends on distance needs positions")
    return setting.places


_DRAW: dict[str, Callable[[Any, Setting], Rows]] = {
    "pairwise_bernoulli": _bernoulli,
    "pairwise_poisson": _poisson,
    "fixed_indegree": _fixed_indegree,
    "fixed_outdegree": _fixed_outdegree,
    "fixed_total_number": _fixed_total_number,
    "all_to_all": _all_to_all,
    "one_to_one": _one_to_one,
    "distance": _distance,
    "small_world": _small_world,
    "graph": _graph,
    "table": _table,
    "sonata": _sonata,
}
