TITLE Current synapse with double-exponential time course
COMMENT
NetCon weight = peak in pA, positive depolarises; the normalisation is that of Exp2Syn.
ENDCOMMENT

NEURON {
    POINT_PROCESS NobleExp2Current
    RANGE tau1, tau2, i
    NONSPECIFIC_CURRENT i
}

UNITS {
    (nA) = (nanoamp)
}

PARAMETER {
    tau1 = 0.3 (ms) <1e-9, 1e9>
    tau2 = 4 (ms) <1e-9, 1e9>
}

ASSIGNED {
    i (nA)
    factor
}

STATE {
    a
    b
}

INITIAL {
    LOCAL tp
    a = 0
    b = 0
    tp = (tau1*tau2)/(tau2 - tau1)*log(tau2/tau1)
    factor = 1/(exp(-tp/tau2) - exp(-tp/tau1))
}

BREAKPOINT {
    SOLVE state METHOD cnexp
    i = -0.001*(b - a)
}

DERIVATIVE state {
    a' = -a/tau1
    b' = -b/tau2
}

NET_RECEIVE(weight) {
    a = a + weight*factor
    b = b + weight*factor
}
