"""Tests of the training scripts on a few drawings, on the CPU, in seconds: python -m unittest, in this folder."""
import contextlib
import io
import json
import random
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

import evaluate
import ship
import train_unet
import train_vae
from drawings import Drawings
from tokenizer import token_ids, train_tokenizer

SIDE = 32


def make_drawings(folder: Path) -> None:
    """Twelve drawings of two styles in the format of `npm run emoji:data`; every third is held out."""
    folder.mkdir()
    names = ["red-apple", "ring", "blue-heart", "cat-face", "moon", "pizza"]
    records = [{
        "style": style, "name": name, "caption": f"a {word} emoji of {name.replace('-', ' ')}", "heldOut": i % 3 == 2,
    } for style, word in (("flat", "flat"), ("render", "3d")) for i, name in enumerate(names)]
    pixels = np.random.default_rng(0).integers(0, 256, (len(records), SIDE, SIDE, 3), dtype=np.uint8)
    pixels.tofile(folder / "drawings.bin")
    (folder / "drawings.json").write_text(json.dumps({
        "format": "asdm-drawings", "version": 1, "width": SIDE, "height": SIDE, "pixels": {"file": "drawings.bin"},
        "styles": {"flat": {"word": "flat"}, "render": {"word": "3d"}}, "drawings": records, "words": {"red-apple": ["food", "fruit"], "flute": ["music"]},
        "evaluation": {"seen": [i for i, r in enumerate(records) if not r["heldOut"]], "heldOut": [i for i, r in enumerate(records) if r["heldOut"]]},
    }))


class TrainingTest(unittest.TestCase):
    """Each test has a folder with drawings of its own."""

    def setUp(self) -> None:
        torch.set_num_threads(1)
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        make_drawings(self.folder / "data")

    def run_quietly(self, main, *args: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            main(["--data", str(self.folder / "data"), *args] if main is not ship.main else list(args))
        return out.getvalue()

    def vae(self, out: str, *more: str) -> dict:
        self.run_quietly(train_vae.main, "--out", str(self.folder / out), "--styles", "flat,render", "--widths", "8,8,16", "--batch", "2", "--total", "6", "--device", "cpu", *more)
        return load_file(self.folder / out / "vae" / "diffusion_pytorch_model.safetensors")

    def unet(self, out: str, *more: str) -> dict:
        self.run_quietly(
            train_unet.main, "--out", str(self.folder / out), "--vae", str(self.folder / "vae" / "vae"), "--widths", "16,16,32,32", "--text-width", "16", "--text-layers", "1",
            "--batch", "2", "--total", "4", "--device", "cpu", *more,
        )
        folder = self.folder / out
        return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors") | load_file(folder / "text_encoder" / "model.safetensors")

    def assert_same(self, one: dict, two: dict) -> None:
        self.assertEqual(one.keys(), two.keys())
        for name in one:
            self.assertTrue(torch.equal(one[name], two[name]), name)

    def test_drawings(self) -> None:
        drawings = Drawings(self.folder / "data", ["flat", "render"])
        self.assertEqual((len(drawings.records), drawings.held_out, drawings.size), (12, [2, 5, 8, 11], (SIDE, SIDE)))
        self.assertEqual(sorted(drawings.train + drawings.held_out), list(range(12)))
        x = drawings.tensor([3])
        self.assertEqual(x.shape, (1, 3, SIDE, SIDE))
        self.assertAlmostEqual(x[0, 1, 4, 5].item(), drawings.pixels[3, 4, 5, 1] / 127.5 - 1, places=6)
        one = Drawings(self.folder / "data", ["render"])
        self.assertEqual((len(one.records), one.held_out, one.evaluation["heldOut"]), (6, [2, 5], [2, 5]))
        self.assertTrue(np.array_equal(one.pixels[1], drawings.pixels[7]))
        with self.assertRaisesRegex(ValueError, "twemoji"):
            Drawings(self.folder / "data", ["twemoji"])

    def test_captions(self) -> None:
        drawing = Drawings(self.folder / "data", ["flat"]).records[0]
        rng = random.Random(0)
        forms = {drawing.random_caption(rng) for _ in range(200)}
        words = {"red apple, food, flat style", "red apple, fruit, flat style", "red apple, food fruit, flat style", "red apple, fruit food, flat style"}
        self.assertEqual(forms, {"a flat emoji of red apple", "red apple, flat style", "red apple"} | words)

    def test_the_same_captions_give_the_same_tokenizer(self) -> None:
        drawings = Drawings(self.folder / "data", ["flat", "render"])
        texts = []
        for i in range(5):
            tokenizer = train_tokenizer(self.folder / f"tokenizer{i}", drawings, window=16, size=300)
            texts.append((self.folder / f"tokenizer{i}" / "merges.txt").read_text(encoding="utf8"))
        self.assertEqual(len(set(texts)), 1)
        ids = token_ids(tokenizer, ["A red APPLE", ""])
        self.assertEqual(ids.shape, (2, 16))
        self.assertEqual(tokenizer.decode(ids[0], skip_special_tokens=True).strip(), "a red apple")
        self.assertEqual(ids[1].tolist(), [tokenizer.bos_token_id] + [tokenizer.eos_token_id] * 15)

    def test_a_vae_goes_on_as_if_it_had_not_been_stopped(self) -> None:
        whole = self.vae("whole")
        self.vae("halves", "--stop-at", "3")
        self.assert_same(whole, self.vae("halves"))
        self.assertTrue(any(not torch.equal(value, other) for value, other in zip(whole.values(), self.vae("other", "--seed", "1").values())))
        with self.assertRaisesRegex(ValueError, "lr"):
            self.vae("whole", "--lr", "1")

    def test_a_unet_goes_on_is_evaluated_and_shipped(self) -> None:
        self.vae("vae")
        whole = self.unet("whole")
        self.unet("halves", "--stop-at", "1")
        self.assert_same(whole, self.unet("halves"))
        self.assertTrue((self.folder / "whole" / "sample.png").exists())
        numbers = json.loads(self.run_quietly(
            evaluate.main, "--model", str(self.folder / "whole"), "--count", "3", "--steps", "2", "--device", "cpu", "--json", "--png", str(self.folder / "sheet.png"),
        ))
        self.assertEqual([numbers[name]["pictures"] for name in ("seen", "heldOut")], [3, 3])
        for name in numbers:
            self.assertTrue(0 <= numbers[name]["top1"] <= numbers[name]["top5"] <= 1 and numbers[name]["frechet"] >= 0)
        self.run_quietly(ship.main, "--model", str(self.folder / "whole"), "--out", str(self.folder / "shipped"))
        shipped = load_file(self.folder / "shipped" / "unet" / "diffusion_pytorch_model.safetensors")
        self.assertTrue(all(value.dtype == torch.float16 and torch.equal(value, whole[name].half()) for name, value in shipped.items()))
        self.run_quietly(evaluate.main, "--model", str(self.folder / "shipped"), "--count", "2", "--steps", "1", "--device", "cpu")

    def test_held_out_drawings_are_not_trained_on(self) -> None:
        before = self.vae("vae")
        data = self.folder / "data" / "drawings.bin"
        pixels = np.fromfile(data, dtype=np.uint8).reshape(12, -1)
        pixels[[2, 5, 8, 11]] = 0
        pixels.tofile(data)
        self.assert_same(before, self.vae("again"))


if __name__ == "__main__":
    unittest.main()
