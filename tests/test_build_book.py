"""The build of the book notices a chapter that takes too long; here nothing is executed."""

import os
import subprocess
import sys
from datetime import datetime
from types import SimpleNamespace

import build_book
import pytest


def test_only_what_is_over_the_limit_is_too_slow():
    assert build_book.too_slow({}) == ""
    assert build_book.too_slow({"14_own": build_book.LIMIT, "15_gpu": 59.0}) == ""
    said = build_book.too_slow({"09_full": 239.9, "14_own": 240.6, "11_res": 400.0})
    slow = "more than 240 s to execute: 14_own (241 s), 11_res (400 s)"
    assert said == f"TOO SLOW, {slow}; give its code less to do"


@pytest.mark.parametrize(
    ("flags", "took", "code"),
    [(["--force"], 241.0, 1), (["--force"], 239.0, 0), ([], 241.0, 0)],
)
def test_slow_chapter_is_named_and_fails_a_forced_build(
    flags, took, code, tmp_path, monkeypatch, capsys
):
    # later than the start of the build, so executed in it
    record = SimpleNamespace(created=datetime.max, data={"execution_seconds": took})
    monkeypatch.setattr(build_book, "ROOT", tmp_path)  # without notebooks
    monkeypatch.setattr(build_book, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(build_book, "latest_records", lambda: {"14_own": record})
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=0))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "argv", ["build_book.py", *flags])
    assert build_book.main() == code
    out, err = capsys.readouterr()
    assert f"{took:6.0f} s  14_own  (new)" in out
    assert ("14_own (241 s)" in err) == (took > build_book.LIMIT)
