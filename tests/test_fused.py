"""The kernels of the device loop where there is no GPU: run in Python by Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_kernels_do_what_pytorch_does() -> None:
    file = Path(__file__).with_name("kernels_interpreted.py")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-n", "0", str(file)]
    run = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=280
    )
    assert run.returncode == 0 and run.stdout.count("PASSED") > 5, run.stdout[-5000:] + run.stderr[-2000:]
