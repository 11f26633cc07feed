"""`ddp_loop.py` on two workers of Ray Train: python ray_train_loop.py FOLDER TARGET; joins RAY_ADDRESS.

What a rank prints is in FOLDER/rank-0 or FOLDER/rank-1.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import ray
from ray.train import RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchConfig, TorchTrainer


def train(words: dict[str, str]) -> None:
    sys.path.insert(0, words["tests"])
    import ddp_loop

    folder = Path(words["folder"])
    rank = get_context().get_world_rank()
    with (folder / f"rank-{rank}").open("w") as lines, contextlib.redirect_stdout(lines):
        ddp_loop.main(folder, words["target"], "well")


if __name__ == "__main__":
    folder, target = sys.argv[1:]
    ray.init()
    TorchTrainer(
        train,
        train_loop_config={"tests": str(Path(__file__).parent), "folder": folder, "target": target},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=folder),
    ).fit()
