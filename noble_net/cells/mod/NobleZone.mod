TITLE Conductances spread over a zone of a cell, in proportion to membrane area
COMMENT
Every segment of a zone carries its share of the zone's inputs, and its own voltage acts:
i = 0.1*(g*v - j + B(v)*(g_nmda*v - j_nmda))/zone_area, with g the zone's total conductance (nS), j = sum of g*E (pA),
g_nmda and j_nmda the same before the magnesium block B(v) = 1/(1 + exp(-0.062*(v - half))) (Jahr & Stevens 1990).
The factor: 1 pA/um2 is 0.1 mA/cm2.

The inputs are those of the zone's NobleZoneInput, one place to write to for all its segments, however many cells there
are. They are reached through one POINTER to five numbers that lie side by side, hence VERBATIM: following a POINTER for
each costs four times as much.
ENDCOMMENT

NEURON {
    SUFFIX NobleZone
    POINTER inputs
    RANGE zone_area
    NONSPECIFIC_CURRENT i
}

UNITS {
    (mA) = (milliamp)
    (mV) = (millivolt)
    (um) = (micron)
}

PARAMETER {
    zone_area = 1 (um2) <1e-9, 1e9>
}

ASSIGNED {
    v (mV)
    i (mA/cm2)
    inputs
}

BREAKPOINT {
VERBATIM
    const double* x = &inputs;
    double current = x[0]*v - x[1];
    if (x[2] != 0. || x[3] != 0.) {
        current += (x[2]*v - x[3])/(1. + exp(-0.062*(v - x[4])));
    }
    i = 0.1*current/zone_area;
ENDVERBATIM
}
