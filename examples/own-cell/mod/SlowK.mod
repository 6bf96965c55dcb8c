TITLE Slow, non-inactivating potassium current
COMMENT
An M-like current for this example: one gate, sigmoid activation, a bell-shaped time constant. Its rates are smooth at
every voltage: no linear-over-exponential term, whose 0/0 would end a run that happens to meet it.
ENDCOMMENT

NEURON {
    SUFFIX SlowK
    USEION k READ ek WRITE ik
    RANGE gbar, g, ik
}

UNITS {
    (mV) = (millivolt)
    (mA) = (milliamp)
    (S) = (siemens)
}

PARAMETER {
    gbar = 1e-5 (S/cm2)
    vhalf = -45 (mV)
    slope = 7 (mV)
    slowest = 60 (ms)
    fastest = 2 (ms)
    q10 = 2.3
}

ASSIGNED {
    v (mV)
    ek (mV)
    celsius (degC)
    g (S/cm2)
    ik (mA/cm2)
    minf
    mtau (ms)
}

STATE {
    m
}

INITIAL {
    rates(v)
    m = minf
}

BREAKPOINT {
    SOLVE states METHOD cnexp
    g = gbar*m
    ik = g*(v - ek)
}

DERIVATIVE states {
    rates(v)
    m' = (minf - m)/mtau
}

PROCEDURE rates(v (mV)) {
    LOCAL x
    x = (v - vhalf)/slope
    minf = 1/(1 + exp(-x))
    mtau = (fastest + slowest/(exp(0.5*x) + exp(-0.5*x)))/q10^((celsius - 34)/10)
}
