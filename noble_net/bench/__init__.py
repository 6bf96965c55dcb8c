"""How fast cores and networks run here, and how far that is from what the machine could do."""
