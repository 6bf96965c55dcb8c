TITLE One side of a gap junction
COMMENT
i = 0.001*g*(v - other), with g in nS and other a pointer to the voltage on the other side. Both sides of a junction need
one. NEURON's matrix couples no two cells, so the other voltage is that at the start of the step.
ENDCOMMENT

NEURON {
    POINT_PROCESS NobleGap
    POINTER other
    RANGE g, i
    NONSPECIFIC_CURRENT i
}

UNITS {
    (nA) = (nanoamp)
    (mV) = (millivolt)
    (nS) = (nanosiemens)
}

PARAMETER {
    g = 0 (nS)
}

ASSIGNED {
    v (mV)
    other (mV)
    i (nA)
}

BREAKPOINT {
    i = 0.001*g*(v - other)
}
