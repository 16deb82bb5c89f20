"""What the tokenizer of a large vision model loses of a real scan, by the size of its pictures and the plane.

    python benchmarks/lvm_tokenizer.py popi_4dct_dicom lung_tumour_crop_4dct [--lvm-weights FOLDER] [--sheet sheet.png]

For every case, of its first phase: mean absolute error in the body (HU) of the slices through tokens and back, beside
that of the pictures alone (the same road without tokens), and the share of tokens that are the same when the decoded
picture is encoded again. More pixels a picture are more tokens: the tokenizer is fully convolutional.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from rtmotion.evaluation.regions import body_mask
from rtmotion.lvm.frames import PLANES, framing
from rtmotion.lvm.model import load_model
from rtmotion.lvm.tokenizer import Tokenizer
from rtmotion_data.inspection import read


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", type=Path)
    parser.add_argument("--lvm-weights", type=Path)
    parser.add_argument("--sheet", type=Path, help="a picture: slices as they are and through each size")
    arguments = parser.parse_args()
    tokenizer = load_model(arguments.lvm_weights).tokenizer
    sizes = [tokenizer.config.resolution * n for n in (1, 2, 4)]
    head = ("case", "plane", "pixels", "tokens a slice", "bits a pixel", "HU, pictures alone", "HU, through tokens")
    print("| " + " | ".join([*head, "same tokens again (%)"]) + " |")
    print("| --- " * 8 + "|")
    columns: list[Tensor] = []
    for path in arguments.cases:
        sequence, _ = read(path)
        volume = sequence.volumes[0]
        body = body_mask(volume)
        for plane in PLANES:
            for size in sizes:
                frame = framing(body, volume.grid, plane, size)
                pictures = frame.pictures(volume.hu)
                with torch.inference_mode():
                    shown, same = through(tokenizer, pictures)
                box = frame.box
                off = [(frame.values(p) - volume.hu[box])[body[box]].abs().mean() for p in (pictures, shown)]
                side = size // tokenizer.config.factor
                bits = side**2 * torch.tensor(float(tokenizer.config.codes)).log2() / size**2
                cells = [path.name, plane, f"{size} x {size}", f"{side**2:,}", f"{bits:.3f}"]
                print("| " + " | ".join([*cells, *(f"{o:.1f}" for o in off), f"{100 * same:.0f}"]) + " |", flush=True)
                if plane == "coronal":
                    columns.append(strip(frame.values(pictures), frame.values(shown)))
    if arguments.sheet is not None:
        from PIL import Image

        tall = max(len(c) for c in columns)
        wide = [torch.nn.functional.pad(c, (0, 4, 0, tall - len(c))) for c in columns]
        Image.fromarray(torch.cat(wide, dim=1).numpy()).save(arguments.sheet)


def through(tokenizer: Tokenizer, pictures: Tensor) -> tuple[Tensor, float]:
    """Pictures through tokens and back, and the share of tokens that stay when that is done again."""
    shape = (pictures.shape[-2] // tokenizer.config.factor, pictures.shape[-1] // tokenizer.config.factor)
    found, same = [], 0.0
    for part in torch.split(pictures, 8):
        tokens = tokenizer.encode(part)
        shown = tokenizer.decode(tokens, shape)
        same += float((tokenizer.encode(shown) == tokens).float().mean()) * len(part) / len(pictures)
        found.append(shown)
    return torch.cat(found), same


def strip(before: Tensor, after: Tensor) -> Tensor:
    """The middle coronal slice before and after, one above the other, head up, grey values."""
    middle = before.shape[1] // 2
    rows = torch.cat([v[:, middle].flip(0) for v in (before, after)])
    return ((rows + 1000) / 1600 * 255).clamp(0, 255).to(torch.uint8)


if __name__ == "__main__":
    main()
