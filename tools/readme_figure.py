"""Draw book/static/fc_mnist.svg, the README's figure, from the stored result of fc-mnist."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt

import toscore as ts
from toscore import plots


def main() -> None:
    plots.use_style()
    result = ts.load_or_run("fc-mnist", "laptop")
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), width_ratios=[1.3, 1])
    widths = result.manifest["settings"]["widths"]
    seed = result.manifest["settings"]["seeds"][0]
    codes = result.barcodes()
    plots.barcodes({f"width {w}": codes[w, 1, seed] for w in widths}, ax=left)
    left.set(xscale="log", xlabel="loss", title=f"Barcodes of MNIST networks, seed {seed}")
    left.legend(loc="upper left")
    plots.scores_by_width(result, ax=right)
    right.set_title("Mean segment by width")
    right.legend()
    target = Path(__file__).resolve().parent.parent / "book" / "static" / "fc_mnist.svg"
    # no date in the file: the same result draws the same bytes
    fig.savefig(target, facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main()
