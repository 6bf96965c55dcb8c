TITLE What drives a zone of a cell
COMMENT
Holds the inputs that the NobleZone of every segment of the zone points to; passes no current itself.
x: g (nS), j (pA), g_nmda (nS), j_nmda (pA), half (mV).
ENDCOMMENT

NEURON {
    POINT_PROCESS NobleZoneInput
    RANGE x
}

ASSIGNED {
    x[5]
}
