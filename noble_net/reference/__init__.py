"""The same network on exact simulators."""
