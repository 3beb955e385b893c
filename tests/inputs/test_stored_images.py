"""Parts of a JPEG against all of it, and crops from parts against crops from the whole."""

import cv2
import numpy as np
import pytest

from data import storing
from epipolar_jax.inputs import crops, image_header, stored_images


def _image(height: int, width: int) -> np.ndarray:
  noise = np.random.default_rng(height).normal(128, 300, (height, width, 3))
  return np.clip(cv2.GaussianBlur(noise, (0, 0), 4), 0, 255).astype(np.uint8)


def _encode(image: np.ndarray, **options: bool) -> bytes:
  return storing.encode_jpeg(image, 90, **options).getvalue()


def _decode(data: bytes) -> np.ndarray:
  """As TFDS does: BGR, turned round."""
  return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]


# Rectangles [low, high): inside, a corner, past the borders, a line, far outside, everything.
_RECTANGLES = [
  ((70, 50), (130, 151)),
  ((0, 0), (1, 1)),
  ((-40, 100), (90, 4000)),
  ((64, 64), (65, 200)),
  ((-90, -90), (-50, -50)),
  ((-9, -9), (9999, 9999)),
]


# Sides that are and are not multiples of a block; 272 px are 17 blocks, a prime.
@pytest.mark.parametrize("size", [(256, 320), (250, 272), (1000, 1000)], ids=str)
def test_a_part_has_the_pixels_of_the_whole(size):
  data = _encode(_image(*size), tiles=True)
  whole = _decode(data)
  np.testing.assert_array_equal(np.asarray(stored_images.Jpeg(data)), whole)
  for low, high in _RECTANGLES:
    part, (left, top) = stored_images.decode_part(data, low, high)
    rows, columns = part.shape[:2]
    expected = whole[top : top + rows, left : left + columns]
    assert part.shape == expected.shape
    # At the border of the part the colours of the neighbours are not there.
    inner = (slice(2 * (top > 0), rows - 2), slice(2 * (left > 0), columns - 2))
    np.testing.assert_array_equal(part[inner], expected[inner])
    wanted = [np.clip([a, b], 0, n) for a, b, n in zip(low[::-1], high[::-1], size, strict=True)]
    for (first, last), start, length in zip(wanted, (top, left), (rows, columns), strict=True):
      assert first == last or start <= first <= last <= start + length
  small, _ = stored_images.decode_part(data, (70, 50), (130, 151))
  assert small.size < 0.5 * whole.size


def test_other_jpegs_are_decoded_whole():
  image = _image(96, 128)
  settings = {
    "plain": [],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2],
    "runs that cross rows": [cv2.IMWRITE_JPEG_RST_INTERVAL, 3],
  }
  for name, options in settings.items():
    data = cv2.imencode(".jpg", image, options)[1].tobytes()
    part, origin = stored_images.decode_part(data, (40, 40), (50, 50))
    assert origin == (0, 0), name
    np.testing.assert_array_equal(part, _decode(data), err_msg=name)
  grey = cv2.imencode(".jpg", image[..., 0], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes()
  part, origin = stored_images.decode_part(grey, (40, 40), (50, 50))
  assert origin == (0, 0) and part.shape == image.shape


def _warp(image: np.ndarray | stored_images.Jpeg, affine: np.ndarray) -> np.ndarray:
  out = np.full((64, 64, 3), 7, np.uint8)
  stored_images.warp(image, affine, out)
  return out


def test_crops_from_parts_are_crops_from_the_whole():
  image = _image(320, 304)
  jpegs = [_encode(image, tiles=tiles) for tiles in (False, True)]
  rng = np.random.default_rng(0)
  for _ in range(60):
    affine = crops.crop_affine(
      rng.uniform(-100, 400, 2),
      rng.uniform(20, 300),
      rotation_deg=rng.uniform(-180, 180),
      size=64,
      mirror=rng.random() < 0.5,
    )
    plain, part = (_warp(stored_images.Jpeg(data), affine) for data in jpegs)
    # OpenCV's own warp of three channels is the oracle.
    expected = [cv2.warpAffine(_decode(data), affine, (64, 64)) for data in jpegs]
    np.testing.assert_array_equal(plain, expected[0])
    np.testing.assert_array_equal(_warp(_decode(jpegs[0]), affine), expected[0])
    # Positions are counted from another corner: they round differently in the last bit.
    np.testing.assert_allclose(part.astype(int), expected[1], atol=1)


def test_what_is_no_image_is_refused(capfd):
  data = _encode(_image(64, 64), tiles=True)
  for bad in (b"", b"\xff", data[:100], b"<html>", data[:2] + data[300:]):
    with pytest.raises(ValueError, match=rf"of {len(bad)} bytes cannot be decoded: .*data\.check"):
      stored_images.decode_part(bad, (0, 0), (9, 9))
  # Whatever a damaged file holds, it is an image of some kind or refused.
  rng = np.random.default_rng(0)
  for _ in range(300):
    spoilt = bytearray(data)
    for position in rng.integers(2, len(data), 3):
      spoilt[position] = rng.integers(256)
    try:
      part, _ = stored_images.decode_part(bytes(spoilt), (20, 20), (30, 30))
    except ValueError:
      continue
    assert part.ndim == 3 and part.dtype == np.uint8
  capfd.readouterr()  # what libjpeg says about them


def test_the_largest_image_is_still_decoded():
  """By a header of 6 x 4 px; one pixel fewer is the limit of another."""
  done, data = cv2.imencode(".png", np.zeros((4, 6, 3), np.uint8))
  assert done
  assert image_header.check(data.tobytes(), largest=24) == (6, 4)
  with pytest.raises(ValueError, match=r"promises 6 x 4 px in .* at most 23 px"):
    image_header.check(data.tobytes(), largest=23)
