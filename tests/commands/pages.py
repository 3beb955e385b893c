"""The commands that stand on a page, as they are written there."""

import dataclasses
import fnmatch
import pathlib
import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterable

ROOT = pathlib.Path(__file__).parents[2]
# In the order in which they are run; docs/commands.md is what the run writes.
PAGES = (
  *("README.md", "docs/predict.md", "docs/own_data.md", "docs/check.md", "docs/benchmarks.md"),
  *("docs/formats.md", "docs/calibrate.md"),
  *("docs/viewing.md", "docs/results.md", "docs/evaluation.md", "docs/runs.md", "docs/fusion.md"),
  *("docs/lifting.md", "docs/parity.md", "docs/options.md", "docs/extending.md", "docs/tpu.md"),
  *("docs/scaling.md", "docs/reliability.md", "docs/reference.md"),
  *("docs/index.md", "data/README.md", ".github/CONTRIBUTING.md"),
)

_PROGRAMS = "python3? |epipolar |pip |pytest|ruff |srun |gcloud |chromium |tensorboard |cd |mkdir "
_START = re.compile(rf"(?:{_PROGRAMS}|export |for |[A-Z_]+=\S)")
# A name of a module, of a verb or of an option alone is no command.
_WHOLE = re.compile(
  r"python -m [\w.]+ \S|python \w+\.py |epipolar \w+ .*--cameras|(?!py|epi)\S+ .*-"
)
_FENCE = re.compile(r"^( *)(?:\d+\. )?```(\w*)\n(.*?)^ *```$", re.S | re.M)
# What a reader fills in (…, FILE, RUN) makes a form of a command, not a command.
_BLANK = re.compile(r"…|\.\.\.|(?<![\w-])[A-Z]{2,}(?![\w=-])")
_INPUTS = (
  "videos",
  "recordings",
  "cameras",
  "keypoints",
  "labels",
  "joints",
  "raw",
  "checkpoint",
  "timing",
)
_OUTPUTS = ("out", "output", "workdir", "sync", "report", "html", "log")


@dataclasses.dataclass(frozen=True)
class Command:
  """One command as a reader copies it.

  Attributes:
    page: where it stands, from the root of the repository.
    text: one or more lines for bash.
  """

  page: str
  text: str

  @property
  def setting(self) -> bool:
    """It does nothing but set variables, which the page's later commands use."""
    return re.match(r"(export |[A-Z_]+=\S)", self.text) is not None and "python" not in self.text


def commands(page: str) -> list[Command]:
  """Those in blocks, and those within sentences that are whole: with all that they need.

  README's Python counts as a command, too.
  """
  text = (ROOT / page).read_text(encoding="utf-8")
  found = []
  for match in re.finditer(rf"{_FENCE.pattern}|`([^`]+)`", text, re.S | re.M):
    language, block, within = match[2], match[3], match[4]
    if block is not None and language in ("", "bash", "sh"):
      block = textwrap.dedent(block)
      if language or _START.match(block):
        found += [Command(page, one) for one in _split(block)]
    elif block is not None and page == "README.md" and language == "python":
      found.append(Command(page, f"python - <<'END'\n{block}END"))
    elif within is not None:
      within = re.sub(r"\s+", " ", within)
      if _START.match(within) and _WHOLE.match(within) and not _BLANK.search(within):
        found.append(Command(page, within))
  return found


def _split(block: str) -> list[str]:
  """A block's commands: the fewest lines each that bash reads as a whole."""
  found, lines = [], []
  for line in block.rstrip("\n").split("\n"):
    lines.append(line)
    text = "\n".join(lines)
    whole = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
    if (
      not line.startswith("#")
      and not line.endswith("\\")
      and not whole.returncode
      and not whole.stderr
    ):
      found.append(text)
      lines = []
  if lines:
    raise ValueError(f"bash does not read {block!r}")
  return [text for text in found if text.strip()]


def files(command: Command) -> tuple[list[str], list[str]]:
  """Files that the command needs, patterns of the shell included, and those that it makes."""
  needs, makes = [], []
  option, text = "", command.text.partition("<<")[0]
  for word in shlex.split(text.replace(";", " ; ").replace("\\\n", " ")):
    if word in ("&&", ";", "do", "done"):
      option = ""
    elif word.startswith("--"):
      option, _, value = word[2:].partition("=")
      if option == "config" and value:
        needs.append(value)
    elif option in _INPUTS and not _within(word, makes):
      needs.append(word)
    elif option in _OUTPUTS:
      makes.append(word)
  configs = re.findall(r"train\.py --config configs/(\w+)\.py(?::(\w+))?", command.text)
  makes += [f"runs/{name}_{variant}" if variant else f"runs/{name}" for name, variant in configs]
  return needs, makes


def lacks(command: Command, there: set[str]) -> list[str]:
  """The files that a command needs and that neither stand in `there` nor in the repository."""

  def exists(path: str) -> bool:
    inside = _within(path, there) or (ROOT / path).exists()
    return inside or any(fnmatch.fnmatch(x, path) for x in there)

  return [path for path in files(command)[0] if not exists(path)]


def _within(path: str, places: Iterable[str]) -> bool:
  """The path is one of the places or lies in it."""
  return any(path == x or path.startswith(f"{x}/") for x in places)
