"""Every option of every verb, and every field of the configs with its range, as Markdown.

python -m epipolar_jax.tools.reference > docs/reference.md

Made of the parsers, of configs/ and of `config_ranges`, and compared with them by a test.
"""

import argparse
import importlib
import inspect
import re
from collections.abc import Iterator

import epipolar_jax
from epipolar_jax import config_ranges
from epipolar_jax.cli import parsing

# Where the fields stand with their comments; one that stands in several is described by the first.
_CONFIGS = ("h36m", "synthetic_full", "lifting_direct_h36m", "footage")
_GROUP = re.compile(r"^  (\w+)\.(\w+) = (\w+) = ml_collections\.ConfigDict")
_FIELD = re.compile(r"^  (\w+)\.([\w.]+) = (.*)$")


def text() -> str:
  """The page."""
  return "\n".join(["# Reference", "", *_public(), *_verbs(), *_fields()]) + "\n"


def _public() -> Iterator[str]:
  yield "Made by `python -m epipolar_jax.tools.reference`; a test compares it with the code."
  yield from ("", "## Names", "", "`import epipolar_jax as ej` has", "")
  yield from ("| name | what |", "|---|---|")
  for name in epipolar_jax.__all__:
    if not name.startswith("_"):
      what = inspect.getdoc(getattr(epipolar_jax, name)).splitlines()[0]
      yield f"| `ej.{name}` | {_cell(what)} |"
  yield ""


def _verbs() -> Iterator[str]:
  (verbs,) = (a for a in parsing.parser()._actions if a.dest == "verb")
  for name, verb in verbs.choices.items():
    yield from (f"## epipolar {name}", "", "| option | default | what |", "|---|---|---|")
    for action in verb._actions:
      if action.dest != "help":
        yield f"| {_words(action)} | {_default(action)} | {_cell(_help(verb, action))} |"
    yield ""


def _words(action: argparse.Action) -> str:
  names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.dest}`"
  return f"{names} (needed)" if action.required and action.option_strings else names


def _default(action: argparse.Action) -> str:
  silent = action.default in (None, False, argparse.SUPPRESS) or action.required
  return "" if silent else f"`{action.default}`"


def _help(verb: argparse.ArgumentParser, action: argparse.Action) -> str:
  described = verb._get_formatter()._expand_help(action) if action.help else ""
  if action.choices:
    described = f"{', '.join(map(str, action.choices))}: {described}"
  return described


def _fields() -> Iterator[str]:
  yield from ("## Fields of the configs", "")
  yield "`--config.GROUP.FIELD=VALUE`, in the file that comments on them; other configs are deltas."
  known: set[str] = set()
  for name in _CONFIGS:
    module = importlib.import_module(f"configs.{name}")
    values = config_ranges.leaves(module.get_config())
    rows = [
      f"| `{field}` | `{values[field]!r}` | {_range(field)} | {_cell(comment)} |"
      for field, comment in _described(inspect.getsource(module))
      if field in values and field not in known
    ]
    known |= values.keys()
    if rows:
      yield from ("", f"### configs/{name}.py", "", "| field | value | allowed | what |")
      yield from ("|---|---|---|---|", *rows)


def _range(field: str) -> str:
  found = config_ranges.RANGES.get(field)
  return _cell(found.words) if found else ""


def _described(source: str) -> Iterator[tuple[str, str]]:
  """(full name, comment) of every field that a config file comments on."""
  groups, above = {"c": ""}, []
  for line in source.splitlines():
    if comment := re.match(r"^  # (.*)$", line):
      above.append(comment[1])
      continue
    if group := _GROUP.match(line):
      owner, field, short = group.groups()
      groups[short] = f"{groups[owner]}{field}."
    elif (found := _FIELD.match(line)) and found[1] in groups:
      _, *beside = found[3].split("  # ", 1)
      if words := " ".join([*above, *beside]):
        yield groups[found[1]] + found[2], words
    above = []


def _cell(words: str) -> str:
  return words.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
  print(text(), end="")
