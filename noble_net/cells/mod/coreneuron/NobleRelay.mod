TITLE Passes on every event it gets, at once
COMMENT
Lets events of no cell go through many NetCons, in CoreNEURON, too, which takes single events of a NetCon alone.
ENDCOMMENT

NEURON {
    ARTIFICIAL_CELL NobleRelay
}

NET_RECEIVE (w) {
    net_event(t)
}
