TITLE NMDA synapse: double-exponential conductance behind a magnesium block
COMMENT
i = B(v)*(b - a)*(v - e) with B(v) = 1/(1 + exp(-0.062*(v - half))) (Jahr & Stevens 1990) at the segment's own voltage.
NetCon weight = peak before the block in uS; the normalisation is that of Exp2Syn. half: where half is blocked (mV).
ENDCOMMENT

NEURON {
    POINT_PROCESS NobleNmda
    RANGE tau1, tau2, e, half, i
    NONSPECIFIC_CURRENT i
}

UNITS {
    (nA) = (nanoamp)
    (mV) = (millivolt)
    (uS) = (microsiemens)
}

PARAMETER {
    tau1 = 2 (ms) <1e-9, 1e9>
    tau2 = 50 (ms) <1e-9, 1e9>
    e = 0 (mV)
    half = 0 (mV)
}

ASSIGNED {
    v (mV)
    i (nA)
    factor
}

STATE {
    a (uS)
    b (uS)
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
    i = (b - a)*(v - e)/(1 + exp(-0.062*(v - half)))
}

DERIVATIVE state {
    a' = -a/tau1
    b' = -b/tau2
}

NET_RECEIVE(weight (uS)) {
    a = a + weight*factor
    b = b + weight*factor
}
