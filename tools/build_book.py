"""Build the book into _build/html, with every warning an error.

Executed notebooks are cached by their code cells only, so a changed helper module would leave old
outputs in place. Here the cache is dropped whenever the package or the stored results changed, and
filled by several notebooks at once, which Sphinx would execute one after the other.

A chapter's live code is to take less than a minute. One that took longer than LIMIT is named at the
end, and fails the build with --force, as `make test` has it; without, it's a warning, as a reader's
machine may just be slow.
"""

import argparse
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import joblib
from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
# Seconds for a notebook: four times the minute that it may take by itself. Those executed at the
# same time slow each other down (two at once on two cores: chapter 14 took 71 s); machines differ.
LIMIT = 240


def inputs_digest() -> str:
    """Hash of all that notebooks read besides their own cells."""
    digest = hashlib.sha256(sys.version.encode())
    files = [*ROOT.glob("toscore/*.py"), *ROOT.glob("results/**/*.*"), ROOT / "requirements.lock"]
    for path in sorted(filter(Path.is_file, files)):
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def own_profile() -> Path:
    """A folder for IPython, so that neither the user's start-up files run nor kernels warn."""
    profile = BUILD / ".ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    settings = {"IPKernelApp": {"log_level": logging.ERROR}}  # each warns that it has no encryption
    (profile / "ipython_kernel_config.json").write_text(json.dumps(settings))
    return profile.parent


def execute(notebook: Path) -> None:
    """Put a notebook's outputs into the cache, if they aren't there.

    One that fails is left to Sphinx, which executes it again and reports the error.
    """
    cache = get_cache(BUILD / ".jupyter_cache")
    cache.add_nb_to_project(str(notebook))
    executor = load_executor("local-serial", cache=cache)
    executor.run_and_cache(filter_uris=[str(notebook)], timeout=600)


def latest_records() -> dict:
    """The newest record in the execution cache of each notebook, by its name."""
    latest = {}
    records = get_cache(BUILD / ".jupyter_cache").list_cache_records()
    for record in sorted(records, key=lambda r: r.created):
        if Path(record.uri).exists():  # not one that was renamed since
            latest[Path(record.uri).stem] = record
    return latest


def times(seconds: dict[str, float], new: set[str]) -> str:
    """What each notebook took, longest first; new: executed just now."""
    lines = [
        f"{seconds[name]:6.0f} s  {name}{'  (new)' if name in new else ''}"
        for name in sorted(seconds, key=seconds.get, reverse=True)
    ]
    now = sum(seconds[name] for name in new)
    total = f"{sum(seconds.values()):6.0f} s  in all, of which {now:.0f} s in this build"
    return "\n".join(["Time to execute each notebook:", *lines, total])


def too_slow(seconds: dict[str, float]) -> str:
    """What to tell of the notebooks that took longer than LIMIT; empty if none did."""
    slow = [f"{name} ({took:.0f} s)" for name, took in seconds.items() if took > LIMIT]
    said = f"TOO SLOW, more than {LIMIT} s to execute: {', '.join(slow)}; give its code less to do"
    return said if slow else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--force", action="store_true", help="execute all anew; a slow one fails")
    force = parser.parse_args().force

    stamp = BUILD / ".inputs"
    digest = inputs_digest()
    if force or not stamp.exists() or stamp.read_text() != digest:
        stamp.unlink(missing_ok=True)  # what is executed from now on is no longer of its inputs
        shutil.rmtree(BUILD / ".jupyter_cache", ignore_errors=True)
    # --all: Sphinx repeats a warning only for pages it reads again, and a build that failed on
    # one must not pass the second time
    command = ["build", str(ROOT), "--path-output", str(ROOT), "--all", "-W", "--keep-going"]
    launch = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    # notebooks run with this very Python, whatever else is on the PATH
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ |= {"TQDM_DISABLE": "1", "PATH": path, "IPYTHONDIR": str(own_profile())}
    start = datetime.now(UTC).replace(tzinfo=None)  # the cache has no time zones, and means UTC
    get_cache(BUILD / ".jupyter_cache").list_cache_records()  # makes it, which only one may do
    # at most four: each may take a gigabyte; from the last chapter on, as the first ones are short
    # and so leave no processor idle at the end
    pool = joblib.Parallel(n_jobs=min(4, joblib.cpu_count()))
    notebooks = sorted(ROOT.glob("notebooks/*.ipynb"), reverse=True)
    pool(joblib.delayed(execute)(notebook) for notebook in notebooks)
    done = subprocess.run([sys.executable, "-c", launch, *command], cwd=ROOT)
    if done.returncode != 0:
        return done.returncode
    stamp.write_text(digest)
    latest = latest_records()
    seconds = {name: r.data.get("execution_seconds", 0) for name, r in latest.items()}
    print(times(seconds, {name for name, r in latest.items() if r.created >= start}))
    complaint = too_slow(seconds)
    if complaint:
        print(complaint, file=sys.stderr)
    return int(force and bool(complaint))


if __name__ == "__main__":
    sys.exit(main())
