"""Making cores: datasets from the exact solver, training, evaluation."""
