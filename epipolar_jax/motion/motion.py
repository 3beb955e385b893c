"""Motion: 3D joints over time, which every 3D format is read into and written from."""

import dataclasses

import numpy as np

from epipolar_jax.triangulation.estimate import Estimate

# A view agrees with a point if its weight is at least this.
_AGREES = 0.5
_QUALITY = ("error_px", "num_views", "score")


@dataclasses.dataclass(frozen=True, eq=False)
class Motion:
  """Joints of people (or animals) over time, on the host.

  Attributes:
    points: [f, p, j, 3], float64, world, mm; NaN where there is none.
    joints: j names.
    fps: frames a second, None if the file does not say.
    first_frame: number of the first frame in the videos; the others follow without gaps.
    people: p names, () if there are none.
    error_px: [f, p, j], mean reprojection error of the views that agree; None: not known.
    num_views: [f, p, j], how many agree; None: not known.
    score: [f, p, j], confidence from 0 to 1; None: not known.

  Raises:
    ValueError: the shapes do not belong together, or names repeat.
  """

  points: np.ndarray
  joints: tuple[str, ...]
  fps: float | None = None
  first_frame: int = 0
  people: tuple[str, ...] = ()
  error_px: np.ndarray | None = None
  num_views: np.ndarray | None = None
  score: np.ndarray | None = None

  def __post_init__(self):
    points = np.asarray(self.points, np.float64)
    if points.ndim != 4 or points.shape[2:] != (len(self.joints), 3):
      raise ValueError(
        f"motion: points should be [frames, people, {len(self.joints)} joints, 3], got "
        f"{list(points.shape)}"
      )
    if len(self.people) not in (0, points.shape[1]):
      raise ValueError(f"motion: {len(self.people)} names for {points.shape[1]} people")
    for what, names in (("joint", self.joints), ("person", self.people)):
      twice = sorted({name for name in names if names.count(name) > 1})
      if twice:
        raise ValueError(f"motion: more than one {what} is called {', '.join(twice)}")
    if self.fps is not None and not 0 < self.fps < float("inf"):
      raise ValueError(f"motion: frames a second should be above 0, got {self.fps}")
    known = np.isfinite(points).all(-1)
    object.__setattr__(self, "points", np.where(known[..., None], points, np.nan))
    for name in _QUALITY:
      values = getattr(self, name)
      if values is not None:
        if np.shape(values) != known.shape:
          raise ValueError(f"motion: {name} is {list(np.shape(values))}, not {list(known.shape)}")
        object.__setattr__(self, name, np.where(known, np.asarray(values, np.float64), np.nan))

  @property
  def known(self) -> np.ndarray:
    """[f, p, j], bool: there is a point."""
    return np.isfinite(self.points).all(-1)

  def person(self, index: int) -> "Motion":
    """One person alone."""
    part = np.s_[:, index : index + 1]
    fields = {n: getattr(self, n) for n in _QUALITY}
    return dataclasses.replace(
      self,
      points=self.points[part],
      people=self.people[index : index + 1],
      **{n: None if values is None else values[part] for n, values in fields.items()},
    )


def of_estimate(estimate: Estimate, *, fps: float | None = None, first_frame: int = 0) -> Motion:
  """The motion of triangulated joints.

  Its score is the mean weight of the views that saw a joint, its error that of the views whose
  weight is at least 0.5, and these are counted.
  """
  seen = np.isfinite(estimate.reprojection_px)
  agree = seen & (estimate.inlier >= _AGREES)
  count = agree.sum(axis=2)
  total = np.where(agree, estimate.reprojection_px, 0.0).sum(axis=2)
  weight = np.where(seen, estimate.inlier, 0.0).sum(axis=2)
  return Motion(
    points=np.where(estimate.valid[..., None], estimate.points, np.nan),
    joints=estimate.joints,
    fps=fps,
    first_frame=first_frame,
    error_px=np.where(count > 0, total / np.maximum(count, 1), np.nan),
    num_views=count,
    score=weight / np.maximum(seen.sum(axis=2), 1),
  )
