"""The colours of every image and page: Okabe and Ito's, told apart by colour-blind readers."""

RGB = tuple[int, int, int]

LEFT: RGB = (86, 180, 233)  # sky blue
RIGHT: RGB = (213, 94, 0)  # vermilion
MIDDLE: RGB = (240, 228, 66)  # yellow
TRUTH: RGB = (255, 255, 255)
ATTENTION: RGB = (0, 200, 148)  # bluish green, lighter than Okabe's to show on photographs
MATCHING: RGB = (226, 140, 190)  # reddish purple, likewise
STAGE: RGB = (27, 32, 38)  # behind 3D skeletons

# Of people, one after the other, where several are shown together.
_PEOPLE: tuple[RGB, ...] = (
  (86, 180, 233),
  (230, 159, 0),
  (0, 200, 148),
  (226, 140, 190),
  (240, 228, 66),
  (213, 94, 0),
)
_DARKER = 0.45

# Lines of a chart on STAGE, one after the other.
SERIES: tuple[RGB, ...] = (*_PEOPLE, (255, 255, 255), (120, 140, 255), (150, 160, 170))

# Names of CSS variables; the first six also are names of things that the pages draw.
_PAGE = {
  "left": LEFT,
  "right": RIGHT,
  "middle": MIDDLE,
  "truth": TRUTH,
  "attention": ATTENTION,
  "matching": MATCHING,
  "stage": STAGE,
  "ground": (15, 18, 22),
  "raised": (24, 29, 35),
  "rule": (50, 59, 69),
  "text": (233, 237, 241),
  "muted": (165, 176, 188),
  "ink": (0, 0, 0),
}


def sides(num_joints: int, flip_pairs: tuple[tuple[int, int], ...]) -> list[str]:
  """Of each joint "left", "right" or "middle", from a skeleton's (right, left) pairs."""
  names = ["middle"] * num_joints
  for right, left in flip_pairs:
    names[right], names[left] = "right", "left"
  return names


def limb(side: str, person: int | None = None) -> RGB:
  """The colour of a limb whose side is "left", "right" or "middle".

  Args:
    side: of the limb.
    person: of several who are shown together: each has a colour, darker on the right; None: alone.
  """
  if person is None:
    return {"left": LEFT, "right": RIGHT, "middle": MIDDLE}[side]
  color = _PEOPLE[person % len(_PEOPLE)]
  return tuple(int(c * _DARKER) for c in color) if side == "right" else color


def style_sheet() -> str:
  """The palette as CSS variables, `--left` and so on."""
  rows = "".join(f"--{name}:#{r:02x}{g:02x}{b:02x};" for name, (r, g, b) in _PAGE.items())
  return f":root{{{rows}}}"
