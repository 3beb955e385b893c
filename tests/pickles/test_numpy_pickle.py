"""Reading pickled annotations: what numpy wrote comes back, all else is refused, nothing is run."""

import contextlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epipolar_jax.pickles import numpy_pickle

_SHARED = np.float32([1.5, -2.5])
_TREE = {
  0: {"xyz": np.arange(12.0).reshape(4, 3), "K": np.eye(3, dtype=np.float32)},
  "names": ["a", "ü", "x" * 300],
  "columns": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
  "big_endian": np.arange(3, dtype=">f4"),
  "flags": np.array([True, False]),
  "empty": np.zeros((0, 3)),
  "point": np.array(7, np.uint8),
  "center": (np.float64(0.1), np.int64(-5), np.bool_(True)),
  "shared": [_SHARED, _SHARED],
  "plain": [None, True, 1, -(2**40), 0.1, b"\xff\x00"],
}


def _same(read, made):
  assert type(read) is (dict if type(made) is dict else type(read))
  if isinstance(made, dict):
    assert list(read) == list(made)
    for key, value in made.items():
      _same(read[key], value)
  elif isinstance(made, list | tuple):
    assert type(read) is type(made) and len(read) == len(made)
    for pair in zip(read, made):
      _same(*pair)
  elif isinstance(made, np.ndarray):
    assert read.dtype == made.dtype and read.shape == made.shape
    np.testing.assert_array_equal(read, made)
  else:
    assert read == made and type(read) in (type(made), type(getattr(made, "item", int)()))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_numpy_wrote_comes_back(protocol):
  read = numpy_pickle.loads(pickle.dumps(_TREE, protocol))
  _same(read, _TREE)
  assert read["shared"][0] is read["shared"][1]


def test_what_numpy_1_and_python_2_wrote_comes_back():
  """numpy 2 renamed numpy.core; Python 2 wrote bytes as texts."""
  data = pickle.dumps(np.arange(2.0), 3).replace(b"numpy._core.", b"numpy.core.")
  np.testing.assert_array_equal(numpy_pickle.loads(data), [0, 1])
  contents = np.arange(2.0).tobytes()
  old = data.replace(b"C" + bytes([16]) + contents, b"U" + bytes([16]) + contents)
  assert old != data
  np.testing.assert_array_equal(numpy_pickle.loads(old), [0, 1])


class _Harmful:
  def __reduce__(self):
    return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize(
  "value, message",
  [
    (_Harmful(), "'builtins.exec', which is not allowed in an annotation file"),
    (np.array([1, "a"], object), "arrays of dtype 'O8'; only numbers"),
    (np.array(["text"]), "only numbers are allowed"),
    ({1, 2}, "EMPTY_SET is not allowed|'builtins.set'"),
    ({(1, 2): 3}, "a tuple is not allowed as a key"),
  ],
)
@pytest.mark.parametrize("protocol", [3, 5])
def test_everything_else_is_refused(value, message, protocol):
  with pytest.raises(numpy_pickle.PickleError, match=message):
    numpy_pickle.loads(pickle.dumps([value], protocol))


def test_a_wrong_size_is_refused():
  data = pickle.dumps(np.zeros((4, 3)), 3)
  with pytest.raises(numpy_pickle.PickleError, match=r"shape \(9, 3\) needs 216 bytes, not 96"):
    numpy_pickle.loads(data.replace(b"K\x04K\x03\x86", b"K\x09K\x03\x86"))
  with pytest.raises(numpy_pickle.PickleError, match="array of shape"):
    numpy_pickle.loads(data.replace(b"K\x04K\x03\x86", b"J\xff\xff\xff\xffK\x03\x86"))


def test_a_small_file_cannot_become_large_arrays():
  text = b"X" + (1000).to_bytes(4, "little") + bytes(1000)
  call = b"c_codecs\nencode\nh\x01X\x06\x00\x00\x00latin1\x86R"
  assert numpy_pickle.loads(b"\x80\x02" + text + b"q\x01](h\x01" + call + b"e\x86.")
  with pytest.raises(numpy_pickle.PickleError, match="larger than the file"):
    numpy_pickle.loads(b"\x80\x02" + text + b"q\x01](h\x01" + call * 9 + b"e\x86.")


def test_messages_name_the_file(tmp_path):
  path = tmp_path / "anno.pickle"
  path.write_bytes(pickle.dumps(_TREE)[:-20])
  with pytest.raises(numpy_pickle.PickleError, match=r"anno\.pickle: .*truncated or damaged"):
    numpy_pickle.load(path)
  path.write_bytes(pickle.dumps(_TREE) + b"more")
  with pytest.raises(numpy_pickle.PickleError, match="4 bytes follow the pickle"):
    numpy_pickle.load(path)
  path.write_bytes(pickle.dumps(_TREE, 0))
  with pytest.raises(numpy_pickle.PickleError, match=r"anno\.pickle: the pickle operation"):
    numpy_pickle.load(path)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_refused(data):
  """Whatever bytes change, there is a value or a PickleError."""
  raw = bytearray(pickle.dumps(_TREE, data.draw(st.integers(2, 5))))
  for _ in range(data.draw(st.integers(1, 3))):
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
  with contextlib.suppress(numpy_pickle.PickleError):
    numpy_pickle.loads(bytes(raw))
