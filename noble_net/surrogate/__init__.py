"""Cores at run time: the interface and its implementations."""
