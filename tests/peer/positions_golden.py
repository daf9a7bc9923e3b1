"""Writes tests/models/positions_golden.h: position embeddings resized by torch.nn.functional.interpolate.

    python3 tests/peer/positions_golden.py >tests/models/positions_golden.h
"""
import torch
import torch.nn.functional as F


def show(name, x):
    values = ", ".join(f"{v:.9g}f" for v in x.reshape(-1).tolist())
    lines, line = [], "   "
    for value in values.split(", "):
        value = value if "." in value or "e" in value else value.replace("f", ".0f")
        if len(line) + len(value) > 96:
            lines.append(line)
            line = "   "
        line += f" {value},"
    print(f"static const float {name}[] = {{\n" + "\n".join([*lines, line]) + "\n};")


torch.manual_seed(7)
print(f"/* Made by tests/peer/positions_golden.py with PyTorch {torch.__version__.split('a')[0]}. */")
frames = torch.randn(1, 5, 3)
show("frames_5", frames)
for T in (8, 2):
    show(f"frames_{T}", F.interpolate(frames.transpose(1, 2), size=T, mode="linear").transpose(1, 2))
grid = torch.randn(4, 4, 2)
show("grid_4", grid)
for way in ("bicubic", "bilinear"):
    for side in (7, 3):
        x = F.interpolate(grid.permute(2, 0, 1)[None], size=(side, side), mode=way, align_corners=False)
        show(f"{way}_{side}", x[0].permute(1, 2, 0))
