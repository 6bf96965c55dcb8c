"""Settings shared by all tests."""

from hypothesis import settings

# A first example may compile a kernel, which takes seconds.
settings.register_profile("noble-net", deadline=None)
settings.load_profile("noble-net")
