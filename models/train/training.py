"""What both trainings share: a clock, a checkpoint to resume from, lines of progress."""
import argparse
import os
import random
import time
from pathlib import Path

import torch


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of both trainings. Those in `UNCHECKED` may differ between a run and its continuation."""
    parser.add_argument("--data", type=Path, required=True, help="folder of drawings, as npm run emoji:data makes it")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and checkpoint.pt; a run that is there is continued")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so much time; the same command goes on later")
    parser.add_argument("--stop-at", type=int, help="stop after this step; the same command goes on later")
    parser.add_argument("--save-every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16 where autocast does; weights stay float32")
    parser.add_argument("--seed", type=int, default=0)


UNCHECKED = {"data", "out", "minutes", "stop_at", "save_every", "device", "vae", "compile"}


class Run:
    """A training that can be stopped anywhere and continued as if it had not been.

    All randomness comes from `rng` (captions) and `generator` (batches, timesteps, noise; on the CPU, so that devices see the same),
    whose states are part of the checkpoint. The initial weights come from the seed, too.
    """

    def __init__(self, args: argparse.Namespace):
        """Prepares the folder and the generators; `resume` then reads the checkpoint, if there is one."""
        self.args = args
        self.step = 0
        self.rng = random.Random(args.seed)
        self.generator = torch.Generator().manual_seed(args.seed)
        self.file = args.out / "checkpoint.pt"
        self.began = time.monotonic()
        self.first = 0
        args.out.mkdir(parents=True, exist_ok=True)
        # Only the weights' first values use torch's own generator.
        torch.manual_seed(args.seed)

    def resume(self, parts: dict) -> None:
        """Loads the checkpoint into `parts` (modules, optimizers, lists of tensors), if there is one.

        Raises:
            ValueError: where it was made with other arguments.
        """
        if not self.file.exists():
            return
        state = torch.load(self.file, map_location="cpu", weights_only=True)
        differing = [name for name, value in self._settings().items() if state["settings"].get(name) != value]
        if differing:
            raise ValueError(f"Expected the arguments that {self.file} was made with but {', '.join(differing)} differ")
        for name, part in parts.items():
            if isinstance(part, list):
                for tensor, saved in zip(part, state[name], strict=True):
                    tensor.copy_(saved)
            else:
                part.load_state_dict(state[name])
        self.step = self.first = state["step"]
        version, numbers, gauss = state["rng"]
        self.rng.setstate((version, tuple(numbers), gauss))
        self.generator.set_state(state["generator"])

    def save(self, parts: dict) -> None:
        """Writes the checkpoint, whole or not at all."""
        version, numbers, gauss = self.rng.getstate()
        state = {"step": self.step, "settings": self._settings(), "rng": (version, list(numbers), gauss), "generator": self.generator.get_state()}
        for name, part in parts.items():
            state[name] = part if isinstance(part, list) else part.state_dict()
        temporary = self.file.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, self.file)

    def goes_on(self) -> bool:
        """Is there a step left, and time?"""
        last = self.args.total if self.args.stop_at is None else min(self.args.total, self.args.stop_at)
        return self.step < last and time.monotonic() - self.began < 60 * self.args.minutes

    def is_due(self, every: int) -> bool:
        """Has a multiple of `every` steps been done?"""
        return self.step % every == 0

    def report(self, **numbers: float) -> None:
        """Prints a line."""
        speed = (self.step - self.first) * self.args.batch / max(1e-9, time.monotonic() - self.began)
        print(f"step {self.step}", *(f"{name} {value:.5g}" for name, value in numbers.items()), f"{speed:.1f} drawings/s", flush=True)

    def indices(self, train: list[int]) -> list[int]:
        """A batch of drawings, drawn with replacement."""
        return [train[i] for i in torch.randint(len(train), (self.args.batch,), generator=self.generator).tolist()]

    def randn(self, *shape: int) -> torch.Tensor:
        """Noise on the device."""
        return torch.randn(*shape, generator=self.generator).to(self.args.device)

    def autocast(self) -> torch.autocast:
        """bfloat16 where it was asked for."""
        return torch.autocast(torch.device(self.args.device).type, dtype=torch.bfloat16, enabled=self.args.bf16)

    def _settings(self) -> dict:
        return {name: list(value) if isinstance(value, (list, tuple)) else value for name, value in vars(self.args).items() if name not in UNCHECKED}


def numbers(text: str) -> list[int]:
    """`48,96,144,192` as a list."""
    return [int(word) for word in text.split(",")]


def words(text: str) -> list[str]:
    """`flat,render` as a list."""
    return text.split(",")
