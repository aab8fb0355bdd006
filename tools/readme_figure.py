"""Draw book/static/fc_mnist.svg, the README's figure, from the stored result of fc-mnist."""

import hashlib
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt

import toscore as ts
from toscore import plots

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "book" / "static" / "fc_mnist.svg"


def source() -> str:
    """What the figure is drawn from, as the file itself says, so that a test sees an old one."""
    table = ROOT / "results" / "fc-mnist" / "laptop" / "segments.csv"
    return f"fc-mnist, sha256 of segments.csv {hashlib.sha256(table.read_bytes()).hexdigest()}"


def main() -> None:
    plots.use_style()
    result = ts.load_or_run("fc-mnist", "laptop")
    settings, codes = result.manifest["settings"], result.barcodes()
    scores = result.scores().query("depth == 1").groupby("width").score.mean()
    widths = settings["widths"]
    fig, axes = plt.subplots(1, len(widths), figsize=(2.6 * len(widths), 2.9))
    for ax, width in zip(axes, widths, strict=True):
        plots.barcodes({f"seed {s}": codes[width, 1, s] for s in settings["seeds"]}, ax=ax)
        ax.set(xlabel="loss", ylabel="", title=f"width {width}: TO-score {scores[width]:.2g}")
    axes[0].set_ylabel("minima, sorted by birth")
    handles = axes[0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside lower center", ncols=len(settings["seeds"]))
    # no date in the file: the same result draws the same bytes
    fig.savefig(TARGET, facecolor="white", metadata={"Date": None, "Source": source()})


if __name__ == "__main__":
    main()
