"""OnnxDetector: a network of any framework, in ONNX with a card, finds joints in windows."""

import hashlib
import itertools
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from epipolar_jax.footage import detector, model_card, onnx_graph
from epipolar_jax.geometry.cameras import Cameras

_BATCH = 8
# Probabilities are kept this far from 0 and 1, as logits of -13.8 to 13.8.
_LEAST = 1e-6
# Pixels of the image to a pixel of the heatmap that simcc's two distributions become.
_SIMCC_STRIDE = 4
# Half width of a simcc peak whose probability is the score, px of the image.
_PEAK_PX = 12.0


class OnnxDetector:
  """What `detector.Detector` is, with a network in ONNX.

  A network of w x h px reads the middle of square windows whose side is the larger of the two.

  Attributes:
    skeleton: of the joints.
    size: side of the windows it takes, px.
    gain: weight of the other views' evidence; 0 leaves the views alone.
    searches: True: it is trained on windows around bodies, not on whole images.
    doubt: None: nobody knows how large the errors of its joints are in 3D.
    description: what its output depends on, for records.
  """

  searches = True
  doubt = None

  def __init__(self, path: str | os.PathLike, *, gain: float = 1.0, sharpness: float = 0.5):
    """Loads FILE.onnx and its card FILE.toml.

    Args:
      path: of the .onnx file.
      gain: weight of the other views' evidence.
      sharpness: of the attention along a line.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: onnxruntime is not installed, or the file, its card, or what they say of each
        other is wrong; the message names the file and the field.
    """
    self._path = pathlib.Path(path)
    self.card = model_card.read(self._path.with_suffix(".toml"))
    data = onnx_graph.read(self._path)
    self.skeleton, self.size = self.card.skeleton, max(self.card.input_wh)
    self.gain, self.sharpness = gain, sharpness
    digest = hashlib.sha256(data + repr(self.card).encode()).hexdigest()
    self.description = {"onnx_sha256": digest, "gain": gain, "sharpness": sharpness}
    self._session = _session(data, self._path)
    self._name, self._batch = self._input()
    side = self.size
    left, top = ((side - x) // 2 for x in self.card.input_wh)
    wide, high = self.card.input_wh
    self._middle = np.s_[:, top : top + high, left : left + wide]
    # One black window says how large the maps are.
    first = self._run(np.zeros((1, side, side, 3), np.uint8))
    self._stride = side // first.shape[1]

  def maps(self, windows: Iterable[np.ndarray]) -> np.ndarray:
    """Heatmap logits [n, h, w, j] of n windows [size, size, 3] uint8 RGB, taken as they come."""
    windows = iter(windows)
    side = self.size // self._stride
    found = [np.zeros((0, side, side, self.skeleton.num_joints), np.float32)]
    while batch := list(itertools.islice(windows, _BATCH)):
      found.append(self._run(np.stack(batch)))
    return np.concatenate(found)

  def decode(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints of single views: uv [n, j, 2], px of the windows, and score [n, j], 0..1."""
    return detector.decode(maps, stride=self._stride)

  def fuse(
    self, maps: np.ndarray, seen: np.ndarray, cameras: Cameras
  ) -> tuple[np.ndarray, np.ndarray]:
    """Joints of one frame's views; arguments and results as of `detector.Detector.fuse`."""
    return detector.fuse(maps, seen, cameras, self.gain, self.sharpness, stride=self._stride)

  def _input(self) -> tuple[str, int | None]:
    """Name of the input, and how many images it takes at a time; None: any number."""
    inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
    wanted = 1 if self.card.output == "heatmap" else 2
    if len(inputs) != 1 or len(outputs) != wanted:
      raise ValueError(
        f"{self._path}: {len(inputs)} inputs and {len(outputs)} outputs; a network of "
        f"{self.card.output} has 1 and {wanted}"
      )
    wide, high = self.card.input_wh
    shape = [3, high, wide] if self.card.layout == "nchw" else [high, wide, 3]
    count, *given = inputs[0].shape if len(inputs[0].shape) == 4 else [None]
    if len(given) != 3 or any(isinstance(x, int) and x != y for x, y in zip(given, shape)):
      raise ValueError(
        f"{self._path}: its input is {inputs[0].shape}, the card says {['n', *shape]}"
      )
    if inputs[0].type != "tensor(float)":
      raise ValueError(f"{self._path}: its input is a {inputs[0].type}, not a tensor(float)")
    if isinstance(count, int) and not 1 <= count <= 64:
      raise ValueError(f"{self._path}: its input holds {count} images; 1 to 64 are run")
    return inputs[0].name, count if isinstance(count, int) else None

  def _run(self, windows: np.ndarray) -> np.ndarray:
    """Heatmap logits [n, h, w, j] of windows [n, size, size, 3]."""
    images = windows[self._middle].astype(np.float32)
    images = images[..., ::-1] if self.card.channels == "bgr" else images
    images = (images - np.float32(self.card.mean)) / np.float32(self.card.std)
    if self.card.layout == "nchw":
      images = images.transpose(0, 3, 1, 2)
    size = self._batch or len(images)
    parts = []
    for start in range(0, len(images), size):
      batch = images[start : start + size]
      pad = [(0, size - len(batch))] + [(0, 0)] * 3
      given = np.ascontiguousarray(np.pad(batch, pad))
      try:
        found = self._session.run(None, {self._name: given})
      except Exception as error:  # onnxruntime's errors have no common class
        raise ValueError(f"{self._path} could not be run: {error}") from error
      parts.append([x[: len(batch)] for x in found])
    outputs = [np.concatenate(x) for x in zip(*parts)]
    for output in outputs:
      if output.dtype != np.float32 or not np.isfinite(output).all():
        raise ValueError(f"{self._path}: its output is {output.dtype} or not finite")
    return self._of_simcc(*outputs) if self.card.output == "simcc" else self._of_map(*outputs)

  def _of_map(self, maps: np.ndarray) -> np.ndarray:
    if maps.ndim == 4 and self.card.layout == "nchw":
      maps = maps.transpose(0, 2, 3, 1)
    joints, (wide, high) = self.skeleton.num_joints, self.card.input_wh
    stride = wide // maps.shape[2] if maps.ndim == 4 and maps.shape[2] else 0
    if maps.shape[1:] != (high // max(stride, 1), wide // max(stride, 1), joints) or not stride:
      raise ValueError(
        f"{self._path}: its output is {list(maps.shape)}; a heatmap of {self.skeleton.name} is [n, "
        f"{high} / s, {wide} / s, {joints}] with whole s (as nhwc)"
      )
    if self.card.values == "probability":
      share = np.clip(maps, _LEAST, 1 - _LEAST)
      maps = np.log(share) - np.log1p(-share)
    return self._whole(maps, stride)

  def _of_simcc(self, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The heatmap whose rows and columns are independent; its maximum is the score."""
    joints, scores, logs = self.skeleton.num_joints, [], []
    for what, given, length in zip(("columns", "rows"), (columns, rows), self.card.input_wh):
      factor = given.shape[-1] // length if given.ndim == 3 else 0
      cells = length // _SIMCC_STRIDE
      if (
        given.shape[1:] != (joints, factor * length)
        or not factor
        or cells * _SIMCC_STRIDE != length
      ):
        raise ValueError(
          f"{self._path}: its output of {what} is {list(given.shape)}, not [n, {joints}, {length} "
          f"times a whole number], {length} being a multiple of {_SIMCC_STRIDE}"
        )
      x = given * np.float32(self.card.simcc_factor)
      share = np.exp(x - x.max(axis=-1, keepdims=True))
      share /= share.sum(axis=-1, keepdims=True)
      place = (np.arange(factor * length) + 0.5) / factor
      near = np.abs(place - place[share.argmax(axis=-1)][..., None]) <= _PEAK_PX
      scores.append((share * near).sum(axis=-1))
      coarse = share.reshape(*share.shape[:2], cells, -1).sum(axis=-1)
      logs.append(np.log(np.maximum(coarse / coarse.max(axis=-1, keepdims=True), _LEAST)))
    maps = (
      logs[1][:, :, :, None] + logs[0][:, :, None] + np.log(scores[0] * scores[1])[..., None, None]
    )
    share = np.clip(np.exp(maps), _LEAST, 1 - _LEAST).transpose(0, 2, 3, 1)
    return self._whole(np.log(share) - np.log1p(-share), _SIMCC_STRIDE)

  def _whole(self, maps: np.ndarray, stride: int) -> np.ndarray:
    """The maps of square windows: beside what the network read there is nothing."""
    side, (wide, high) = self.size, self.card.input_wh
    if (side - wide) % (2 * stride) or (side - high) % (2 * stride) or side % stride:
      raise ValueError(
        f"{self._path}: the difference of input_wh {list(self.card.input_wh)} should be a multiple "
        f"of {2 * stride}, twice the stride of its heatmaps"
      )
    u, v = ((side - x) // 2 // stride for x in (wide, high))
    nothing = np.log(_LEAST)
    return np.pad(
      maps, [(0, 0), (v, v), (u, u), (0, 0)], constant_values=np.float32(nothing)
    ).astype(np.float32)


def _session(data: bytes, path: pathlib.Path):
  try:
    import onnxruntime
  except ImportError as error:
    raise ValueError(
      f"{path} needs onnxruntime ({error}): pip install '.[onnx]' in the clone"
    ) from error
  options = onnxruntime.SessionOptions()
  options.log_severity_level = 3
  try:
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
  except Exception as error:  # onnxruntime's errors have no common class
    raise ValueError(f"{path} is no network that onnxruntime can run: {error}") from error
