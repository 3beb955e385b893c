"""Reading .safetensors: what the format says comes back, all else is refused."""

import json
import struct
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epipolar_jax.original import pretrained, pth, safetensors

_KINDS = {
  "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
  "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": bool,
}  # fmt: skip


def _file(arrays, **more):
  """A file by the format's description: little-endian length, JSON, then the bytes."""
  names, header, body = {np.dtype(v): k for k, v in _KINDS.items()}, {}, b""
  for key, x in arrays.items():
    places = [len(body), len(body) + x.nbytes]
    header[key] = {"dtype": names[x.dtype], "shape": list(x.shape), "data_offsets": places}
    body += x.tobytes()
  text = json.dumps(header | more).encode()
  return struct.pack("<Q", len(text)) + text + body


def _arrays():
  values = np.array([[0, 1, 1], [1, 0, 1]])
  return {kind: values.astype(dtype) for kind, dtype in _KINDS.items()} | {
    "scalar": np.array(3.5, np.float32),
    "empty": np.zeros((0, 4), np.float32),
  }


def test_every_type_and_shape_comes_back(tmp_path):
  path, arrays = tmp_path / "a.safetensors", _arrays()
  path.write_bytes(_file(arrays, __metadata__={"format": "pt"}))
  found = safetensors.read(path)
  assert list(found) == list(arrays)
  for key, x in arrays.items():
    np.testing.assert_array_equal(found[key], x, strict=True)
  # By its content too: a state_dict may have any name.
  path = path.rename(tmp_path / "weights.bin")
  path.write_bytes(_file({"conv1.weight": arrays["F32"]}))
  np.testing.assert_array_equal(pretrained.read_state_dict(path)["conv1.weight"], arrays["F32"])


def _entry(**changes):
  return {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | changes


@pytest.mark.parametrize(
  ("entry", "message"),
  [
    (_entry(dtype="F8_E4M3"), "of type 'F8_E4M3'; allowed: F64"),
    (_entry(dtype=["F32"]), "of type"),
    (_entry(shape=[2, -3]), "damaged shape"),
    (_entry(shape=[2.0, 3]), "damaged shape"),
    (_entry(shape=[True] * 6), "damaged shape"),
    (_entry(shape=[1] * 40), "damaged shape"),
    (_entry(shape=[1 << 61, 1 << 61]), "truncated or damaged"),
    (_entry(shape=[2, 4]), "truncated or damaged"),
    (_entry(data_offsets=[0, 48], shape=[2, 6]), "truncated or damaged"),
    (_entry(data_offsets=[24, 0]), "truncated or damaged"),
    (_entry(data_offsets=[-24, 0]), "damaged shape"),
    (_entry(data_offsets=[0]), "damaged shape"),
    ({"dtype": "F32"}, "lacks dtype, shape or data_offsets"),
    ("x", "lacks dtype"),
  ],
)
def test_crafted_entries_are_refused(tmp_path, entry, message):
  path = tmp_path / "a.safetensors"
  text = json.dumps({"a": entry}).encode()
  path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(24))
  with pytest.raises(pth.CheckpointError, match=rf"a\.safetensors: .*{message}"):
    safetensors.read(path)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "truncated"),
    (b"\xff" * 8 + b"{}", "header of 18446744073709551615 bytes"),
    (struct.pack("<Q", 2) + b"[]", "a list, not a JSON object"),
    (struct.pack("<Q", 100_000) + b"[" * 100_000, "not JSON"),
    (struct.pack("<Q", 2) + b"\xff\xff", "not JSON"),
  ],
)
def test_other_files_are_refused(tmp_path, content, message):
  (tmp_path / "a.safetensors").write_bytes(content)
  with pytest.raises(pth.CheckpointError, match=message):
    pretrained.read_state_dict(tmp_path / "a.safetensors")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_read_or_are_refused(tmp_path_factory, data):
  content = bytearray(_file(_arrays()))
  places = st.integers(0, len(content) - 1)
  for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
    content[place] = byte
  path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
  path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
  tracemalloc.start()
  try:
    safetensors.read(path)
  except pth.CheckpointError as error:
    assert str(path) in str(error)
  finally:
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
  assert peak < 2_000_000
