"""The command ``toscore``: list, run, rerun, barcode, data check and data export."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
data_app = typer.Typer(no_args_is_help=True, help="Look after the data sets.")
app.add_typer(data_app, name="data")

Name = Annotated[str, typer.Argument(help="see `toscore list`")]
Profile = Annotated[str, typer.Option(help="smoke, laptop or gpu", envvar="TOSCORE_PROFILE")]
Root = Annotated[
    Path | None, typer.Option(help="folder of the data sets; by default $TOSCORE_DATA")
]


@app.command("list")
def list_experiments() -> None:
    """Every experiment and profile, whether its result is stored, and its cost on one core.

    "about": what others of the same family and profile took.
    """
    from toscore.experiment import states

    table = states()
    print(table.drop(columns="seconds").assign(cost=costs(table)).to_string(index=False))


@app.command()
def run(
    name: Name,
    profile: Profile = "laptop",
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh/--resume", help="start over, or (the default) go on where a run stopped"
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="processes; by default one a core, and one in all on a GPU"),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="address of a Dask scheduler, such as tcp://node:8786")
    ] = None,
    data: Root = None,
) -> None:
    """Run an experiment, or what is left of it, and store its result."""
    from toscore import experiment

    _, folder = experiment._find(name, profile, None)
    settings = {"workers": workers, "scheduler": scheduler, "data_root": data}
    with _names_full_disk(folder):
        result = experiment.run(name, profile, fresh=fresh, **settings)
    print(result.provenance())
    print(result.scores().pivot_table(index=["width", "depth"], values="score").to_string())


@app.command()
def rerun(
    name: Name,
    profile: Profile = "laptop",
    network: Annotated[
        tuple[int, int, int] | None,
        typer.Option(help="width, depth and seed, three numbers; by default the smallest one"),
    ] = None,
    data: Root = None,
    minima: Annotated[
        int | None, typer.Option(min=1, help="train from so many starts and compare losses alone")
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="if all digits agree, note it in the manifest")
    ] = False,
    code: Annotated[
        Path | None,
        typer.Option(
            help="with --confirm: a checkout of the code that made the result, to compare with "
            "what it gives here (for results of another kind of processor)"
        ),
    ] = None,
) -> None:
    """Compute one network of a stored result again, and compare it with what is stored."""
    from toscore import reproduce
    from toscore.experiment import load_or_run

    if code and not confirm:
        raise ValueError("--code says what to confirm a result by: give --confirm, too")
    if confirm and minima is not None and not code:
        raise ValueError("--confirm compares passes too: leave --minima out")
    if confirm:
        table = reproduce.confirm(name, profile, network, minima, data_root=data, code=code)
    else:
        table = reproduce.rerun(load_or_run(name, profile), network, data, minima)
    print(table.to_string())
    if not (code or table.attrs["same_machine"]):
        print("The result was not all made on this processor: compare the means.")


@app.command()
def barcode(
    losses: Annotated[Path, typer.Argument(help="CSV with a column 'loss', one row a minimum")],
    passes: Annotated[
        Path | None, typer.Option(help="CSV with columns i, j, saddle, one row a pass")
    ] = None,
) -> None:
    """Barcode of plain numbers: minima and the passes between them, counted from 0.

    Without --passes, the losses are read as a function sampled along a line, in order: neighbours
    are connected, and the barcode is that of its local minima.
    """
    from toscore.barcode import barcode_of_graph, barcode_of_minima

    values = _column(losses, ["loss"])["loss"]
    if passes is None:
        n = np.arange(len(values) - 1)
        code = barcode_of_graph(values, np.column_stack([n, n + 1]))
    else:
        table = _column(passes, ["i", "j", "saddle"])
        code = barcode_of_minima(values, table[["i", "j"]], table["saddle"])
    print(code.to_frame().to_csv(index=False), end="")
    if len(code.unmerged):
        print(
            f"joined to no lower minimum: {code.minimum[code.unmerged].tolist()}", file=sys.stderr
        )
    else:
        print(f"TO-score (mean): {code.to_score():.6g}", file=sys.stderr)


@data_app.command("check")
def data_check(root: Root = None) -> None:
    """Which data sets are found, where, and whether they are whole."""
    from toscore.data import check_data

    for record in check_data(root):
        if record["fault"]:
            print(f"{record['name']:14} NO   {record['fault']}")
        else:
            counts = f"{record['n_train']} train / {record['n_test']} test"
            print(f"{record['name']:14} yes  {counts}, in {record['where']}; {record['source']}")


@data_app.command("export")
def data_export(
    name: Annotated[str, typer.Argument(help="a name that `toscore data check` lists")],
    out: Annotated[Path, typer.Option(help="folder, or file NAME.npz, to write")] = Path("."),
    root: Root = None,
    download: Annotated[bool, typer.Option("--download", help="fetch it if it is missing")] = False,
) -> None:
    """Write NAME.npz, the offline archive for classrooms and machines without internet."""
    from toscore.data import export_data

    with _names_full_disk(out):
        print(export_data(name, out, root=root, download=download))


def costs(table: pd.DataFrame) -> list[str]:
    """What each result took; of one that is missing, what its like took."""
    seconds = pd.to_numeric(table.seconds)
    family = table.name.str.rpartition("-")[0]  # the name without its data set
    alike = seconds.groupby([family, table.profile]).transform("median")
    texts = []
    for profile, took, guess in zip(table.profile, seconds, alike, strict=True):
        unknown = "under a minute" if profile == "smoke" else "not measured"
        likely = unknown if np.isnan(guess) else f"about {guess / 60:.0f} min"
        texts.append(likely if np.isnan(took) else f"{took / 60:.1f} min")
    return texts


def _column(path: Path, columns: list[str]) -> pd.DataFrame:
    """The named columns of a CSV file, or an error that says which are there."""
    try:
        table = pd.read_csv(path)
    except ValueError as fault:
        raise ValueError(
            f"{path} is no table of comma-separated values: {str(fault).strip()}"
        ) from fault
    missing = [c for c in columns if c not in table]
    if missing:
        raise ValueError(f"{path} has columns {list(table)}, but needs {columns}")
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first field for a name
        raise ValueError(
            f"{path} has more fields in a row than columns {list(table)}: write decimals with a "
            "point, as 0.5 and not 0,5"
        )
    for name in columns:
        bad = table.loc[pd.to_numeric(table[name], errors="coerce").isna(), name].dropna()
        if len(bad):
            raise ValueError(f"{path}: column {name!r} holds {bad.iloc[0]!r}, which is no number")
    # a file without rows has columns of no type
    return table[columns] if len(table) else table[columns].astype(float)


def _full(fault: OSError) -> bool:
    """Whether a disk or a quota is used up, and nobody has said so yet in words of ours."""
    # a run that a full disk stops raises a fault of its own, which names the folder and the parts
    told = isinstance(fault.__cause__, OSError)
    return fault.errno in (errno.ENOSPC, errno.EDQUOT) and not told


@contextmanager
def _names_full_disk(path: Path) -> Iterator[None]:
    """A failing write names no file: let it name where the command writes."""
    try:
        yield
    except OSError as fault:
        if _full(fault) and not fault.filename:
            fault.filename = str(path)
        raise


def main() -> None:
    """Run the command line; a fault the user can act on is one line, not a traceback."""
    again = " without --fresh" if "--fresh" in sys.argv else ""  # which would begin once more
    try:
        app()
    except BrokenExecutor:
        text = (
            "a worker process was killed, most likely for memory: finished parts are kept; give "
            f"the same command again{again}, with fewer --workers"
        )
    except OSError as fault:
        text = str(fault)
        if _full(fault):
            text += f": make room and give the same command again{again}"
        elif fault.errno == errno.ENOSPC and again:
            text += f" (but{again})"
    except (ValueError, TypeError, ImportError, FloatingPointError) as fault:
        text = str(fault)
    else:
        return
    print(f"toscore: {text}", file=sys.stderr)
    sys.exit(2)
