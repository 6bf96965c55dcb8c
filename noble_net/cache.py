"""Where large things that can be made again are kept: compiled mechanisms, datasets, states of training."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder(kind: str) -> Path:
    """The user's cache folder for ``kind``; the environment variable NOBLE_NET_CACHE moves all of them."""
    root = os.environ.get("NOBLE_NET_CACHE") or platformdirs.user_cache_dir("noble-net")
    return Path(root) / kind
