"""Images that the synthetic generator renders a second on all cores, with all that belongs to them.

As `data.synthetic.builder` makes them: bodies, clothes, room, occluders, JPEG; four views of 120 px
(configs/synthetic.py) and of 240 px.
"""

import functools
import itertools
import os

from epipolar_jax.tools.benchmark import timing

_SIZES = (120, 240)
_FRAMES = 8


def run(seconds: float, only: tuple[str, ...] = ()) -> list[timing.Row]:
  """Measures the generator.

  Args:
    seconds: for each size.
    only: sides of the images in px; () is 120 and 240.

  Raises:
    ValueError: a size that the generator does not draw.
  """
  return [_measure(int(name), seconds) for name in only or map(str, _SIZES)]


def _measure(size: int, seconds: float) -> timing.Row:
  from data import storing
  from data.synthetic import builder, options, scene

  given = options.Options(image_size=size)
  make = functools.partial(builder.make_example, scene.Generator(given), "train")
  make(0)  # compiles
  numbers, threads = itertools.count(), os.cpu_count()

  def some() -> None:
    """Other frames every time, as in a data set."""
    for _ in storing.in_order(make, list(itertools.islice(numbers, _FRAMES)), threads=threads):
      pass

  return timing.host(
    f"{size} px",
    some,
    size=f"{given.num_views} views, {threads} threads",
    frames=_FRAMES * given.num_views,
    seconds=seconds,
    ahead=False,
    unit="images",
  )
