"""What the benchmarks of `epipolar predict` look at: the user's recording, or a rendered one."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from epipolar_jax.cli import patterns
from epipolar_jax.keypoints import reading
from epipolar_jax.rigs.rig import Rig

_VIEWS = 4


class Recording(NamedTuple):
  """Videos as of `epipolar predict --videos`, their calibration, and who is compared with.

  Attributes:
    videos: files or patterns; (): a clip is rendered (data.synthetic.clip).
    cameras: calibration; None with no videos.
    frames: of the rendered clip.
    mediapipe: interpreter of an environment with mediapipe 0.10, numpy and OpenCV; "": none.
  """

  videos: Sequence[str] = ()
  cameras: pathlib.Path | None = None
  frames: int = 64
  mediapipe: str = ""

  @contextlib.contextmanager
  def opened(self) -> Iterator["Recording"]:
    """The same with videos and a calibration, which a rendered clip has while this lasts."""
    if self.videos:
      yield self
      return
    from data.synthetic import clip

    with tempfile.TemporaryDirectory() as name:
      folder = pathlib.Path(name)
      clip.write(folder, frames=self.frames, views=_VIEWS, hide=0, seed=0)
      yield self._replace(videos=[str(folder / "cam*.mp4")], cameras=folder / "calibration.json")

  def paths(self) -> tuple[dict[str, pathlib.Path], Rig]:
    """The videos by camera, and the rig of these cameras."""
    rig = Rig.read(self.cameras)
    found = reading.pair_all(patterns.expanded(self.videos, "video"), rig.names)
    return found, rig.select(tuple(found))


RENDERED = Recording()
