#!/usr/bin/env python3
"""Time and memory of Crossframe beside PyTorch (and onnxruntime) on the same weights and inputs.

See README.md beside this file. For each setting `crossframe bench --dump` writes random weights and inputs;
PyTorch computes the loss of the same, and only when the losses agree are steps timed, in turn, round by
round, each program in a process of its own. Ratios are of the medians of the rounds.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import common

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# name: architecture, frames, batch, classes, seconds of PyTorch's steps
SETTINGS = {
    "demo": ("demo", 4, 16, 80, 4),
    "B/32": ("ViT-B/32", 8, 4, 400, 20),
    "B/16x1": ("ViT-B/16", 8, 1, 400, 20),
    "B/16": ("ViT-B/16", 8, 2, 400, 30),
    "L/14": ("ViT-L/14", 8, 1, 400, 60),
}


# ---- PyTorch, in a process of its own ---------------------------------------------------------


def load(folder):
    import h5py
    import torch

    import xclip
    model = xclip.XClip(xclip.read_safetensors(f"{folder}/weights.safetensors"))
    with h5py.File(f"{folder}/inputs.h5") as f:
        video, text, target = (torch.from_numpy(f[name][:]) for name in ("video", "text", "target"))
    return model, video, text, target


def child(a):
    """Prints {"loss", "seconds"} of one kind of step."""
    common.keep_memory()
    import h5py  # noqa: F401, before denormals are flushed
    import torch

    import xclip
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    model, video, text, target = load(a.folder)
    if a.child == "train":
        optimizer = xclip.make_optimizer(model, 1e-6, 0.001)

        def step():
            return xclip.train_step(model, optimizer, video, text, target, 1)
    else:
        model.requires_grad_(False).eval()

        def step():
            with torch.inference_mode():
                return torch.nn.functional.cross_entropy(model(video, text), target).item()
    loss, times = step(), []
    step()
    begin = time.perf_counter()
    while not times or time.perf_counter() - begin < a.seconds or len(times) < 3:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(json.dumps({"loss": loss, "seconds": statistics.median(times)}))


def export_onnx(a):
    import torch
    model, video, text, _ = load(a.folder)
    model.requires_grad_(False).eval()
    torch.onnx.export(model, (video, text), f"{a.folder}/model.onnx", opset_version=14,
                      input_names=["video", "text"], output_names=["logits"])


# ---- both sides -------------------------------------------------------------------------------


def run(*command):
    """The last line of its output as JSON, and the largest resident set of the process in bytes."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as p:
        out = p.stdout.read()
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        sys.exit(f"{' '.join(command)}: exit status {p.returncode}\n{out}")
    return json.loads(out.splitlines()[-1]), usage.ru_maxrss * 1024


def ours(a, setting, *more):
    arch, frames, batch, classes, _ = SETTINGS[setting]
    return run(os.path.abspath(a.program), "bench", "--arch", arch, "--frames", str(frames), "--batch", str(batch),
               "--classes", str(classes), "--json", *more)


def theirs(a, setting, folder, kind):
    return run(sys.executable, os.path.abspath(__file__), "--child", kind, "--folder", folder,
               "--threads", str(a.threads), "--seconds", str(SETTINGS[setting][4]))


def onnx(a, folder, setting):
    return run("node", f"{HERE}/onnx.js", os.path.abspath(a.onnx), folder, str(a.threads),
               str(SETTINGS[setting][4]), *(str(x) for x in SETTINGS[setting][1:4]))


def agree(name, a_loss, b_loss):
    off = abs(a_loss - b_loss) / abs(a_loss)
    print(f"  loss {name}: {a_loss:.7g} and {b_loss:.7g}, off by {off:.1e}")
    if not off < 1e-4:
        sys.exit("the losses differ: nothing is timed")


def compare(a, setting, folder):
    print(f"{setting}: {SETTINGS[setting][0]}, T = {SETTINGS[setting][1]}, batch {SETTINGS[setting][2]}, "
          f"K = {SETTINGS[setting][3]}", flush=True)
    start, _ = ours(a, setting, "--dump", folder, "--steps", "1", "--train", "--inference")
    if a.onnx:
        subprocess.run([sys.executable, os.path.abspath(__file__), "--child", "onnx", "--folder", folder],
                       check=True, stdout=subprocess.DEVNULL)
    for kind in a.kinds.split(","):
        rows = {"Crossframe": [], "PyTorch": []}
        memory = {"Crossframe": 0, "PyTorch": 0}
        share = []
        if kind == "train" and a.checkpoint:
            rows["recomputing"], memory["recomputing"] = [], 0
        if kind == "inference" and a.onnx:
            rows["onnxruntime"], memory["onnxruntime"] = [], 0
        for i in range(a.rounds):
            for name in rows:
                if name == "PyTorch":
                    result, rss = theirs(a, setting, folder, kind)
                    seconds = result["seconds"]
                    if i == 0:
                        agree(kind, start[kind]["loss"], result["loss"])
                elif name == "onnxruntime":
                    result, rss = onnx(a, folder, setting)
                    seconds = result["seconds"]
                else:
                    more = ["--checkpoint"] if name == "recomputing" else []
                    result, rss = ours(a, setting, f"--{kind}", *more)
                    seconds = result[kind]["seconds"]["median"]
                    if name == "Crossframe":
                        share.append(result[kind]["gemm_share"])
                rows[name].append(seconds)
                memory[name] = max(memory[name], rss)
        base = statistics.median(rows["Crossframe"])
        print(f"  {kind}: {100 * statistics.median(share):.1f} % of the GEMM rate")
        for name, times in rows.items():
            m = statistics.median(times)
            print(f"    {name:12} {m:9.4f} s ({min(times):.4f} to {max(times):.4f})  {m / base:5.2f} x time  "
                  f"{memory[name] / 1e9:6.3f} GB  Crossframe takes {memory['Crossframe'] / memory[name]:.2f} of it",
                  flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    build = os.path.join(ROOT, os.environ.get("BUILD", "build"))
    p.add_argument("--program", default=f"{build}/release/crossframe")
    p.add_argument("--settings", default="demo,B/32,B/16", help=f"of {', '.join(SETTINGS)}")
    p.add_argument("--kinds", default="train,inference")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch and onnxruntime")
    p.add_argument("--checkpoint", action="store_true", help="also Crossframe with recomputation")
    p.add_argument("--onnx", help="folder whose node_modules has onnxruntime-node: inference beside it too")
    p.add_argument("--child", help=argparse.SUPPRESS)
    p.add_argument("--folder", help=argparse.SUPPRESS)
    p.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.child == "onnx":
        return export_onnx(a)
    if a.child:
        return child(a)
    for setting in a.settings.split(","):
        if setting not in SETTINGS:
            sys.exit(f"no setting {setting}; there are {', '.join(SETTINGS)}")
        with tempfile.TemporaryDirectory() as folder:
            compare(a, setting, folder)


if __name__ == "__main__":
    common.use_openmp_blas()
    main()
