TITLE Current synapse with exponential decay
COMMENT
NetCon weight in pA, positive depolarises.
ENDCOMMENT

NEURON {
    POINT_PROCESS NobleExpCurrent
    RANGE tau, i
    NONSPECIFIC_CURRENT i
}

UNITS {
    (nA) = (nanoamp)
}

PARAMETER {
    tau = 4 (ms) <1e-9, 1e9>
}

ASSIGNED {
    i (nA)
}

STATE {
    s
}

INITIAL {
    s = 0
}

BREAKPOINT {
    SOLVE state METHOD cnexp
    i = -0.001*s
}

DERIVATIVE state {
    s' = -s/tau
}

NET_RECEIVE(weight) {
    s = s + weight
}
