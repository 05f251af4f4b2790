"""The icons: downloads, selects, captions and composites them.

Pictures are Microsoft's Fluent Emoji in 3D (npm package ``@lobehub/fluent-emoji-3d``, MIT), captions the English labels
of ``emojibase-data`` (npm, MIT), and its tags give other words for them. ``python training/data.py`` needs ``npm`` once
and leaves ``training/data/icons.npy`` and ``training/data/icons.json``, and ``words.txt`` in the shipped ``icons``.
"""

import json
import re
import subprocess
import tarfile
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from common import CHECKPOINTS, DATA

IMAGE_SIZE = 256  # as published
PACKAGES = ("@lobehub/fluent-emoji-3d@1.1.0", "emojibase-data@17.0.0")
# Skin and hair swatches, symbol buttons and flags teach little and look poor when drawn.
LEFT_OUT_GROUPS = ("component", "symbols", "flags")
SHARED_BY = 3  # icons at most for a tag to count as a name: "laugh" tells little
BACKGROUNDS = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
    "red": (220, 30, 40),
    "orange": (255, 140, 0),
    "yellow": (255, 225, 50),
    "green": (40, 160, 60),
    "teal": (0, 150, 150),
    "blue": (40, 90, 220),
    "purple": (130, 50, 180),
    "pink": (255, 150, 200),
    "brown": (125, 75, 40),
}


@dataclass(frozen=True)
class Icons:
    """``rgba`` is uint8 (icons, 4, 256, 256), colours premultiplied by alpha; ``labels`` are lower-case English.

    ``synonyms`` has for each icon the other words that name it and at most two more of the icons; it may be empty.
    """

    rgba: torch.Tensor
    labels: list[str]
    synonyms: list[list[str]]

    def __len__(self) -> int:
        return len(self.labels)


def load_icons() -> Icons:
    """Read the output of ``python training/data.py``."""
    path = DATA / "icons.npy"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; run `python training/data.py` first")
    words = json.loads(path.with_suffix(".json").read_text())
    rgba = np.load(path, mmap_mode="c")  # workers share one copy; "c" as torch wants arrays that may be written to
    return Icons(torch.from_numpy(rgba), words["labels"], words["synonyms"])


def palette() -> torch.Tensor:
    """The named background colours, float32 (12, 3) in [-1, 1]."""
    return torch.tensor(list(BACKGROUNDS.values())) / 127.5 - 1


def composite(rgba: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Lay premultiplied icons over flat colours.

    ``rgba`` is float (batch, 4, height, width) in [0, 1], ``background`` (batch, 3) in [-1, 1]; returns
    (batch, 3, height, width) in [-1, 1].
    """
    colour, alpha = rgba[:, :3], rgba[:, 3:]
    return colour * 2 - alpha + background[:, :, None, None] * (1 - alpha)


def on_white(icons: Icons, index: torch.Tensor) -> torch.Tensor:
    """The chosen icons over white, (batch, 3, 256, 256) in [-1, 1]."""
    return composite(icons.rgba[index] / 255, torch.ones(len(index), 3))


def place(icon: torch.Tensor, size: int, left: int, top: int) -> torch.Tensor:
    """One float icon (4, 256, 256) shrunk to ``size`` pixels and put on an empty canvas of the same shape."""
    canvas = torch.zeros_like(icon)
    small = F.interpolate(icon[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]
    canvas[:, top : top + size, left : left + size] = small
    return canvas


def pair(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Two float icons (4, 256, 256) side by side at half size."""
    half = IMAGE_SIZE // 2
    return place(left, half, 0, half // 2) + place(right, half, half, half // 2)


def with_article(label: str) -> str:
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def pair_caption(left: str, right: str) -> str:
    return f"{with_article(left)} and {with_article(right)}"


def on_background(caption: str, colour: str) -> str:
    return f"{caption} on a {colour} background"


def fetch() -> None:
    """Download the two npm packages and unpack them under ``training/data``."""
    for package in PACKAGES:
        name = subprocess.run(
            ["npm", "pack", package, "--silent"], cwd=DATA, check=True, capture_output=True, text=True
        ).stdout.strip()
        with tarfile.open(DATA / name) as archive:
            archive.extractall(DATA / package.split("/")[-1].split("@")[0], filter="data")


def read_rgba(path) -> np.ndarray:
    """A WebP file as premultiplied uint8 (4, 256, 256)."""
    premultiplied = Image.open(path).convert("RGBA").convert("RGBa")
    return np.asarray(premultiplied.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)).transpose(2, 0, 1)


def telling(labels: list[str], tags: list[list[str]]) -> list[list[str]]:
    """For each icon the tags that are no other icon's label and belong to at most ``SHARED_BY`` icons."""
    carriers = Counter(tag for words in tags for tag in words)
    known = set(labels)
    return [[tag for tag in words if carriers[tag] <= SHARED_BY and tag not in known] for words in tags]


def choose() -> tuple[np.ndarray, list[str], list[list[str]]]:
    """The icons that have an English label and belong to no left-out group, their labels and synonyms."""
    emoji = json.loads((DATA / "emojibase-data/package/en/data.json").read_text())
    groups = json.loads((DATA / "emojibase-data/package/en/messages.json").read_text())["groups"]
    left_out = {group["order"] for group in groups if group["key"] in LEFT_OUT_GROUPS}
    pictures = {
        path.stem.lower().replace("-fe0f", ""): path
        for path in sorted((DATA / "fluent-emoji-3d/package/assets").glob("*.webp"))
    }
    rgba, labels, tags = [], [], []
    for entry in emoji:
        picture = pictures.get(entry["hexcode"].lower().replace("-fe0f", ""))
        if picture is None or entry.get("group") is None or entry["group"] in left_out:
            continue
        rgba.append(read_rgba(picture))
        labels.append(entry["label"].lower().replace("’", "'"))
        tags.append([tag.lower().replace("’", "'") for tag in entry.get("tags", [])])
    return np.stack(rgba), labels, telling(labels, tags)


WORD = re.compile(r"[^\W\d_][\w' -]{2,}")


def write_words(labels: list[str], synonyms: list[list[str]]) -> None:
    """``words.txt`` beside the shipped networks: each label, and after a tab the synonyms that are words."""
    lines = []
    for label, others in zip(labels, synonyms):
        words = ", ".join(other for other in others if WORD.fullmatch(other))
        lines.append(f"{label}\t{words}" if words else label)
    (CHECKPOINTS / "icons" / "words.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    fetch()
    rgba, labels, synonyms = choose()
    np.save(DATA / "icons.npy", rgba)
    (DATA / "icons.json").write_text(json.dumps({"labels": labels, "synonyms": synonyms}, indent=1))
    write_words(labels, synonyms)
    print(f"{len(labels)} icons of {rgba.shape[-1]} pixels -> {DATA / 'icons.npy'}")


if __name__ == "__main__":
    main()
