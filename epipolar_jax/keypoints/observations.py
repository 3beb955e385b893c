"""Observations: 2D points with confidence of any number of frames, people and views, by name."""

import dataclasses
import os

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Observations:
  """What detectors found, on the host. A point that was not seen is NaN with score 0.

  Attributes:
    points: [f, p, v, j, 2], float64, px of the views' own images (lens distortion included);
      integers are pixel centres. p slots for people (or animals): unless `matched`, slot i of one
      view or frame need not hold the person of slot i of another.
    score: [f, p, v, j], float64, confidence from 0 to 1; 0 exactly where the point is NaN.
    joints: j names.
    views: v camera names.
    fps: frames a second, None if the file does not say.
    sizes_wh: (width, height) of each view's images, () if the file does not say.
    first_frame: number of the first frame in the videos; the others follow without gaps, and a
      frame that a file does not have is one in which nothing was seen.
    people: p names of people or tracks, () if the files have none.
    matched: slot i holds the same person in all views and frames, as `matching.people` makes it.

  Raises:
    ValueError: the shapes do not belong together, names repeat, or a score is not from 0 to 1.
  """

  points: np.ndarray
  score: np.ndarray
  joints: tuple[str, ...]
  views: tuple[str, ...]
  fps: float | None = None
  sizes_wh: tuple[tuple[int, int], ...] = ()
  first_frame: int = 0
  people: tuple[str, ...] = ()
  matched: bool = False

  def __post_init__(self):
    points = np.asarray(self.points, np.float64)
    score = np.asarray(self.score, np.float64)
    wanted = (*points.shape[:2], len(self.views), len(self.joints))
    if points.shape != (*wanted, 2) or score.shape != wanted:
      raise ValueError(
        "observations: points should be [frames, people, views, joints, 2] and score the same "
        f"without the 2, with {len(self.views)} views and {len(self.joints)} joints; got points "
        f"{list(points.shape)} and score {list(score.shape)}"
      )
    for what, names in (("view", self.views), ("joint", self.joints), ("person", self.people)):
      twice = sorted({name for name in names if names.count(name) > 1})
      if twice:
        raise ValueError(f"observations: more than one {what} is called {', '.join(twice)}")
    if len(self.sizes_wh) not in (0, len(self.views)):
      raise ValueError(
        f"observations: {len(self.sizes_wh)} image sizes for {len(self.views)} views"
      )
    if len(self.people) not in (0, points.shape[1]):
      raise ValueError(f"observations: {len(self.people)} names for {points.shape[1]} people")
    seen = np.isfinite(points).all(-1) & np.nan_to_num(score, nan=0.0).astype(bool)
    bad = seen & ~((score >= 0) & (score <= 1))
    if bad.any():
      f, p, v, j = np.argwhere(bad)[0]
      raise ValueError(
        f"observations: scores are from 0 to 1, but frame {f}, person {p}, view {self.views[v]}, "
        f"joint {self.joints[j]} has {score[f, p, v, j]} ({bad.sum()} such)"
      )
    object.__setattr__(self, "points", np.where(seen[..., None], points, np.nan))
    object.__setattr__(self, "score", np.where(seen, score, 0.0))

  @staticmethod
  def read(path: str | os.PathLike, *, joint_set: str | None = None) -> "Observations":
    """Reads a keypoint file of any known format; see `keypoints.reading.read_file`."""
    from epipolar_jax.keypoints import reading  # which makes observations

    return reading.read_file(path, joint_set=joint_set)

  @property
  def seen(self) -> np.ndarray:
    """[f, p, v, j], bool."""
    return self.score > 0

  def select(self, *, views: tuple[str, ...]) -> "Observations":
    """These views, in this order.

    Raises:
      ValueError: there is no such view; the message lists the names.
    """
    missing = [name for name in views if name not in self.views]
    if missing:
      raise ValueError(
        f"no keypoints of view {', '.join(missing)}; there are {', '.join(self.views)}"
      )
    order = [self.views.index(name) for name in views]
    sizes = tuple(self.sizes_wh[i] for i in order) if self.sizes_wh else ()
    return dataclasses.replace(
      self,
      points=self.points[:, :, order],
      score=self.score[:, :, order],
      views=tuple(views),
      sizes_wh=sizes,
    )
