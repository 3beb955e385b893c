"""Where to cut a view out of its stored image: numpy affines on the host.

An affine is [2, 3] and maps stored pixels to network pixels. The camera follows on the device:
K' = A K (`Cameras.crop`), so any affine, mirrored ones included, keeps the
views geometrically consistent.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """Random changes of the crop; the defaults change nothing.

  Attributes:
    scale_factor: s; the crop side is multiplied by clip(1 + s n, 1 - s, 1 + s), n ~ N(0, 1).
    rotation_factor: r in degrees; clip(r n, -2 r, 2 r) in 60 % of the views.
    translation_factor: the centre moves by up to this share of the side.
    flip_probability: of mirroring all views of a frame together.
    color_jitter: brightness and contrast change by up to this share, each view its own.
    erase_probability: of covering a random box of a view with one random colour.
  """

  scale_factor: float = 0.0
  rotation_factor: float = 0.0
  translation_factor: float = 0.0
  flip_probability: float = 0.0
  color_jitter: float = 0.0
  erase_probability: float = 0.0


def crop_affine(
  center: np.ndarray, side: float, *, rotation_deg: float, size: int, mirror: bool
) -> np.ndarray:
  """The affine that maps a square of the stored image onto the network input.

  Args:
    center: [2], (u, v) of the square's centre, stored px; it goes to (size/2, size/2).
    side: of the square, stored px.
    rotation_deg: of the image's content, clockwise on the screen.
    size: side of the network input, px.
    mirror: flip left and right.

  Returns:
    [2, 3] float32.
  """
  angle, zoom = np.deg2rad(rotation_deg), size / side
  c, s = np.cos(angle) * zoom, np.sin(angle) * zoom
  linear = np.array([[c, -s], [s, c]])
  if mirror:
    linear[0] *= -1.0
  offset = np.array([size / 2, size / 2]) - linear @ np.asarray(center, np.float64)
  return np.concatenate([linear, offset[:, None]], 1).astype(np.float32)


def random_crop(
  center: np.ndarray,
  side: float,
  augmentation: Augmentation,
  rng: np.random.Generator,
  *,
  size: int,
  mirror: bool,
) -> np.ndarray:
  """Draws the crop of one view, as in the original's training recipe plus a shift.

  Args:
    center: [2], of the person's box, stored px.
    side: of the box, stored px.
    augmentation: how far to go.
    rng: consumed the same way whatever the options, so that switching one off leaves the others.
    size: side of the network input, px.
    mirror: drawn once a frame by the caller.

  Returns:
    [2, 3] float32, see `crop_affine`.
  """
  a = augmentation
  scale = np.clip(1.0 + a.scale_factor * rng.normal(), 1.0 - a.scale_factor, 1.0 + a.scale_factor)
  turn = np.clip(a.rotation_factor * rng.normal(), -2 * a.rotation_factor, 2 * a.rotation_factor)
  turn *= rng.random() <= 0.6
  shift = a.translation_factor * side * rng.uniform(-1.0, 1.0, 2)
  return crop_affine(
    center + shift, side * scale, rotation_deg=float(turn), size=size, mirror=mirror
  )


def color_table(augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
  """A random brightness and contrast change as a lookup table, [256] uint8."""
  gain, lift = 1.0 + augmentation.color_jitter * rng.uniform(-1.0, 1.0, 2)
  values = (np.arange(256.0) - 128.0) * gain + 128.0 * lift
  return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def erased_box(
  size: int, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[tuple[slice, slice], np.ndarray] | None:
  """Draws a random box of an image to be covered with one colour, or None to leave it alone.

  The box takes 2 to 20 % of the image and is up to three times as long as wide.

  Args:
    size: side of the image, px.
    augmentation: how often.
    rng: consumed the same way whether something is covered or not.

  Returns:
    box: rows and columns.
    color: [3] int, 0..255.

  References:
    Zhong et al., Random Erasing Data Augmentation, AAAI 2020.
  """
  chance, share, ratio = rng.random(), rng.uniform(0.02, 0.2), np.exp(rng.uniform(-1.1, 1.1))
  middle, color = rng.random(2), rng.integers(0, 256, 3)
  if chance >= augmentation.erase_probability:
    return None
  half = np.sqrt(share * np.array([ratio, 1 / ratio])) / 2
  low, high = np.rint(np.clip([middle - half, middle + half], 0, 1) * size).astype(int)
  return (slice(low[1], high[1]), slice(low[0], high[0])), color
