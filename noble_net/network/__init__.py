"""Networks as frozen arrays, and what drives them: rules, synapses, stimuli, randomness."""
