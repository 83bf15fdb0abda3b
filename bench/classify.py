"""How long the classifier of prompts takes: to start, to load its model, and for a prompt.

    python bench/classify.py [--runs 15]

Cold is a fresh process: `load` reads and unpacks the model inside it, `first answer` is from starting Python until the
answer is written. Warm goes through the seeds of the training and texts of 2,000 characters and of a megabyte. Fails
when the median of `load` or of a prompt is above its bound.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "functions")]

from app.assistant.classify.artefact import FILE  # noqa: E402
from app.assistant.classify.classifier import classify  # noqa: E402

LOAD_MS: Final = 150
PROMPT_MS: Final = 10
QUESTION: Final = json.dumps({"text": "Write a poem about rain", "has_image": False}).encode()
LOAD: Final = """
import time
began = time.perf_counter()
from app.assistant.classify.artefact import load
load()
print((time.perf_counter() - began) * 1000)
"""


def main() -> int:
    """Measures, prints, and returns 1 when a bound does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    runs: int = parser.parse_args().runs
    _cold_ms()  # the first one compiles
    loads = [_load_ms() for _ in range(runs)]
    print(f"model, bytes                {FILE.stat().st_size:12,}")
    print(f"load in a fresh process     {_figures(loads)}   (bound {LOAD_MS})")
    print(f"first answer, from start    {_figures([_cold_ms() for _ in range(runs)])}")
    lines = (ROOT / "training" / "seeds.txt").read_text().splitlines()
    seeds = [line for line in lines if line and not line.startswith(("[", "# "))]
    warm = _warm_ms(seeds)
    print(f"a prompt of the seeds       {_figures(warm)}   (bound {PROMPT_MS})")
    long = [" ".join(seeds[at : at + 60])[:2000] for at in range(0, len(seeds) - 60, 10)]
    print(f"2,000 characters            {_figures(_warm_ms(long))}   (bound {PROMPT_MS})")
    print(f"a megabyte                  {_figures(_warm_ms([text * 500 for text in long[:20]]))}")
    held = statistics.median(loads) <= LOAD_MS and statistics.median([*warm, *_warm_ms(long)]) <= PROMPT_MS
    return 0 if held else 1


def _load_ms() -> float:
    command = [sys.executable, "-c", LOAD]
    return float(subprocess.run(command, cwd=ROOT / "functions", check=True, capture_output=True).stdout)


def _cold_ms() -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "app.chat.classify"]
    subprocess.run(command, input=QUESTION, cwd=ROOT / "functions", check=True, capture_output=True)
    return (time.perf_counter() - began) * 1000


def _warm_ms(texts: Sequence[str]) -> list[float]:
    classify(texts[0])
    took = []
    for text in texts:
        began = time.perf_counter()
        classify(text, False)
        took.append((time.perf_counter() - began) * 1000)
    return took


def _figures(values: Sequence[float]) -> str:
    p99 = sorted(values)[round(0.99 * (len(values) - 1))]
    return f"median {statistics.median(values):8.2f} ms   least {min(values):8.2f} ms   p99 {p99:8.2f} ms"


if __name__ == "__main__":
    raise SystemExit(main())
