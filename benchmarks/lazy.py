"""What does leaving out pairs save? Cost and barcode of "needed" against "all" pairs.

    python benchmarks/lazy.py

On a network small enough to have all pairs refined: digits, one hidden layer of 8. For N minima
there are N (N - 1) / 2 pairs. Both runs are in one process and have the same budget a pair.
Results go to ``results/benchmark-lazy/table.csv``, row by row; a run that was stopped goes on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from table import Table

import toscore as ts

FILE = Path(__file__).parents[1] / "results" / "benchmark-lazy" / "table.csv"
MINIMA = 4, 8, 16, 32
BUDGET = 1000


def main():
    torch.set_num_threads(1)
    data = ts.load_data("digits", n_train=200)
    model = ts.mlp(data.shape, data.n_classes, width=8, activation="gelu")
    landscape = ts.Landscape(model, data.x_train, data.y_train, weight_decay=1e-3)
    # some starts end in the same minimum
    minima = ts.find_minima(landscape, 2 * max(MINIMA), max_evaluations=1500)
    ends, table = torch.as_tensor(minima.theta), Table(FILE, ["minima"], float_format="%.5g")
    for n in MINIMA:
        n = min(n, len(ends))
        if {"minima": n} in table:
            continue
        row = {"minima": n, "pairs": n * (n - 1) // 2}
        for pairs in ("needed", "all"):
            found = ts.connect(landscape, ends[:n], pairs, budget=BUDGET, certified=False)
            score = found.barcode(minima.loss[:n]).to_score()
            row |= {f"{pairs} evaluations": found.evaluations, f"{pairs} seconds": found.seconds}
            row |= {f"{pairs} TO-score": score}
            if pairs == "needed":
                row["refined"] = len(found)
        for unit in ("evaluations", "seconds"):
            row[f"share of {unit}"] = row[f"needed {unit}"] / row[f"all {unit}"]
        row["TO-score ratio"] = row["needed TO-score"] / row["all TO-score"]
        row["seconds"] = row["needed seconds"] + row["all seconds"]
        table.add(row)
    table.finish(budget=BUDGET)
    table = table.frame
    slope = np.polyfit(np.log(table.minima), np.log(table["needed evaluations"]), 1)[0]
    print(table.T.to_string(float_format=lambda x: f"{x:.4g}"))
    print(f"evaluations grow like N^{slope:.2f} with needed pairs (N^2 with all)")


if __name__ == "__main__":
    main()
