"""Reads TensorBoard event files with Google's protobuf library and field numbers written down here,
not taken from our writer, and holds them against the run's log.jsonl.

    events_peer.py OUTPUT...        each a folder that `crossframe train` wrote; exit 1 on a difference

Needs python3-protobuf. Messages: tensorflow/tensorboard, tensorboard/compat/proto/event.proto and
summary.proto. Uses tensorboard's own reader as well where that package is installed.
"""
import glob
import json
import os
import struct
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

F = descriptor_pb2.FieldDescriptorProto
DOUBLE, FLOAT, INT64, ENUM, TEXT, MESSAGE = (
    F.TYPE_DOUBLE, F.TYPE_FLOAT, F.TYPE_INT64, F.TYPE_INT32, F.TYPE_STRING, F.TYPE_MESSAGE)
MESSAGES = {
    "SourceMetadata": [("writer", 1, TEXT, None)],
    "SessionLog": [("status", 1, ENUM, None)],
    "Value": [("tag", 1, TEXT, None), ("simple_value", 2, FLOAT, None)],
    "Summary": [("value", 1, MESSAGE, "Value*")],
    "Event": [("wall_time", 1, DOUBLE, None), ("step", 2, INT64, None),
              ("file_version", 3, TEXT, None), ("summary", 5, MESSAGE, "Summary"),
              ("session_log", 7, MESSAGE, "SessionLog"),
              ("source_metadata", 10, MESSAGE, "SourceMetadata")],
}


ONEOF = {("Event", "file_version"): "what", ("Event", "summary"): "what",
         ("Event", "session_log"): "what", ("Value", "simple_value"): "value"}


def event_class():
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="peer", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, of in fields:
            f = message.field.add(name=field, number=number, type=kind, label=F.LABEL_OPTIONAL)
            if (name, field) in ONEOF:  # a member says that it is there, even when it is 0
                if not message.oneof_decl:
                    message.oneof_decl.add(name=ONEOF[name, field])
                f.oneof_index = 0
            if of:
                f.type_name = ".peer." + of.rstrip("*")
                if of.endswith("*"):
                    f.label = F.LABEL_REPEATED
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName("peer.Event"))


TABLE = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ 0x82F63B78 if i & 1 else i >> 1
    TABLE.append(i)


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    with open(path, "rb") as f:
        data = f.read()
    at = 0
    while at < len(data):
        length, crc = struct.unpack_from("<QI", data, at)
        body = data[at + 12:at + 12 + length]
        assert crc == masked_crc(data[at:at + 8]), f"{path}: sum of a length at {at}"
        (crc,) = struct.unpack_from("<I", data, at + 12 + length)
        assert len(body) == length and crc == masked_crc(body), f"{path}: sum of a record at {at}"
        yield body
        at += 16 + length


def points(path):
    """{(tag, step): (wall_time, value)}"""
    Event, out = event_class(), {}
    for i, body in enumerate(records(path)):
        e = Event.FromString(body)
        # Fields we did not declare, or encoded otherwise, would come back as other bytes.
        assert e.SerializeToString(deterministic=True) == body, f"record {i}: other bytes"
        if i == 0:
            assert e.file_version == "brain.Event:2", e.file_version
        assert (e.session_log.status == 1) == (i == 1), f"record {i}: START"
        for v in e.summary.value:
            assert (v.tag, e.step) not in out, f"{v.tag} of step {e.step} twice"
            out[v.tag, e.step] = (e.wall_time, v.simple_value)
    return out


def expected(log):
    """The same from log.jsonl."""
    out = {}
    for line in open(log):
        o = json.loads(line)
        if o["kind"] == "step":
            for name in ("loss", "lr", "lr_new", "grad_norm"):
                out["train/" + name, o["step"]] = (o["time"], o[name])
            for name in ("videos_per_second", "gflops"):
                out["speed/" + name, o["step"]] = (o["time"], o[name])
            out["speed/data_share", o["step"]] = (o["time"], o["data_seconds"] / o["seconds"])
        elif o["kind"] == "eval":
            group = "test" + {"ema": "_ema", "best": "_best"}.get(o["weights"], "")
            group += "_views" if o["views"] > 1 else ""
            for name in ("top1", "top5", "mean_class"):
                out[group + "/" + name, o["step"]] = (o["time"], o[name])
    return {key: value for key, value in out.items() if value[1] is not None}


def by_tensorboard(folder):
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        return None
    a = EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
    a.Reload()
    return {(tag, s.step): (s.wall_time, s.value)
            for tag in a.Tags()["scalars"] for s in a.Scalars(tag)}


def compare(what, got, want):
    assert got.keys() == want.keys(), (what, set(got) ^ set(want))
    worst = 0
    for key, (time, value) in want.items():
        assert abs(got[key][0] - time) < 1e-3, (what, key)
        worst = max(worst, abs(got[key][1] - value) / max(abs(value), 1e-12))
    assert worst < 2e-5, (what, worst)
    print(f"{what}: {len(got)} points, largest relative difference from log.jsonl {worst:.1e}")


for folder in sys.argv[1:]:
    files = glob.glob(os.path.join(folder, "events.out.tfevents.*"))
    assert len(files) == 1, files
    want = expected(os.path.join(folder, "log.jsonl"))
    compare(f"{folder}: protobuf", points(files[0]), want)
    other = by_tensorboard(folder)
    if other is None:
        print(f"{folder}: tensorboard: skipped: the package is not installed")
    else:
        compare(f"{folder}: tensorboard", other, want)
