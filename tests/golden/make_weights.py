#!/usr/bin/python3
"""Writes tests/golden/weights: what real PyTorch saves, for tests/models/test_weights.c.

    python3 make_weights.py            (PyTorch 1.13; needs nothing else)

Element i of a tensor NAME, without prefixes, is ((37 i + sum of NAME's bytes) mod 251 - 125) / 64,
which every type here holds exactly; views.pt has views of one such tensor.
"""
import collections
import json
import os
import pickle
import struct
import sys
import types
import warnings
import zipfile

import torch

warnings.filterwarnings("ignore")
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights")


def tensor(name, *shape, dtype=torch.float32):
    n = 1
    for size in shape:
        n *= size
    i = torch.arange(n, dtype=torch.float64)
    value = (37 * i + sum(name.encode())) % 251 - 125
    if dtype.is_floating_point:
        value = value / 64
    return value.reshape(shape).to(dtype)


def named(shapes, dtype=torch.float32, prefix=""):
    return collections.OrderedDict((prefix + n, tensor(n, *s, dtype=dtype)) for n, s in shapes.items())


def save(value, name, **options):
    torch.save(value, os.path.join(OUT, name), **options)


SHAPES = {"a.weight": (3, 4), "a.bias": (4,), "scale": (), "empty": (0, 5), "conv": (2, 3, 2, 2)}


def state_dict():
    """As torch.nn.Module.state_dict gives it: with _metadata beside the items."""
    d = named(SHAPES)
    d._metadata = collections.OrderedDict([("", {"version": 1})])
    return d


def foreign_config():
    """An object of a library that is not there when it is read: a subclass of dict, like yacs's."""
    module = types.ModuleType("yacs.config")
    sys.modules["yacs"] = types.ModuleType("yacs")
    sys.modules["yacs.config"] = module

    class CfgNode(dict):
        def __init__(self, items=None):
            super().__init__(items or {})
            self.__dict__["__immutable__"] = False

    CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
    module.CfgNode = CfgNode
    return CfgNode({"DATA": CfgNode({"ROOT": "videos", "NUM_FRAMES": 8}), "SIZES": [1, 2, (3, 4)]})


def checkpoint():
    model = state_dict()
    w = torch.nn.Parameter(model["a.weight"].clone())
    optimizer = torch.optim.AdamW([w], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    w.sum().backward()
    optimizer.step()
    scheduler.step()
    return {
        "model": model,
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "max_accuracy": 80.4,
        "epoch": 12,
        "big": 1 << 80,
        "negative": -5,
        "arch": "ViT-B/32",
        "config": foreign_config(),
    }


class Block(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        self.weight = torch.nn.Parameter(tensor(name + "weight", 3, 2, dtype=torch.float16))
        self.bias = torch.nn.Parameter(tensor(name + "bias", 3))

    def forward(self, x):
        return x @ self.weight.float().t() + self.bias


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block("visual.blocks.0."), Block("visual.blocks.1.")])
        self.proj = torch.nn.Parameter(tensor("visual.proj", 2, 3, dtype=torch.float16))

    def forward(self, x):
        for block in self.blocks:
            x = block(x) @ self.proj.float().t()
        return x


class Script(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = Tower()
        self.logit_scale = torch.nn.Parameter(tensor("logit_scale"))
        self.register_buffer("input_resolution", torch.tensor(224))
        self.register_buffer("vocab_size", torch.tensor(49408))
        self.context_length = 77

    def forward(self, x):
        return self.visual(x) * self.logit_scale + self.context_length


def write_script():
    with torch.no_grad():
        script = torch.jit.script(Script())
    torch.jit.save(script, os.path.join(OUT, "script.pt"))


def all_types():
    d = {"f32": tensor("f32", 2, 3), "nothing": None, "text": "some \u00e9", "list": [1, 2.5, True]}
    for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16), ("f64", torch.float64),
                        ("i64", torch.int64), ("i32", torch.int32), ("i16", torch.int16),
                        ("i8", torch.int8)):
        d[name] = tensor(name, 2, 3, dtype=dtype)
    d["u8"] = torch.arange(6, dtype=torch.uint8).reshape(2, 3)
    d["bool"] = torch.tensor([True, False])
    d["parameter"] = torch.nn.Parameter(tensor("parameter", 5))
    d["rounded"] = torch.arange(7, dtype=torch.float64) / 10
    d["halves"] = torch.tensor([0.0, -0.0, 2.0 ** -24, -(2.0 ** -15), 65504.0, float("inf"),
                                -float("inf")], dtype=torch.float16)
    return d


class Rebuilt:
    """Saved as later versions save a tensor whose type has no storage class of its own."""

    def __init__(self, t):
        self.t = t

    def __reduce__(self):
        storage = self.t.contiguous().view(torch.uint8).storage()._storage
        return (torch._utils._rebuild_tensor_v3,
                (storage, 0, tuple(self.t.shape), self.t.stride(), False,
                 collections.OrderedDict(), self.t.dtype))


def write_v3():
    def _rebuild_tensor_v3():
        raise NotImplementedError

    _rebuild_tensor_v3.__module__, _rebuild_tensor_v3.__qualname__ = "torch._utils", "_rebuild_tensor_v3"
    torch._utils._rebuild_tensor_v3 = _rebuild_tensor_v3
    save({"h": Rebuilt(tensor("h", 6, dtype=torch.float16)), "f": Rebuilt(tensor("f", 2, 2))}, "v3.pt")


def views():
    base = tensor("base", 6, 8)
    return collections.OrderedDict([
        ("base", base), ("transposed", base.t()), ("rows", base[2:4]), ("columns", base[:, 1::3]),
        ("flat", base.reshape(-1)[5:17]), ("one", base[3, 4]), ("none", base[6:]),
        ("repeated", base[1].expand(3, 8)), ("turned", base.reshape(2, 3, 8).permute(2, 0, 1)),
        ("square", base[:4, :1].expand(4, 4)), ("half", base.half()[::2, ::2]),
    ])


def deflate(name, out):
    with zipfile.ZipFile(os.path.join(OUT, name)) as z, \
         zipfile.ZipFile(os.path.join(OUT, out), "w", zipfile.ZIP_DEFLATED) as o:
        for item in z.infolist():
            o.writestr(zipfile.ZipInfo(item.filename), z.read(item), zipfile.ZIP_DEFLATED)


def with_record(name, out, record, content):
    """The archive with one more record, as a later version of PyTorch adds."""
    with zipfile.ZipFile(os.path.join(OUT, name)) as z, \
         zipfile.ZipFile(os.path.join(OUT, out), "w", zipfile.ZIP_STORED) as o:
        for item in z.infolist():
            o.writestr(zipfile.ZipInfo(item.filename), z.read(item))
        o.writestr(zipfile.ZipInfo(z.namelist()[0].split("/")[0] + "/" + record), content)


def write_shards():
    parts = [("a.weight", "a.bias"), ("scale", "empty", "conv")]
    weight_map = {}
    folder = os.path.join(OUT, "shards")
    os.makedirs(folder, exist_ok=True)
    for i, names in enumerate(parts):
        file = "pytorch_model-%05d-of-%05d.bin" % (i + 1, len(parts))
        save({n: tensor(n, *SHAPES[n]) for n in names}, "shards/" + file)
        weight_map.update({n: file for n in names})
    with open(os.path.join(folder, "pytorch_model.bin.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": 1}, "weight_map": weight_map}, f, indent=2)
        f.write("\n")


def safetensors(name, tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for n, t in tensors.items():
        piece = t.contiguous().numpy().tobytes()
        header[n] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header).encode()
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def main():
    os.makedirs(OUT, exist_ok=True)
    save(state_dict(), "plain.pt")
    save(checkpoint(), "checkpoint.pth")
    write_script()
    save(all_types(), "types.pt")
    for protocol in (3, 4, 5):
        save(checkpoint(), "protocol%d.pt" % protocol, pickle_protocol=protocol)
    write_v3()
    save(views(), "views.pt")
    save({"state_dict": named(SHAPES, prefix="module.")}, "module.pt")
    save({"model_state": named(SHAPES, prefix="_orig_mod.module."), "step": 7}, "compiled.pt")
    safetensors("module.safetensors", named(SHAPES, prefix="module."))
    save(state_dict(), "old.pt", _use_new_zipfile_serialization=False)
    deflate("plain.pt", "deflated.pt")
    deflate("views.pt", "deflated-views.pt")
    with_record("plain.pt", "little.pt", "byteorder", "little")
    with_record("plain.pt", "big.pt", "byteorder", "big")
    save(torch.nn.Linear(2, 2), "whole-model.pt")
    save({"c": torch.zeros(2, dtype=torch.complex64)}, "complex.pt")
    write_shards()


main()
