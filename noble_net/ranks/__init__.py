"""One network on many processes: cells split by number, spikes exchanged once per block."""
