"""Logits of Crossframe against XCLIPModel (hf_xclip.py) reading Crossframe's export, and of the same weights through
every layout against each other.
"""
import shutil

import torch

import names
from archives import Failure, run
from hf_xclip import XCLIPModel

LIMIT = 2e-5


def crossframe_logits(logits_program, weights, folder):
    out = f"{folder}/logits.safetensors"
    run(logits_program, weights, f"{folder}/input.safetensors", out)
    return names.read_safetensors(out)[0]["logits"]


def write_input(folder, size, videos):
    image, context, vocabulary, T = (names.SIZES[size][i] for i in (0, 7, 8, 9))
    torch.manual_seed(3)
    video = torch.randn(videos, T, 3, image, image)
    tokens = torch.zeros(5, context, dtype=torch.int32)
    for k in range(5):
        words = torch.randint(1, vocabulary - 2, (k + 2,), dtype=torch.int32)
        tokens[k, :k + 4] = torch.cat([torch.tensor([vocabulary - 2]), words, torch.tensor([vocabulary - 1])])
    names.KINDS["I32"] = torch.int32
    names.write_safetensors(f"{folder}/input.safetensors", {"video": video, "tokens": tokens})
    return video, tokens.long()


def test(program, logits_program, folder, sizes):
    for size in sizes:
        tensors = names.random_native(size)
        native, hf = f"{folder}/native.safetensors", f"{folder}/hf"
        names.write_safetensors(native, tensors)
        video, tokens = write_input(folder, size, 2)
        ours = crossframe_logits(logits_program, native, folder)
        run(program, "convert", native, hf, "--naming", "hf")
        through = crossframe_logits(logits_program, hf, folder)
        run(program, "convert", hf, f"{folder}/x.pth")
        again = crossframe_logits(logits_program, f"{folder}/x.pth", folder)
        if not (torch.equal(ours, through) and torch.equal(ours, again)):
            raise Failure(f"{size}: other logits through XCLIPModel or .pth")
        model = XCLIPModel(hf, names.read_safetensors(f"{hf}/model.safetensors")[0])
        theirs = model(video, tokens)
        worst = (ours - theirs).abs().max().item()
        line = f"XCLIPModel {size}: logits {theirs.min():.3f} to {theirs.max():.3f}, largest difference {worst:.2g}"
        if not worst < LIMIT:
            raise Failure(f"{line}, allowed {LIMIT:g}")
        print(f"ok - {line}", flush=True)
        shutil.rmtree(hf)
