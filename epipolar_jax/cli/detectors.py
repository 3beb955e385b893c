"""The detector that an option names: a shipped one, an ONNX file, or a network of one's own."""

import pathlib


def detector_of(
  name: str, checkpoint: pathlib.Path | None, *, fuse: bool = True, several: bool = False
):
  """Loads a detector.

  Args:
    name: thunder, lightning, or a file *.onnx with its card beside it.
    checkpoint: run folder or checkpoint of a network of one's own, in place of the name.
    fuse: whether views are fused along epipolar lines.
    several: windows may hold other people; heeded by the shipped ones alone.

  Raises:
    FileNotFoundError, ValueError: there is none; the message says what there is.
  """
  if checkpoint is not None:
    from epipolar_jax import predicting
    from epipolar_jax.footage import trained

    model = predicting.load(checkpoint)
    return trained.TrainedDetector(model.config, model.variables, fuse=fuse, doubt=model.doubt)
  unfused = {} if fuse else {"gain": 0.0}
  if name.endswith(".onnx"):
    from epipolar_jax.footage import onnx_detector

    return onnx_detector.OnnxDetector(name, **unfused)
  from epipolar_jax.footage import detector

  return detector.Detector(name, several=several, **unfused)
