"""Trains the model of app.assistant.classify and writes its file, or prints its scores.

    PYTHONPATH=functions python -m training --data PROMPTS            writes functions/app/assistant/classify/model.bin
    PYTHONPATH=functions python -m training --data PROMPTS --scores   prints the tables of docs/classifier.md

PROMPTS is the folder with train.jsonl, dev.jsonl and lengths_dev.jsonl. The same data and the same versions of the
packages of training/requirements.in give the same bytes.
"""

import argparse
import os
from dataclasses import asdict
from pathlib import Path

for _library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_library] = "1"  # sums in one order, so that the same bytes come out

from app.assistant.classify.artefact import FILE  # noqa: E402
from training.report import report  # noqa: E402
from training.run import Run  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the prompts")
    parser.add_argument("--scores", action="store_true", help="print the scores of the committed model's recipe")
    parser.add_argument("--out", type=Path, default=FILE, help="where the model is written")
    options = parser.parse_args()
    run = Run.of(options.data)
    if options.scores:
        report(run)
        return
    options.out.write_bytes(run.artefact())
    print(f"{options.out.name}: {options.out.stat().st_size:,} bytes, {asdict(run.settings)}")


if __name__ == "__main__":
    main()
