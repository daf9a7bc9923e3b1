"""Archives of real PyTorch, of each layout and type, through `crossframe convert`, equal to the bit; and the way back:
what convert writes, read by PyTorch.
"""
import os
import subprocess
import time

import numpy as np
import torch

import names

LAYOUTS = ("xclip", "xclip_hf", "clip", "open_clip", "clip_hf", "vifi")
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class Failure(Exception):
    pass


def run(program, *arguments, fails=None):
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if (done.returncode != 0) != (fails is not None) or (fails and fails not in done.stdout):
        raise Failure(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def assert_same(got, want, what):
    if set(got) != set(want):
        raise Failure(f"{what}: other names: {sorted(set(got) ^ set(want))[:10]}")
    for name, x in want.items():
        y = got[name]
        if tuple(x.shape) != tuple(y.shape):
            raise Failure(f"{what}: {name} is {tuple(y.shape)}, expected {tuple(x.shape)}")
        if x.dtype != y.dtype or not np.array_equal(names.bits(x), names.bits(y)):
            raise Failure(f"{what}: {name}: other bits")


def script(tensors):
    """A TorchScript module of these tensors, as OpenAI's archives are: half precision but for some, and three sizes."""

    class Node(torch.nn.Module):
        def forward(self, x):
            return x

    def put(node, name, x):
        head, _, rest = name.partition(".")
        if rest:
            if not hasattr(node, head):
                node.add_module(head, Node())
            put(getattr(node, head), rest, x)
        else:
            node.register_parameter(head, torch.nn.Parameter(x, requires_grad=False))

    top = Node()
    for name, x in tensors.items():
        put(top, name, x)
    for name, value in (("input_resolution", 224), ("context_length", 77), ("vocab_size", 49408)):
        top.register_buffer(name, torch.tensor(value))
    return torch.jit.script(top)


def half_as_openai(tensors):
    """Matrices in half precision, norms, embeddings and logit_scale as they are."""
    single = ("ln_", "embedding", "logit_scale")
    return {k: v if any(s in k for s in single) else v.half() for k, v in tensors.items()}


def write(path, tensors, container):
    if container == "jit":
        torch.jit.save(script(tensors), path)
    elif container == "safetensors":
        names.write_safetensors(path, tensors, {"format": "pt"})
    elif container == "module":
        torch.save({"state_dict": {f"module.{k}": v for k, v in tensors.items()}, "epoch": 3}, path)
    else:
        torch.save({"model": tensors, "epoch": 3} if container == "model" else tensors, path)


def one(program, folder, tensors, layout, kind, container, clip):
    typed = {k: v.to(TYPES[kind]) for k, v in tensors.items()} if container != "jit" else tensors
    path, out = f"{folder}/in.{'safetensors' if container == 'safetensors' else 'pth'}", f"{folder}/out.safetensors"
    write(path, names.to_layout(typed, layout), container)
    run(program, "convert", path, out, *(["--clip", clip] if layout == "vifi" else []))
    want = {k: v.float() for k, v in typed.items() if layout.startswith("xclip") or names.is_clip(k)}
    if layout == "vifi":
        want["token_embedding.weight"] = tensors["token_embedding.weight"]
    got, _ = names.read_safetensors(out)
    assert_same(got, want, f"{layout} {kind} {container}")
    os.remove(path)
    os.remove(out)


def importing(program, folder, size):
    tensors = names.random_native(size)
    clip = f"{folder}/clip.safetensors"
    names.write_safetensors(clip, names.to_layout(tensors, "clip"))
    n = 0
    for layout in LAYOUTS:
        for kind in TYPES:
            containers = ("plain", "model", "module", "safetensors") if size == "tiny" else ("plain",)
            for container in containers:
                one(program, folder, tensors, layout, kind, container, clip)
                n += 1
    one(program, folder, half_as_openai(names.to_layout(tensors, "clip")), "clip", "f16", "jit", clip)
    os.remove(clip)
    return n + 1


def exporting(program, folder, size):
    """Native in, each naming, type and container out, read back by PyTorch."""
    tensors = names.random_native(size)
    source = f"{folder}/native.safetensors"
    names.write_safetensors(source, tensors)
    n = 0
    for naming, layout in (("native", "xclip"), ("openai", "clip"), ("hf", "xclip_hf")):
        for kind in TYPES:
            want = {k: v.to(TYPES[kind]) for k, v in names.to_layout(tensors, layout).items()}
            for ending in ("pth", "safetensors"):
                out = f"{folder}/out.{ending}"
                run(program, "convert", source, out, "--naming", naming, "--dtype", kind)
                if ending == "pth":
                    got = torch.load(out, weights_only=True)
                    got = got["model"] if naming == "native" else got
                else:
                    got, _ = names.read_safetensors(out)
                assert_same(got, want, f"{naming} {kind} {ending}")
                if size in names.COUNTS and len(got) != names.COUNTS[size][layout]:
                    raise Failure(f"{naming}: {len(got)} tensors, expected {names.COUNTS[size][layout]}")
                os.remove(out)
                n += 1
    os.remove(source)
    return n


def test(program, folder, sizes):
    for size in sizes:
        for way in (importing, exporting):
            start = time.time()
            n = way(program, folder, size)
            print(f"ok - {way.__name__} {size}: {n} files equal to the bit ({time.time() - start:.0f} s)", flush=True)
