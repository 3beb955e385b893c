"""Every choice the synthetic data set leaves open, and the fingerprint that names its cache."""

import dataclasses
import hashlib
import json
import pathlib

from data.synthetic import body, rig

# Raise when the same options give other bytes than before.
VERSION = 2
SPLITS = ("train", "validation", "test", "test_occluded_1", "test_occluded_2")


@dataclasses.dataclass(frozen=True)
class Options:
  """Sizes and difficulty of one data set; equal options give equal bytes.

  Attributes:
    seed: everything is drawn from it.
    image_size: side of the stored square images, px.
    margin: stored side / person box side; room for the loader to shift, turn and scale.
    num_views: cameras per rig, at least 2.
    train_frames: frames (of `num_views` images each) in the training split.
    validation_frames: frames in the validation split.
    test_frames: frames in the test split, and again in each of its occluded versions.
    jpeg_quality: 1..100.
    supersampling: samples per pixel and axis; 2 takes 4 samples per pixel.
    train_occlusion: probability that a training or validation frame has an occluder before one or
      two of its views.
    train_identities: people in the training split; the other splits have a third of it, others.
    train_rigs: camera rigs (and rooms) in the training split; the others have a third, others.
    suits: share of people in a motion-capture suit, whose left limbs are blue and right limbs
      orange. It tells left from right at a glance, which small networks and short runs need.
    actions: names of the motions to draw from, for example ("walking", "running"); () is all.
    clutter: pieces of furniture in a room, 0..10.
    camera_noise: 0 for clean images; 1 for the full range of noise, blur, exposure and tint.
    light_range: 0 for the same light everywhere; 1 for the full range of direction and colour.
    rig_jitter: 0 for four cameras in the corners of a rectangle; 1 for 1..3 m high and 4..6 m away.
    cameras: where they stand: "around" the person; "ceiling", 1.6 m higher and half as far away;
      "far" with lenses twice as long at twice the distance; "near" with wide ones at 0.6 of it.
    skeleton: which joints are stored, one of `body.SKELETONS`; the images do not depend on it.
  """

  seed: int = 0
  image_size: int = 128
  margin: float = 1.25
  num_views: int = 4
  train_frames: int = 1000
  validation_frames: int = 50
  test_frames: int = 150
  jpeg_quality: int = 92
  supersampling: int = 2
  train_occlusion: float = 0.5
  train_identities: int = 60
  train_rigs: int = 24
  suits: float = 0.0
  actions: tuple[str, ...] = ()
  clutter: int = 8
  camera_noise: float = 1.0
  light_range: float = 1.0
  rig_jitter: float = 1.0
  cameras: str = "around"
  skeleton: str = "h36m_17"

  def __post_init__(self):
    limits = {
      "image_size": (16, 2048),
      "margin": (1.0, 4.0),
      "num_views": (2, 64),
      "jpeg_quality": (1, 100),
      "supersampling": (1, 4),
      "train_occlusion": (0.0, 1.0),
      "train_identities": (3, 10_000),
      "train_rigs": (3, 10_000),
      "suits": (0.0, 1.0),
      "clutter": (0, 10),
      "camera_noise": (0.0, 1.0),
      "light_range": (0.0, 1.0),
      "rig_jitter": (0.0, 1.0),
    }
    for name, (low, high) in limits.items():
      value = getattr(self, name)
      if not low <= value <= high:
        raise ValueError(f"Options.{name} is {value}; it must lie in {low}..{high}")
    if self.cameras not in rig.PLACES:
      raise ValueError(
        f"Options.cameras is {self.cameras!r}; it must be one of {', '.join(rig.PLACES)}"
      )
    if self.skeleton not in body.SKELETONS:
      raise ValueError(
        f"Options.skeleton is {self.skeleton!r}; it must be one of {', '.join(body.SKELETONS)}"
      )

  @property
  def num_joints(self) -> int:
    return body.SKELETONS[self.skeleton].num_joints

  def num_frames(self, split: str) -> int:
    """Frames in one of `SPLITS`."""
    return getattr(self, f"{base_split(split)}_frames")


def base_split(split: str) -> str:
  """The split whose frames `split` shows: "test" for the occluded versions of the test split.

  Raises:
    ValueError: not one of `SPLITS`.
  """
  if split not in SPLITS:
    raise ValueError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
  return split.split("_")[0]


def fingerprint(options: Options, base: str) -> str:
  """Twelve hex digits over all that the frames of one split depend on.

  That is the options, without the sizes of the other splits, the generator's version and the bytes
  of its assets.

  Args:
    options: of the data set.
    base: train, validation or test.
  """
  digest = hashlib.sha256()
  record = {"version": VERSION, "base": base, **dataclasses.asdict(options)}
  for other in {"train", "validation", "test"} - {base}:
    del record[f"{other}_frames"]
  # Data sets were named before there was a choice.
  for name, first in (("cameras", "around"), ("skeleton", "h36m_17")):
    if record[name] == first:
      del record[name]
  digest.update(json.dumps(record, sort_keys=True).encode())
  for path in sorted((pathlib.Path(__file__).parent / "assets").glob("*.npz")):
    digest.update(path.name.encode() + path.read_bytes())
  return digest.hexdigest()[:12]
