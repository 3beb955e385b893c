"""Every command on a page can run as it is written, or stands in a table with the reason."""

import pytest

from tests.commands import __main__ as runner
from tests.commands import elsewhere, pages, stand_ins

_TABLES = elsewhere.NOT_HERE + elsewhere.LONG
_STAND_INS = {"film_a_person": stand_ins.FILMED, "record_a_session": stand_ins.SESSION}


def test_all_pages_are_looked_at():
  here = {str(p.relative_to(pages.ROOT)) for p in (pages.ROOT / "docs").glob("*.md")}
  assert here - {"docs/commands.md"} <= set(pages.PAGES)


@pytest.mark.parametrize("page", pages.PAGES)
def test_commands_have_what_they_need_or_a_reason(page):
  there = set(_STAND_INS.get(runner.STAND_INS.get(page), ()))
  for command in pages.commands(page):
    listed = elsewhere.entries(command, _TABLES)
    assert len(listed) <= 1, f"{page}: {command.text!r} is listed twice: {listed}"
    if not listed:
      missing = pages.lacks(command, there)
      assert not missing, f"{page}: {command.text!r} needs {missing}, which nothing here makes"
      there |= set(pages.files(command)[1])


@pytest.mark.parametrize("entry", _TABLES, ids=lambda x: f"{x[0]}: {x[1]}")
def test_the_tables_name_what_there_is(entry):
  page, _, reason = entry
  assert reason and any(elsewhere.entries(c, (entry,)) for c in pages.commands(page)), entry
