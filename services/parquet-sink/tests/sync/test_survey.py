"""What is new is found again and again, while most of what lies here is not looked at any more."""

from __future__ import annotations

import os
import time

import pytest

from tickloom_core.config import Config
from tickloom_core.lifecycle import Health
from tickloom_parquet_sink.sync.source import Source
from tickloom_parquet_sink.sync.survey import Survey
from tickloom_parquet_sink.sync.target import open_target

FOLDER = "_manifest/0000/2026-11-21"


@pytest.fixture
async def survey(source, target):
    """A survey between the two folders."""
    async with open_target(str(target.path), Config(), Health()) as opened:
        yield Survey(Source(source.path), opened)


async def find_paths(survey):
    backlog = await survey.find_backlog()
    return [link.path for links in backlog.chunks.values() for link in links]


def set_time(folder, time_ns):
    os.utime(folder, ns=(time_ns, time_ns))


async def test_what_comes_later(source, survey):
    """A chunk that comes to a folder in which everything was carried is found, also within one step of its time."""
    reader = Source(source.path)
    survey.note_chunk(reader.read_chunk(source.add_chunk(0)))
    for number, age_s in enumerate((3600, 60, 0), start=1):
        now_ns = time.time_ns() - age_s * 10**9
        set_time(source.path / FOLDER, now_ns)
        assert await find_paths(survey) == []
        path = source.add_chunk(number)
        if age_s == 0:
            set_time(source.path / FOLDER, now_ns)
        assert await find_paths(survey) == [path]
        survey.note_chunk(reader.read_chunk(path))


async def test_a_settled_folder(source, survey, monkeypatch):
    """A folder in which everything was carried, and which has not changed since, is not listed again."""
    survey.note_chunk(Source(source.path).read_chunk(source.add_chunk(0)))
    set_time(source.path / FOLDER, time.time_ns() - 3600 * 10**9)
    await find_paths(survey)
    listed = []
    list_names = Source.list_names
    monkeypatch.setattr(Source, "list_names", lambda self, folder: listed.append(folder) or list_names(self, folder))
    await find_paths(survey)
    assert FOLDER not in listed
    set_time(source.path / FOLDER, time.time_ns() - 1800 * 10**9)
    await find_paths(survey)
    assert FOLDER in listed
