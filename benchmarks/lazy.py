"""What does leaving out pairs save? Cost and barcode of "needed" against "all" pairs.

    python benchmarks/lazy.py

On a network small enough to have all pairs refined: digits, one hidden layer of 8. For N minima
there are N (N - 1) / 2 pairs. Both runs are in one process and have the same budget a pair.
Results go to ``results/benchmark-lazy/table.csv``, row by row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

import toscore as ts
from toscore.data import whole_file

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
    ends, rows = torch.as_tensor(minima.theta), []
    for n in MINIMA:
        n = min(n, len(ends))
        row = {"minima": n, "pairs": n * (n - 1) // 2}
        for pairs in ("needed", "all"):
            found = ts.connect(landscape, ends[:n], pairs, budget=BUDGET, certified=False)
            score = found.barcode(minima.loss[:n]).to_score()
            row |= {f"{pairs} evaluations": found.evaluations, f"{pairs} seconds": found.seconds}
            row |= {f"{pairs} TO-score": score}
            if pairs == "needed":
                row["refined"] = len(found)
        rows.append(row)
        table = pd.DataFrame(rows)
        for unit in ("evaluations", "seconds"):
            table[f"share of {unit}"] = table[f"needed {unit}"] / table[f"all {unit}"]
        table["TO-score ratio"] = table["needed TO-score"] / table["all TO-score"]
        FILE.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(FILE) as out:
            out.write(table.to_csv(index=False, float_format="%.5g").encode())
    slope = np.polyfit(np.log(table.minima), np.log(table["needed evaluations"]), 1)[0]
    print(table.T.to_string(float_format=lambda x: f"{x:.4g}"))
    print(f"evaluations grow like N^{slope:.2f} with needed pairs (N^2 with all)")


if __name__ == "__main__":
    main()
