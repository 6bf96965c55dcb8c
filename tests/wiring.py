"""Drawing a rule by itself, and small networks around one, for the tests of connection rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from noble_net.config import RuleSpec
from noble_net.network.random import stream_key
from noble_net.network.rules import Setting, draw_rows, expected_size
from noble_net.specs.rule_parameters import Ends

KEY = stream_key(1, "connect", "test")


def drawn(kind: str, sources: int, targets: int, within: bool = False, **parameters: Any) -> Any:
    """Source and target of every synapse, and the size that was expected."""
    rule = RuleSpec.model_validate({kind: parameters})
    setting = Setting(Ends(sources, targets, within), KEY)
    rule.parameters.check(setting.ends)
    rows = draw_rows(rule, setting)
    assert rows.indptr.dtype == np.int64 and rows.source.dtype == np.int32
    target = np.repeat(np.arange(targets), np.diff(rows.indptr))
    assert np.array_equal(np.lexsort((rows.source, target)), np.arange(len(target)))
    assert not len(target) or (rows.source.min() >= 0 and rows.source.max() < sources)
    return rows.source.astype(np.int64), target, expected_size(rule, setting)


def projection(rule: Any, **changes: Any) -> dict[str, Any]:
    fields = {"name": "x", "from": "exc", "to": "inh", "rule": rule, "synapse": "ampa"}
    return {**fields, "weight": "1 nS", "delay": "1 ms", **changes}


def network_file(folder: Path, rule: str, more: str = "weight: 1 nS, delay: 1 ms") -> Path:
    path = folder / "net.yaml"
    path.write_text(
        "name: a\nduration: 10 ms\ncore: integrate-and-fire\n"
        "populations:\n  a: {size: 10}\n  b: {size: 5}\n"
        "synapses: {s: {model: exp, decay: 2 ms, reversal: 0 mV}}\n"
        f"projections:\n  - name: x\n    from: a\n    to: {'a' if 'within' in rule else 'b'}\n"
        f"    rule: {rule.replace('within ', '')}\n    synapse: s\n"
        + "".join(f"    {part}\n" for part in more.split(", ") if part)
    )
    return path
