"""Reads PyTorch checkpoints (.pth) without torch, executing nothing.

Two formats: the zip archive of torch 1.6 and later, and before that ("legacy") five pickles
followed by the raw storages. In both a tensor is a persistent id that names a storage, and a call
of `_rebuild_tensor_v2` with offset, size and strides, which are checked here before a view is made.
"""

import dataclasses
import math
import os
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from epipolar_jax.pickles import restricted

MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
STORAGES = {
  "torch.FloatStorage": np.dtype("<f4"),
  "torch.DoubleStorage": np.dtype("<f8"),
  "torch.HalfStorage": np.dtype("<f2"),
  "torch.BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
  "torch.LongStorage": np.dtype("<i8"),
  "torch.IntStorage": np.dtype("<i4"),
  "torch.ShortStorage": np.dtype("<i2"),
  "torch.CharStorage": np.dtype("i1"),
  "torch.ByteStorage": np.dtype("u1"),
  "torch.BoolStorage": np.dtype("?"),
}
_MAX_AXES = 32  # of a tensor
_MAX_PICKLE = 256 << 20  # bytes of a zip's data.pkl; a ResNet-152's is 0.2 MB
_NAMES = frozenset(STORAGES)
_show = restricted.show
_ZIP_ERRORS = (
  zipfile.BadZipFile,
  zlib.error,
  struct.error,
  OSError,
  EOFError,
  NotImplementedError,
  RuntimeError,
  ValueError,
  OverflowError,
)


class CheckpointError(ValueError):
  """A file that is no checkpoint, is damaged, or holds something that is not allowed."""


def read(path: str | os.PathLike[str]) -> Any:
  """Reads a file that `torch.save` wrote.

  Args:
    path: a .pth, .pt or .tar file in torch's zip or legacy format.

  Returns:
    What was saved: dicts, lists, tuples, texts, numbers, and tensors as read-only numpy arrays
    (bfloat16 as `ml_dtypes.bfloat16`). Tensors that shared memory still do.

  Raises:
    CheckpointError: not such a file, truncated, damaged, or with other objects in it than these;
      names the file and the reason.
    OSError: the file cannot be opened.
  """
  path = pathlib.Path(path)
  with path.open("rb") as file:
    head = file.read(512)
  try:
    if head.startswith(b"PK"):
      return _read_zip(path)
    if head[:1] == b"\x80" and head[1:2] and head[1] in restricted.PROTOCOLS:
      return _read_legacy(path.read_bytes())
  except (restricted.PickleError, CheckpointError) as error:
    raise CheckpointError(f"{path}: {error}") from error
  if head[257:262] == b"ustar":
    reason = (
      "the tar format of torch before 0.1.10 is not read; torchvision has re-uploaded its models "
      "(resnet50-0676ba61.pth and so on), or load and save the file once with any newer torch"
    )
  else:
    reason = f"this is not a PyTorch checkpoint; it starts with {head[:16]!r}"
  raise CheckpointError(f"{path}: {reason}")


@dataclasses.dataclass(frozen=True)
class _Storage:
  """A flat buffer.

  Attributes:
    dtype: of its elements.
    numel: their number.
    data: [numel]; None while the positions of the storages in the file are not known yet.
  """

  dtype: np.dtype
  numel: int
  data: np.ndarray | None


def _load(data: bytes, start: int, open_storage: Callable[..., _Storage]) -> tuple[Any, int]:
  """Reads the pickle of the saved object; `open_storage(key, dtype, numel)` gives its storages."""

  def persistent_load(pid: Any) -> _Storage:
    if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
      kind = pid[0] if type(pid) is tuple and pid else pid
      raise CheckpointError(f"it refers to {_show(kind)}; only tensor storages are read")
    _, kind, key, _, numel = pid[:5]
    if type(kind) is not restricted.Global or kind.name not in STORAGES:
      raise CheckpointError(f"unknown kind of storage: {_show(kind)}")
    if type(key) is not str or not _is_count(numel):
      raise CheckpointError(f"a storage with key {_show(key)} and {_show(numel)} elements")
    storage = open_storage(key, STORAGES[kind.name], numel)
    return storage if len(pid) == 5 or pid[5] is None else _part(storage, pid[5])

  return restricted.loads(
    data, start, functions=_FUNCTIONS, names=_NAMES, persistent_load=persistent_load
  )


def _part(storage: _Storage, view: Any) -> _Storage:
  """A part of a storage, as very old files describe it: (key, offset, number of elements)."""
  if type(view) is not tuple or len(view) != 3 or not all(map(_is_count, view[1:])):
    raise CheckpointError(f"a damaged view of a storage: {_show(view)}")
  _, offset, numel = view
  if offset + numel > storage.numel:
    raise CheckpointError("a view reaches outside its storage")
  data = None if storage.data is None else storage.data[offset : offset + numel]
  return _Storage(storage.dtype, numel, data)


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
  """OrderedDict() or Counter() of nothing, a dict, or a list of pairs."""
  if not arguments:
    return {}
  items = arguments[0]
  if type(items) is dict:
    return items
  if type(items) is not list or not all(type(x) in (list, tuple) and len(x) == 2 for x in items):
    raise CheckpointError("an OrderedDict of something that is not pairs")
  found = {restricted.check_key(key): value for key, value in items}
  # Used up, so that a crafted file cannot have many large copies of one list.
  items.clear()
  return found


def _tensor(arguments: tuple[Any, ...]) -> np.ndarray | None:
  """A checked view (storage, offset, size, stride, ...); None while the storage has no data."""
  if len(arguments) < 4 or type(arguments[0]) is not _Storage:
    raise CheckpointError("a tensor without a storage")
  storage, offset, size, stride = arguments[:4]
  described = f"a tensor of size {_show(size)}, stride {_show(stride)}, offset {_show(offset)}"
  if type(size) is not tuple or type(stride) is not tuple or len(size) != len(stride):
    raise CheckpointError(f"{described}: size and stride do not match")
  if len(size) > _MAX_AXES or not all(map(_is_count, (offset, *size, *stride))):
    raise CheckpointError(f"{described}: not a shape of non-negative integers")
  if 0 in size:
    if math.prod(max(n, 1) for n in size) > 1 << 40:
      raise CheckpointError(f"{described}: too large")
    return np.zeros(size, storage.dtype)
  last = offset + sum((n - 1) * step for n, step in zip(size, stride))
  if last >= storage.numel or math.prod(size) > storage.numel:
    raise CheckpointError(f"{described} reaches outside its storage of {storage.numel} elements")
  if storage.data is None:
    return None
  # The stride of an axis of length 1 is never used and may be anything.
  steps = [storage.dtype.itemsize * (step if n > 1 else 0) for n, step in zip(size, stride)]
  return np.lib.stride_tricks.as_strided(storage.data[offset:], size, steps, writeable=False)


def _parameter(arguments: tuple[Any, ...]) -> np.ndarray | None:
  """`torch.nn.Parameter`: its tensor."""
  if not arguments or not (arguments[0] is None or isinstance(arguments[0], np.ndarray)):
    raise CheckpointError("a parameter without a tensor")
  return arguments[0]


_FUNCTIONS = {
  "collections.OrderedDict": _ordered_dict,
  "collections.Counter": _ordered_dict,  # milestones of a learning rate schedule
  "torch._utils._rebuild_tensor": _tensor,
  "torch._utils._rebuild_tensor_v2": _tensor,
  "torch._utils._rebuild_parameter": _parameter,
}


def _is_count(value: Any) -> bool:
  return type(value) is int and 0 <= value < 1 << 62


def _buffer(data: bytes, dtype: np.dtype, start: int, numel: int) -> np.ndarray:
  """A storage's elements; any byte is a legal bool."""
  if dtype.kind == "b":
    return np.frombuffer(data, np.uint8, numel, start) != 0
  return np.frombuffer(data, dtype, numel, start)


def _read_legacy(data: bytes) -> Any:
  """Magic number, version, system, object, storage keys, then each storage's length and bytes."""
  magic, position = restricted.loads(data)
  version, position = restricted.loads(data, position)
  if magic != MAGIC or version != LEGACY_VERSION:
    raise CheckpointError(
      f"this is not a PyTorch checkpoint: magic {_show(magic)}, {_show(version)}"
    )
  system, position = restricted.loads(data, position)
  if type(system) is not dict or system.get("little_endian") is not True:
    raise CheckpointError("written on a big-endian machine, or damaged")

  # The storages come after the object that refers to them, so that is read twice: first for what
  # it wants, then for good.
  start, wanted = position, {}

  def declare(key: str, dtype: np.dtype, numel: int) -> _Storage:
    storage = wanted.setdefault(key, _Storage(dtype, numel, None))
    if (storage.dtype, storage.numel) != (dtype, numel):
      raise CheckpointError(f"storage {key} has two descriptions")
    return storage

  _, position = _load(data, start, declare)
  keys, position = restricted.loads(data, position)
  if type(keys) is not list or not all(type(key) is str for key in keys):
    raise CheckpointError("damaged list of storages")
  if sorted(keys) != sorted(wanted):
    raise CheckpointError("the storages in the file are not those its tensors refer to")
  storages = {}
  for key in keys:
    dtype, numel = wanted[key].dtype, wanted[key].numel
    end = position + 8 + numel * dtype.itemsize
    if end > len(data):
      raise CheckpointError(f"truncated: storage {key} ends at byte {end} of {len(data)}")
    if struct.unpack_from("<q", data, position)[0] != numel:
      raise CheckpointError(f"storage {key} is not as long as its tensors say")
    storages[key] = _Storage(dtype, numel, _buffer(data, dtype, position + 8, numel))
    position = end
  return _load(data, start, lambda key, *_: storages[key])[0]


def _read_zip(path: pathlib.Path) -> Any:
  """Archive with `<name>/data.pkl` and one member `<name>/data/<key>` for each storage."""
  try:
    with zipfile.ZipFile(path) as archive:
      return _read_archive(archive, path.stat().st_size)
  except (restricted.PickleError, CheckpointError):
    raise
  except _ZIP_ERRORS as error:
    raise CheckpointError(f"truncated or damaged zip archive: {error}") from error


def _read_archive(archive: zipfile.ZipFile, file_size: int) -> Any:
  members = {member.filename: member for member in archive.infolist()}
  if len(members) != len(archive.infolist()):
    raise CheckpointError("two members of the archive have one name")
  roots = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")]
  if len(roots) != 1:
    raise CheckpointError("this zip archive is not a PyTorch checkpoint: no data.pkl in it")
  left, storages = file_size, {}

  def take(name: str, largest: int) -> bytes:
    nonlocal left
    member = members.get(f"{roots[0]}/{name}")
    if member is None:
      raise CheckpointError(f"the archive has no {name!r:.60}")
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
      raise CheckpointError(f"{name} is compressed or encrypted; torch.save stores plainly")
    if member.compress_size != member.file_size:
      # `archive.read` allocates what compress_size says before it reads a byte.
      raise CheckpointError(
        f"{name} is damaged: {member.compress_size} bytes in the archive are said to hold "
        f"{member.file_size}, though stored plainly"
      )
    # Members may overlap in a crafted file: together they cannot hold more than the file.
    left -= member.file_size
    if member.file_size > largest or left < 0:
      raise CheckpointError(f"{name} is larger than it should be")
    return archive.read(member)

  def open_storage(key: str, dtype: np.dtype, numel: int) -> _Storage:
    if key not in storages:
      data = take(f"data/{key}", numel * dtype.itemsize)
      if len(data) != numel * dtype.itemsize:
        raise CheckpointError(f"storage {key} is shorter than its tensors say")
      storages[key] = _Storage(dtype, numel, _buffer(data, dtype, 0, numel))
    if (storages[key].dtype, storages[key].numel) != (dtype, numel):
      raise CheckpointError(f"storage {key} has two descriptions")
    return storages[key]

  if f"{roots[0]}/byteorder" in members and take("byteorder", 8) != b"little":
    raise CheckpointError("written on a big-endian machine")
  return _load(take("data.pkl", _MAX_PICKLE), 0, open_storage)[0]
