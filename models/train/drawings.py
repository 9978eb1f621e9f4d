"""The drawings that `npm run emoji:data` renders, with captions and the choice of held-out ones."""
import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch


@dataclass(frozen=True)
class Drawing:
    """One drawing: `word` is what captions call its style, `words` says more of what it shows."""

    style: str
    word: str
    name: str
    caption: str
    held_out: bool
    words: tuple[str, ...]

    @property
    def title(self) -> str:
        """The name as it is written in captions."""
        return self.name.replace("-", " ")

    def random_caption(self, rng: random.Random) -> str:
        """A caption to train with: one of five forms."""
        draw = rng.random()
        if draw < 0.35:
            return self.caption
        if draw < 0.65:
            return f"{self.title}, {self.word} style"
        if draw < 0.80:
            return self.title
        if self.words:
            some = rng.sample(self.words, min(len(self.words), rng.choice([1, 2])))
            return f"{self.title}, {' '.join(some)}, {self.word} style"
        return f"{self.word} {self.title}"


class Drawings:
    """Drawings of some styles.

    `pixels` is [N,H,W,3] uint8, mapped from the disk where all styles are wanted; `records` says what they are; `train` and `held_out`
    are indices, as are the lists in `evaluation`; `words` has words for names, also for those that no drawing has.
    """

    def __init__(self, folder: Path, styles: list[str]):
        """Reads a folder of drawings.

        Args:
            folder: what `npm run emoji:data` wrote.
            styles: names of styles, all of which must be there.

        Raises:
            ValueError: for a folder of another format, or an unknown style.
        """
        manifest = json.loads((folder / "drawings.json").read_text(encoding="utf8"))
        if manifest.get("format") != "asdm-drawings" or manifest.get("version") != 1:
            raise ValueError(f"Expected drawings in {folder} but its format is {manifest.get('format')!r}, version {manifest.get('version')!r}")
        unknown = [style for style in styles if style not in manifest["styles"]]
        if unknown:
            raise ValueError(f"Expected styles among {', '.join(manifest['styles'])} but received {', '.join(unknown)}")
        self.size = (manifest["height"], manifest["width"])
        shape = (len(manifest["drawings"]), *self.size, 3)
        self.words: dict[str, list[str]] = manifest["words"]
        mapped = np.memmap(folder / manifest["pixels"]["file"], dtype=np.uint8, mode="r", shape=shape)
        chosen = [i for i, record in enumerate(manifest["drawings"]) if record["style"] in styles]
        self.pixels = mapped[chosen] if len(chosen) < len(mapped) else mapped
        self.records = [
            Drawing(record["style"], manifest["styles"][record["style"]]["word"], record["name"], record["caption"], record["heldOut"], tuple(self.words.get(record["name"], ())))
            for record in (manifest["drawings"][i] for i in chosen)
        ]
        place = {old: new for new, old in enumerate(chosen)}
        self.evaluation = {name: [place[i] for i in indices if i in place] for name, indices in manifest["evaluation"].items()}
        self.held_out = [i for i, record in enumerate(self.records) if record.held_out]
        self.train = [i for i, record in enumerate(self.records) if not record.held_out]

    def tensor(self, indices: list[int]) -> torch.Tensor:
        """Drawings as [N,3,H,W] in [-1, 1]."""
        return torch.from_numpy(np.array(self.pixels[indices])).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_pixels(pictures: torch.Tensor) -> np.ndarray:
    """Pictures [N,3,H,W] in about [-1, 1] as [N,H,W,3] uint8."""
    return pictures.float().div(2).add(0.5).clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
