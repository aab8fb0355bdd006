"""Take the unfinished networks out of a stored result, so that `toscore run` computes them anew.

    python tools/reopen.py NAME [--profile laptop]

For settings that change nothing where all minima are stationary and all paths at rest, such as
more steps of Newton's method or a larger budget of the paths. The parts of the networks that stay
are made from the stored tables, to the last digit, and the manifest gets the present settings. The
run then notes the code that made the new parts under `resumed_by`; confirm the result afterwards by
one of the networks that stayed.
"""

import argparse
from pathlib import Path

import numpy as np

from toscore import experiment as ex
from toscore.reproduce import _of


def _points(part: Path, minima: int) -> np.ndarray:
    """The points that lie in a part from before, or none."""
    if not part.exists():
        return np.zeros((minima, 0))
    with np.load(part) as there:
        return there["theta"]


def reopen(name: str, profile: str = "laptop", results: Path | None = None) -> list[tuple]:
    """The networks (width, depth, seed) that `toscore run` will compute; the others get parts."""
    settings, folder = ex._find(name, profile, results)
    stored = ex._load(name, profile, folder)
    if not stored.manifest["finished"]:
        raise SystemExit(f"{folder} is not finished: `toscore run {name}` goes on with it")
    tables = {"minima": stored.minima, "passes": stored.passes}
    for kind, table in tables.items():
        if table.to_csv(index=False) != (folder / f"{kind}.csv").read_text():
            raise SystemExit(f"{kind}.csv is not read to the last digit: use pandas 3.1 or newer")
    finished = tables["minima"].groupby(ex.CELL).stationary.all()
    rested = tables["passes"].groupby(ex.CELL).rested.all()
    finished &= rested.reindex(finished.index, fill_value=True)
    data = ex._data(settings.dataset, settings.n_train, settings.n_test, None)
    seconds, origin = stored.manifest["parts"], ex._origin(settings, data)
    (folder / "parts").mkdir(exist_ok=True)
    for cell in finished.index[finished]:
        for kind, table in tables.items():
            here = _of(cell, table)
            arrays = ex._columns(table[here].drop(columns=[*ex.CELL, "minimum"], errors="ignore"))
            part = ex._part(folder, kind, cell)
            if kind == "minima":  # the points are in parts alone: nothing asks for them again
                arrays["theta"] = _points(part, len(arrays["loss"]))
            else:
                arrays |= {"profile_t": stored.profile_t, "profiles": stored.profiles[here]}
            ex._write_npz(part, **arrays, seconds=seconds[part.stem], origin=origin)
    for cell in finished.index[~finished]:
        for kind in tables:
            ex._part(folder, kind, cell).unlink(missing_ok=True)
    manifest = {k: v for k, v in stored.manifest.items() if k not in ("tables", "parts", "seconds")}
    manifest |= {"settings": ex.asdict(settings), "settings_digest": settings.digest()}
    ex._write_manifest(folder, manifest | {"finished": None})
    return list(finished.index[~finished])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--profile", default="laptop")
    given = parser.parse_args()
    print(*reopen(given.name, given.profile), sep="\n")
