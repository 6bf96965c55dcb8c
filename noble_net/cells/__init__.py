"""Real cells: families of members, their features, their latent space and their exact solver."""
