"""Reading .pth files: what torch wrote comes back, all else is refused and nothing is run."""

import collections
import io
import lzma
import pathlib
import pickle
import re
import struct
import sys
import tracemalloc
import types
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epipolar_jax.original import pth, pth_writer

_GOLDEN = pathlib.Path(__file__).parent.parent / "golden"


def _plain(value):
  """Opcodes of a plain value."""
  return pickle.dumps(value, 2)[2:-1]


def _storage(kind="FloatStorage", key="0", numel=6, name="storage"):
  head = _plain(name) + f"ctorch\n{kind}\n".encode()
  return b"(" + head + _plain(key) + _plain("cpu") + _plain(numel) + b"tQ"


def _tensor(offset=0, size=(2, 3), stride=(3, 1), **storage):
  arguments = _storage(**storage) + _plain(offset) + _plain(size) + _plain(stride) + b"\x89}"
  return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def _zip(path, body, data=bytes(24), compression=zipfile.ZIP_STORED, prefix=b"\x80\x02"):
  with zipfile.ZipFile(path, "w", compression) as archive:
    archive.writestr("archive/data.pkl", prefix + body + b".")
    archive.writestr("archive/data/0", data)
  return path


@pytest.mark.parametrize("name", ["torch_zip", "torch_legacy"])
def test_what_torch_wrote_comes_back(name):
  """Written by torch.save of torch 2.13: views, shared memory, every type, a Parameter."""
  tree = pth.read(_GOLDEN / f"{name}.pth")
  model = tree.pop("model")
  assert tree == {
    "epoch": 3,
    "milestones": {2: 1, 3: 1},
    "lr": 1e-3,
    "betas": (0.9, 0.999),
    "name": "naïve",
    "none": None,
    "on": True,
    "groups": [{"params": [0, 1]}],
  }
  whole = np.arange(24, dtype=np.float32).reshape(4, 6)
  expected = {
    "whole": whole,
    "columns": whole[1:, ::2],
    "transposed": whole.T,
    "half": np.array([1.5, -2.0], np.float16),
    "brain": np.array([1.0, -3.0], ml_dtypes.bfloat16),
    "count": np.array(7),
    "flags": np.array([True, False, True]),
    "double": np.array([[0.1]]),
    "bytes": np.arange(3, dtype=np.uint8),
    "small": np.arange(3, dtype=np.int8),
    "short": np.arange(3, dtype=np.int16),
    "int": np.arange(3, dtype=np.int32),
    "empty": np.zeros((0, 3), np.float32),
    "parameter": np.ones(2, np.float32),
  }
  assert list(model) == list(expected)
  for key, value in expected.items():
    np.testing.assert_array_equal(model[key], value, strict=True)
    assert not model[key].flags.writeable or not model[key].size
  assert np.shares_memory(model["whole"], model["transposed"])


def test_a_training_checkpoint_of_the_original(tmp_path):
  """checkpoint/lifting_direct_h36m_legacy.pth, saved by the original after two Adam steps."""
  path = tmp_path / "lifting.pth"
  path.write_bytes(lzma.decompress((_GOLDEN / "lifting_direct_h36m_legacy.pth.xz").read_bytes()))
  tree = pth.read(path)
  assert list(tree) == ["model", "optimizer", "scheduler", "epoch"]
  assert (tree["epoch"], tree["scheduler"]["milestones"]) == (2, {12: 1})
  weight = tree["model"]["liftingnet.module.poseprior.3.weight"]
  # The sums are torch's.
  assert weight.shape == (512, 512)
  assert weight.sum(dtype=np.float64) == pytest.approx(13.226037889455256, abs=1e-9)
  adam = tree["optimizer"]["state"][17]
  assert adam["step"] == 2 and adam["exp_avg"].shape == (51,)
  assert adam["exp_avg_sq"].sum(dtype=np.float64) == pytest.approx(
    2.4889893666113494e-05, rel=1e-12
  )


def _tree():
  shared = np.arange(6, dtype=np.float32).reshape(2, 3)
  return {"model": {"a": shared, "b": shared, "n": np.array(3)}, "epoch": 1, "x": [None, 2.5, "é"]}


@pytest.mark.parametrize("file_format", pth_writer.FORMATS)
def test_written_files_read_back_equal(tmp_path, file_format):
  dtypes = [*pth.STORAGES.values()]
  tree = _tree() | {"all": {str(d): np.array([[0, 1], [1, 0]]).astype(d) for d in dtypes}}
  pth_writer.write(tmp_path / "a.pth", tree, file_format=file_format)
  found = pth.read(tmp_path / "a.pth")
  for name in ("model", "all"):
    assert list(found[name]) == list(tree[name])
    for key, value in tree[name].items():
      np.testing.assert_array_equal(found[name][key], value, strict=True)
  assert np.shares_memory(found["model"]["a"], found["model"]["b"])
  assert (found["epoch"], found["x"]) == (1, [None, 2.5, "é"])
  with pytest.raises(ValueError, match="complex128 cannot be written"):
    pth_writer.write(tmp_path / "b.pth", {"c": np.zeros(1, complex)}, file_format=file_format)


def test_a_plain_tensor_passes(tmp_path):
  """The template of the crafted files below is itself fine."""
  data = np.arange(6, dtype=np.float32)
  found = pth.read(_zip(tmp_path / "a.pth", _tensor(), data.tobytes()))
  np.testing.assert_array_equal(found, data.reshape(2, 3))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickle_is_read(tmp_path, monkeypatch, protocol):
  """Python's own pickler writes the names that torch.save writes."""
  functions, torch = types.ModuleType("torch._utils"), types.ModuleType("torch")

  def rebuild(*arguments):
    raise AssertionError("only its name is written")

  rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
  functions._rebuild_tensor_v2 = rebuild
  torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
  monkeypatch.setitem(sys.modules, "torch", torch)
  monkeypatch.setitem(sys.modules, "torch._utils", functions)
  place = object()

  class Tensor:
    def __reduce__(self):
      return rebuild, (place, 0, (2, 3), (3, 1), False, collections.OrderedDict())

  class Pickler(pickle.Pickler):
    def persistent_id(self, value):
      return ("storage", torch.FloatStorage, "0", "cpu", 6) if value is place else None

  file = io.BytesIO()
  Pickler(file, protocol).dump({"weight": Tensor(), "again": [Tensor(), "weight"], "epoch": 1000})
  data = np.arange(6, dtype=np.float32)
  with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
    archive.writestr("a/data.pkl", file.getvalue())
    archive.writestr("a/data/0", data.tobytes())
  found = pth.read(tmp_path / "a.pth")
  np.testing.assert_array_equal(found["weight"], data.reshape(2, 3))
  assert found["epoch"] == 1000 and found["again"][1] == "weight"


class _Attack:
  """Pickled as a call of os.system."""

  def __init__(self, target):
    self.target = target

  def __reduce__(self):
    import os

    return os.system, (f"touch {self.target}",)


def test_a_pickled_call_is_refused_and_not_run(tmp_path):
  marker = tmp_path / "marker"
  attack = pickle.dumps({"a": _Attack(marker)}, 2)
  path = _zip(tmp_path / "a.pth", attack[2:-1])
  with pytest.raises(pth.CheckpointError, match=r"a\.pth: it refers to 'posix\.system'"):
    pth.read(path)
  legacy = tmp_path / "b.pth"
  parts = [pickle.dumps(x, 2) for x in (pth.MAGIC, 1001, {"little_endian": True})]
  for position in range(4):
    crafted = [*parts, pickle.dumps(1, 2), pickle.dumps([], 2)]
    crafted[position] = attack
    legacy.write_bytes((parts[0] if position == 0 else b"") + b"".join(crafted))
    with pytest.raises(pth.CheckpointError, match=r"posix\.system"):
      pth.read(legacy)
  assert not marker.exists()


_ORDERED = b"ccollections\nOrderedDict\n"
_SELF_STATE = b"}" + _plain("__class__") + b"ccollections\nOrderedDict\nsb"


@pytest.mark.parametrize(
  ("body", "message"),
  [
    pytest.param(b"cbuiltins\neval\n" + _plain(("1",)) + b"R", "'builtins.eval'", id="eval"),
    pytest.param(b"c__builtin__\ngetattr\n)R", "getattr", id="python 2 name"),
    pytest.param(b"ctorch\nload\n)R", "'torch.load'", id="torch function"),
    pytest.param(b"ccollections\nOrderedDict.update\n)R", "update", id="dotted name"),
    pytest.param(_plain("x") + _plain((1,)) + b"R", "calls something", id="calling a text"),
    pytest.param(b"ctorch\nFloatStorage\n)R", "calls something", id="calling a type"),
    pytest.param(_ORDERED + b")\x81", "NEWOBJ is not allowed", id="newobj"),
    pytest.param(_plain("a") + _plain("b") + b"\x93", "refers to 'a.b'", id="stack global"),
    pytest.param(b"(ios\nsystem\n", "INST", id="inst"),
    pytest.param(b"\x82\x01", "EXT1", id="extension registry"),
    pytest.param(_ORDERED + _SELF_STATE, "dict where|NoneType|Global", id="state of a class"),
    pytest.param(_ORDERED + b")R" + _plain((None, {"a": 1})) + b"b", "state", id="slot state"),
    pytest.param(_tensor() + b"}b", "ndarray where a dict", id="state of a tensor"),
    pytest.param(b"}" + _plain(((1,),)) + b"Ns", "tuple is not allowed as a key", id="tuple key"),
    pytest.param(_ORDERED + _plain(([[(1,), 2]],)) + b"R", "as a key", id="tuple key in pairs"),
    pytest.param(b"j\xff\xff\xff\xff", "recalls value 4294967295", id="absent memo"),
    pytest.param(b"X\xff\xff\xff\xff", "truncated", id="long text"),
    pytest.param(b"s", "stack is empty", id="empty stack"),
    pytest.param(b"u", "mark is missing", id="no mark"),
    pytest.param(_tensor(size=(2, 4)), "outside its storage of 6", id="too large"),
    pytest.param(_tensor(offset=1), "outside its storage", id="offset"),
    pytest.param(_tensor(stride=(4, 1)), "outside its storage", id="stride"),
    pytest.param(_tensor(stride=(1 << 61, 1)), "outside its storage", id="huge stride"),
    pytest.param(_tensor(size=(1 << 61, 1 << 61), stride=(0, 0)), "outside", id="huge broadcast"),
    pytest.param(_tensor(offset=-1), "non-negative", id="negative offset"),
    pytest.param(_tensor(stride=(-3, 1)), "non-negative", id="negative stride"),
    pytest.param(_tensor(size=(-2, -3)), "non-negative", id="negative size"),
    pytest.param(_tensor(size=(2.0, 3)), "non-negative", id="float size"),
    pytest.param(_tensor(size=(True, 3)), "non-negative", id="bool size"),
    pytest.param(_tensor(size=(1 << 80, 1)), "non-negative", id="size beyond 64 bit"),
    pytest.param(_tensor(size=(0, 1 << 61, 1 << 61), stride=(1, 1, 1)), "too large", id="empty"),
    pytest.param(_tensor(size=(1,) * 40, stride=(1,) * 40), "non-negative", id="many axes"),
    pytest.param(_tensor(size=(6,)), "do not match", id="rank"),
    pytest.param(_tensor(numel=1 << 50), "shorter than", id="storage longer than the file"),
    pytest.param(_tensor(numel=5), "data/0 is larger", id="storage shorter than the file"),
    pytest.param(_tensor(key="../0"), "no 'data/../0'", id="path traversal"),
    pytest.param(_tensor(key="1"), "no 'data/1'", id="absent storage"),
    pytest.param(_tensor(kind="QInt8Storage"), "QInt8Storage", id="unknown type"),
    pytest.param(_storage(name="module"), "refers to 'module'", id="whole module"),
    pytest.param(_tensor() + b"0" + _tensor(kind="LongStorage", numel=3), "POP", id="pop"),
    pytest.param(
      _tensor() + _tensor(kind="IntStorage") + b"\x86", "two descriptions", id="two types"
    ),
    pytest.param(b"ctorch._utils\n_rebuild_tensor_v2\n)R", "without a storage", id="no storage"),
  ],
)
def test_crafted_files_are_refused(tmp_path, body, message):
  with pytest.raises(pth.CheckpointError, match=message):
    pth.read(_zip(tmp_path / "a.pth", body))


def test_zips_that_are_not_torchs_are_refused(tmp_path):
  path = _zip(tmp_path / "a.pth", _tensor(), compression=zipfile.ZIP_DEFLATED)
  with pytest.raises(pth.CheckpointError, match="compressed or encrypted"):
    pth.read(path)
  with pytest.raises(pth.CheckpointError, match="pickle protocol 6"):
    pth.read(_zip(path, _tensor(), prefix=b"\x80\x06"))
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("readme.txt", "")
  with pytest.raises(pth.CheckpointError, match=r"no data\.pkl"):
    pth.read(path)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "starts with b''"),
    (b"<!DOCTYPE html>", "DOCTYPE"),
    (bytes(257) + b"ustar", "tar format"),
  ],
)
def test_other_files_are_named_for_what_they_are(tmp_path, content, message):
  (tmp_path / "a.pth").write_bytes(content)
  with pytest.raises(pth.CheckpointError, match=rf"a\.pth: .*{message}"):
    pth.read(tmp_path / "a.pth")


def test_nested_values_that_share_parts_cost_nothing(tmp_path):
  """2⁶⁰ elements when written out, and a depth that no recursion survives."""
  doubling = _plain("x") + b"q\x00h\x00\x86q\x01" * 60
  deep = b"\x85" * 100_000
  assert isinstance(pth.read(_zip(tmp_path / "a.pth", doubling)), tuple)
  assert isinstance(pth.read(_zip(tmp_path / "a.pth", b"N" + deep)), tuple)
  with pytest.raises(pth.CheckpointError, match="refers to a tuple"):
    pth.read(_zip(tmp_path / "a.pth", doubling + b"\x85Q"))


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
  """The bytes of one small file in each format, and a place to put damaged ones."""
  folder = tmp_path_factory.mktemp("fuzz")
  contents = {}
  for file_format in pth_writer.FORMATS:
    pth_writer.write(folder / file_format, _tree(), file_format=file_format)
    contents[file_format] = (folder / file_format).read_bytes()
  return contents, folder / "damaged.pth"


def _read_or_refuse(path, content):
  """Reads a damaged file; any exception but ours is a failure, and so is much memory."""
  path.write_bytes(content)
  found = None
  tracemalloc.start()
  try:
    found = pth.read(path)
  except pth.CheckpointError as error:
    assert str(path) in str(error)
  finally:
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
  # No size that a file of 1 kB states is believed; the most that any one byte of it changed to 0,
  # 1, 127 or 255 was seen to take is 78 kB.
  assert peak < 2_000_000
  return found


def test_a_member_that_claims_more_bytes_than_it_holds_is_refused(valid):
  """`compress_size` in the zip's directory, believed, once allocated 1 GiB for a file of 1 kB."""
  contents, path = valid
  whole = contents["zip"]
  names = set()
  for entry in re.finditer(b"PK\x01\x02", whole):
    if whole[entry.start() + 46 :].startswith(b"archive/version"):
      continue  # never read
    for size in (0, 1 << 20, 0x7FFFFFFF):
      damaged = bytearray(whole)
      struct.pack_into("<I", damaged, entry.start() + 20, size)
      assert _read_or_refuse(path, damaged) is None
    with pytest.raises(pth.CheckpointError, match="is damaged: 2147483647 bytes") as error:
      pth.read(path)
    names.add(str(error.value).split()[1])
  assert names == {"byteorder", "data.pkl", "data/0", "data/1"}


def test_two_members_of_one_name_are_refused(valid):
  contents, path = valid
  path.write_bytes(contents["zip"].replace(b"archive/data/1", b"archive/data/0"))
  with pytest.raises(pth.CheckpointError, match="two members of the archive have one name"):
    pth.read(path)


@pytest.mark.parametrize("file_format", pth_writer.FORMATS)
def test_truncated_files_are_refused(valid, file_format):
  contents, path = valid
  whole = contents[file_format]
  for length in range(0, len(whole), 7):
    assert _read_or_refuse(path, whole[:length]) is None


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(pth_writer.FORMATS), st.data())
def test_damaged_files_read_or_are_refused(valid, file_format, data):
  contents, path = valid
  content = bytearray(contents[file_format])
  places = st.integers(0, len(content) - 1)
  for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
    content[place] = byte
  found = _read_or_refuse(path, bytes(content))
  if bytes(content) == contents[file_format]:
    assert found["epoch"] == 1
