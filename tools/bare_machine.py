"""Make a bare machine such as Colab ready for a chapter; the notebooks' first cell runs this.

It installs what the chapters import and is not there yet, and makes the package importable from the
project's own folder, beside the stored results. Networks of the live parts are so small that a
GPU would only slow them down; so a GPU is named, for longer runs, and not made the default.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def requirements() -> list[str]:
    """What the package and the chapters import, as pyproject.toml states it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["optional-dependencies"]
    plotly = [line for line in groups["book"] if line.startswith("plotly")]
    lines = [*project["dependencies"], *groups["topology"], *groups["data"], *groups["cluster"]]
    return lines + plotly


def main() -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", *requirements()]
    subprocess.run(install, check=True)
    sys.path.insert(0, str(ROOT))
    # programs that a chapter starts find the package too
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        print(f'{name}: use it with ts.Landscape(..., device="cuda"), or toscore run --profile gpu')


if __name__ == "__main__":
    main()
