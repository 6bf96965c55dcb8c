"""Responses to square steps: cells × amplitudes → voltages, e-features, F–I curves."""
