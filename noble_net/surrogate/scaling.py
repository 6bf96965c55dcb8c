"""Units inside the streaming core: what its inputs and voltages are multiplied by, and where they are clamped.

Part of a checkpoint's meaning: changing a number here needs a new checkpoint version.
"""

from __future__ import annotations

VOLTAGE_CENTRE, VOLTAGE_SCALE = -75.0, 1.0 / 30.0
VOLTAGE_LOW, VOLTAGE_HIGH = -150.0, 80.0
"""Clamp of every answered voltage, mV."""

CURRENT_SCALE, CURRENT_LIMIT = 5.0, 10.0
"""Per nA of effective current I + (J − G·V)/1000; limit in scaled units (2 nA)."""

CONDUCTANCE_SCALE, CONDUCTANCE_LIMIT = 0.1, 8.0
"""Per nS; limit in scaled units (80 nS)."""

LOCAL_ROUNDS = 2
"""Rounds in which a dendrite's local voltage and its magnesium block are brought to agree."""

SLOW_CENTRE, SLOW_SCALE = 1.0, 2.0
"""Of the root of a slow variable, itself in the unit that core.json gives."""
SLOW_LIMIT = 100.0
"""Where it is clamped, in that unit."""

BLOCK_CENTRE, BLOCK_SCALE = -27.5, 0.1
"""Of the voltage at which magnesium blocks half of the NMDA receptors of the dendrites, mV."""
