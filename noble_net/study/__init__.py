"""Studies of heterogeneity: of single cells over the latent space, and of networks under a growing spread."""
