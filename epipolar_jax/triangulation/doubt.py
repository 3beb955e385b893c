"""Covariances that keep their word: a network's real errors on a validation split, learnt.

The covariance of triangulation comes from how far a frame's views contradict each other. Errors
that views share do not show there: a joint that a network puts a little too low in every image, or
all views guessed. What foretells them is which joint it is and how high it scored. So the
covariance keeps its shape, and its size is fitted to errors whose truth is known.
"""

import dataclasses
import json
import pathlib

import numpy as np
from scipy import optimize

from epipolar_jax.triangulation.estimate import Estimate

_FORM = 1
# Errors have heavier tails than a Gaussian: degrees of freedom of the t distribution of the fit.
_FREEDOM = 4.0
# Coordinates of a Gaussian within one and within 1.96 standard deviations.
LEVELS = (0.683, 0.95)
_LEAST_JOINTS = 500
_LEAST_SCORE = 1e-3


@dataclasses.dataclass(frozen=True)
class Doubt:
  """How large the errors of one network are.

  The standard deviation of a coordinate is exp(offset_j + by_spread log s + by_score log p): s the
  triangulation's own, mm, root mean square of the three; p the mean score of the two best views.

  Attributes:
    joints: j names.
    offset: j numbers.
    by_spread: exponent of the triangulation's own standard deviation.
    by_score: exponent of the score.
    wide: in how many standard deviations 95 % of the coordinates lie; a Gaussian has 1.96.
    frames: it was fitted on.
  """

  joints: tuple[str, ...]
  offset: tuple[float, ...]
  by_spread: float
  by_score: float
  wide: float
  frames: int

  def apply(self, estimate: Estimate, score: np.ndarray) -> Estimate:
    """The estimate with covariances of the size that errors have.

    Args:
      estimate: by `robust`, of this network's joints.
      score: [f, p, v, j], 0..1, as triangulated.

    Raises:
      ValueError: the joints are others.
    """
    if estimate.joints != self.joints:
      raise ValueError(
        f"errors were learnt of {', '.join(self.joints)}, the joints are "
        f"{', '.join(estimate.joints)}"
      )
    spread, certain = _signs(estimate, score)
    offset = np.asarray(self.offset)
    sigma = np.exp(offset + self.by_spread * np.log(spread) + self.by_score * np.log(certain))
    size = np.where(estimate.valid, sigma / spread, 0.0)
    return dataclasses.replace(
      estimate, covariance=estimate.covariance * np.square(size)[..., None, None]
    )

  def write(self, path: pathlib.Path) -> None:
    """Writes it as JSON."""
    record = {"form": _FORM, **dataclasses.asdict(self)}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read(path: pathlib.Path) -> Doubt:
  """What `Doubt.write` wrote.

  Raises:
    ValueError: it is no such file; names it.
  """
  try:
    record = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(record, dict) or record.get("form") != _FORM:
      raise ValueError(f"it is not of form {_FORM}")
    joints = tuple(str(name) for name in record["joints"])
    numbers = [float(record[name]) for name in ("by_spread", "by_score", "wide")]
    offset = tuple(float(x) for x in record["offset"])
    if len(offset) != len(joints) or not np.isfinite([*offset, *numbers]).all():
      raise ValueError("a number is missing or not finite")
    return Doubt(joints, offset, *numbers, int(record["frames"]))
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f"{path} is no record of a network's errors ({error}): make it again with "
      "python -m epipolar_jax.tools.doubt"
    ) from error


def fit(estimate: Estimate, score: np.ndarray, truth: np.ndarray) -> Doubt:
  """Learns the size of errors.

  Args:
    estimate: of the frames of a validation split, by `robust`.
    score: [f, p, v, j], 0..1, as triangulated.
    truth: [f, p, j, 3], mm; not finite where it is not known.

  Raises:
    ValueError: fewer than 500 joints have a truth.
  """
  known = estimate.valid & np.isfinite(truth).all(-1)
  if known.sum() < _LEAST_JOINTS:
    raise ValueError(
      f"{known.sum()} joints with a truth are few to learn errors from: {_LEAST_JOINTS} are needed"
    )
  spread, certain = _signs(estimate, score)
  joint = np.broadcast_to(np.eye(len(estimate.joints)), (*known.shape, len(estimate.joints)))
  signs = np.concatenate([np.log(spread)[..., None], np.log(certain)[..., None], joint], axis=-1)[
    known
  ]
  unit = estimate.covariance[known] / np.square(spread[known])[:, None, None]
  off = (estimate.points - truth)[known]
  square = np.einsum("na,nab,nb->n", off, np.linalg.inv(unit), off)
  weights = _most_likely(signs, square)
  offset = weights[2:]
  sigma = np.exp(signs @ weights)[:, None] * np.sqrt(np.einsum("naa->na", unit))
  inner, outer = np.quantile(np.abs(off) / sigma, LEVELS)
  return Doubt(
    estimate.joints,
    tuple(float(x) for x in offset + np.log(inner)),
    float(weights[0]),
    float(weights[1]),
    float(outer / inner),
    int(known.any(axis=(1, 2)).sum()),
  )


def covered(estimate: Estimate, truth: np.ndarray, deviations: float) -> float:
  """The share of coordinates whose truth lies within so many standard deviations.

  Args:
    estimate: whose covariances are judged.
    truth: [f, p, j, 3], mm; not finite where it is not known.
    deviations: 1 for 68 % of a Gaussian's.
  """
  known = estimate.valid & np.isfinite(truth).all(-1)
  sigma = np.sqrt(np.einsum("naa->na", estimate.covariance[known]))
  return float(np.mean(np.abs((estimate.points - truth)[known]) <= deviations * sigma))


def _signs(estimate: Estimate, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """What foretells an error, [f, p, j]: own standard deviation in mm (1 where not valid), score."""
  own = np.sqrt(np.einsum("...aa->...", estimate.covariance) / 3)
  best = np.sort(score, axis=2)[:, :, -2:].mean(axis=2)
  return np.where(estimate.valid, own, 1.0), np.maximum(best, _LEAST_SCORE)


def _most_likely(signs: np.ndarray, square: np.ndarray) -> np.ndarray:
  """Weights [k] of signs [n, k] that make squared errors [n] likeliest, the scale's logarithm."""

  def surprise(weights: np.ndarray) -> tuple[float, np.ndarray]:
    log_scale = signs @ weights
    ratio = square * np.exp(-2 * log_scale) / _FREEDOM
    each = 3 * log_scale + (_FREEDOM + 3) / 2 * np.log1p(ratio)
    slope = 3 - (_FREEDOM + 3) * ratio / (1 + ratio)
    # A prior of unit width about the common offset: rare joints borrow from the others.
    apart = weights[2:] - weights[2:].mean()
    prior = np.concatenate([weights[:2], apart])
    return float(each.sum() + 0.5 * prior @ prior), signs.T @ slope + prior

  start = np.zeros(signs.shape[1])
  return optimize.minimize(surprise, start, jac=True, method="L-BFGS-B").x
