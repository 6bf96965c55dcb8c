TITLE Injected current, conductance and reversal current at one place
COMMENT
The three inputs a surrogate core is driven with, placed on the exact cell:
i = (g*v - j)/1000 - i0, with g the total conductance (nS), j = sum of g*E and synaptic currents (pA) and i0 the
injected current (nA). Each is played from a vector of samples held constant in between.
ENDCOMMENT

NEURON {
    POINT_PROCESS NobleDrive
    RANGE i0, g, j, i
    NONSPECIFIC_CURRENT i
}

UNITS {
    (nA) = (nanoamp)
    (pA) = (picoamp)
    (nS) = (nanosiemens)
    (mV) = (millivolt)
}

PARAMETER {
    i0 = 0 (nA)
    g = 0 (nS)
    j = 0 (pA)
}

ASSIGNED {
    v (mV)
    i (nA)
}

BREAKPOINT {
    i = 0.001*(g*v - j) - i0
}
