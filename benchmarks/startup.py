"""What a newcomer meets: a fresh virtual environment, the quickstart, import and help times, peak memory.

python benchmarks/startup.py            makes a fresh environment in a temporary folder (minutes)
python benchmarks/startup.py --here     measures the present environment
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from scoreboard import Target, record

ROOT = Path(__file__).parent.parent
COMMAND = "python benchmarks/startup.py"
REPEATS = 5


def main() -> None:
    """Measure and record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "--here" in sys.argv[1:]:
            binaries, where = Path(sys.executable).parent, "present environment"
        else:
            venv.create(folder / "venv", with_pip=True)
            binaries, where = folder / "venv" / "bin", "fresh virtual environment, `pip install .`"
            subprocess.run([binaries / "pip", "install", "--quiet", ROOT], check=True)
        out = folder / "run"
        started = time.monotonic()
        subprocess.run([binaries / "noble-net", "run", "quickstart", "--out", out], check=True, cwd=folder)
        whole = time.monotonic() - started
        summary = json.loads((out / "summary.json").read_text())
        imported = seconds([binaries / "python", "-c", "import noble_net"], folder)
        helped = seconds([binaries / "noble-net", "--help"], folder)
    phases = ", ".join(f"{phase} {value:.1f} s" for phase, value in summary["timings_s"].items())
    conditions = f"2 CPU cores; {where}; first run, {whole:.0f} s in all ({phases})"
    median = f"{where}; median of {REPEATS}, interpreter's start included"
    rows = [
        Target(2, "quickstart: run phase", "≤ 15", summary["timings_s"]["run"], "s", conditions, COMMAND),
        Target(
            2, "quickstart: peak memory", "≤ 1.5", summary["peak_memory_mb"] / 1000, "GB", conditions, COMMAND
        ),
        Target(2, "import noble_net", "≤ 0.5", imported, "s", median, COMMAND),
        Target(2, "noble-net --help", "≤ 0.7", helped, "s", median, COMMAND),
    ]
    record(rows)
    for target in rows:
        print(target.line())


def seconds(command: list[str | Path], folder: Path) -> float:
    """Median wall time of a command, s."""
    times = []
    for _ in range(REPEATS):
        started = time.monotonic()
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - started)
    return statistics.median(times)


if __name__ == "__main__":
    main()
