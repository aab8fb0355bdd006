"""Small scripts on the built pages, without a network: the figure of the atlas, sortable tables."""

from __future__ import annotations

import html
import json

import numpy as np

from toscore.style import colors

__all__ = ["atlas", "sortable"]


def _table(stored: dict) -> dict:
    """Birth and finite lengths of all barcodes, as {profile: {name: {"width depth": {seed: …}}}}.

    To six digits; null where a segment never ends. Each barcode is sorted by birth.
    """
    table = {}
    for profile, results in stored.items():
        for name, result in results.items():
            cell = table.setdefault(profile, {}).setdefault(name, {})
            for (width, depth, seed), code in result.barcodes().items():
                rows = np.argsort(code.birth, kind="stable")
                birth = [float(f"{x:.6g}") for x in code.birth[rows]]
                lengths = code.lengths[rows]
                length = [float(f"{x:.6g}") if np.isfinite(x) else None for x in lengths]
                score = f"{code.to_score():.2g}" if not len(code.unmerged) else "unknown"
                row = {"birth": birth, "length": length, "score": score}
                cell.setdefault(f"{width} {depth}", {})[str(seed)] = row
    return table


def atlas(stored: dict, datasets, families: dict) -> None:
    """Display the atlas: a table of cells to point at, and the barcodes of the chosen one.

    Parameters
    ----------
    stored : dict of profile -> dict of name -> Result
        As of :func:`toscore.trends.stored`. A profile without results is not offered; a cell
        without one is drawn as "not computed".
    datasets : list of str
        The rows.
    families : dict of str -> str
        The columns: the first part of an experiment's name, and what to call it.

    Raises
    ------
    ValueError
        There is no result at all.

    Examples
    --------
    Outside a notebook only its type is printed:

    >>> import toscore as ts
    >>> from toscore import plots
    >>> stored = {"laptop": {"fc-mnist": ts.load_or_run("fc-mnist", "laptop")}}
    >>> plots.atlas(stored, ["mnist"], {"fc": "fully connected"})
    <IPython.core.display.HTML object>
    """
    from IPython.display import HTML, display

    table = _table({profile: results for profile, results in stored.items() if results})
    if not table:
        raise ValueError("no cell of the atlas is stored: make one with `toscore run fc-mnist`")
    data = {"table": table, "datasets": datasets, "families": families, "shades": colors(10)}
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    display(
        HTML(
            '<div class="atlas only-screen"></div>'
            f'<script type="application/json">{text}</script><script>{_ATLAS}</script>'
        )
    )


_ATLAS = r"""
(() => {
  const source = document.currentScript.previousElementSibling;
  const host = source.previousElementSibling;
  const { table, datasets, families, shades } = JSON.parse(source.textContent);

  function node(tag, attributes, parent, text, space = "http://www.w3.org/2000/svg") {
    const e = parent.appendChild(document.createElementNS(space, tag));
    for (const key in attributes) e.setAttribute(key, attributes[key]);
    if (text !== undefined) e.textContent = text;
    return e;
  }
  const element = (...what) => node(...Object.assign(Array(4), what), document.body.namespaceURI);
  const nice = (name) => name.replace("_", "-");
  const short = (x) => String(Number(x.toPrecision(3)));

  const bar = element("div", { class: "controls" }, host), choice = {};
  for (const what of ["profile", "width", "depth"]) {
    const label = element("label", {}, bar, what + " ");
    choice[what] = element("select", {}, label);
    choice[what].onchange = () => { if (what === "profile") sizes(); draw(); };
  }
  element("p", { class: "hint" }, host,
    "Point at a cell, tap it, or go to it with Tab. The numbers are TO-scores, means over seeds.");
  const both = element("div", { class: "both" }, host);
  const grid = element("table", {}, both), detail = element("div", { class: "detail" }, both);
  const heading = element("p", { class: "heading" }, detail), svg = node("svg", {}, detail);
  const words = element("p", { "aria-live": "polite" }, detail);

  const head = element("tr", {}, element("thead", {}, grid));
  element("th", { scope: "col" }, head, "data set");
  for (const family in families) element("th", { scope: "col" }, head, families[family]);
  const rows = element("tbody", {}, grid), cells = {};
  for (const dataset of datasets) {
    const row = element("tr", {}, rows);
    element("th", { scope: "row" }, row, nice(dataset));
    for (const family in families) {
      const name = `${family}-${dataset}`;
      const button = element("button", { type: "button" }, element("td", {}, row));
      cells[name] = { button, small: node("svg", { viewBox: "0 0 80 30" }, button),
        note: element("span", {}, button), title: `${families[family]}, ${nice(dataset)}` };
      for (const event of ["pointerenter", "focus", "click"]) {
        button.addEventListener(event, () => pick(name));
      }
    }
  }

  const cell = (name) => table[choice.profile.value][name];
  const codes = (name) => cell(name)?.[`${choice.width.value} ${choice.depth.value}`];
  let chosen;

  function options(select, values) {
    const before = select.value;
    select.replaceChildren();
    for (const value of values) element("option", { value }, select, value);
    if (values.includes(before)) select.value = before;
  }

  function sizes() {
    const found = Object.values(table[choice.profile.value]).flatMap((c) => Object.keys(c));
    ["width", "depth"].forEach((what, k) => {
      const all = [...new Set(found.map((size) => size.split(" ")[k]))];
      options(choice[what], all.sort((a, b) => a - b));
    });
  }

  /* Segments of all seeds, by birth from below; where to draw the end of one that never ends. */
  function segments(name) {
    const found = Object.entries(codes(name) || {}).flatMap(([seed, code], k) =>
      code.birth.map((low, i) => ({ low, length: code.length[i], shade: shades[k], seed })));
    found.sort((a, b) => a.low - b.low);
    const low = Math.min(...found.map((s) => s.low));
    const high = Math.max(...found.map((s) => s.low + (s.length ?? 0)));
    const room = 0.12 * (high - low) || 1e-3 * Math.abs(low) || 1;
    return { found, low: low - 0.3 * room, high: high + room };
  }

  function plot(name, into, left, right, top, bottom, width) {
    const { found, low, high } = segments(name);
    const x = (v) => left + ((v - low) / (high - low)) * (right - left);
    const step = (bottom - top) / found.length;
    found.forEach((s, k) => {
      const y = bottom - (k + 0.5) * step, end = s.length === null ? right : x(s.low + s.length);
      const style = { stroke: s.shade, "stroke-width": Math.min(width, 0.6 * step) };
      node("line", { x1: x(s.low), x2: Math.max(end, x(s.low) + 1), y1: y, y2: y, ...style }, into);
      if (s.length !== null || width < 3) return;
      const d = `M${right} ${y - 5}L${right + 8} ${y}L${right} ${y + 5}Z`;
      node("path", { d, fill: s.shade }, into);
    });
    return { low, high, x };
  }

  function draw() {
    for (const name in cells) {
      const { button, small, note, title } = cells[name], here = codes(name);
      small.replaceChildren();
      if (here) plot(name, small, 2, 78, 1, 29, 2.5);
      const scores = Object.values(here || {}).map((code) => Number(code.score));
      const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
      note.textContent = here ? Number(mean.toPrecision(2)).toString() : "not computed";
      button.setAttribute("aria-label", `${title}: ${here ? "TO-score " : ""}${note.textContent}`);
      button.classList.toggle("absent", !here);
    }
    pick(chosen);
  }

  function pick(name) {
    chosen = name;
    for (const key in cells) cells[key].button.setAttribute("aria-pressed", key === name);
    const here = codes(name), W = detail.clientWidth || 400, H = 300;
    const size = `width ${choice.width.value}, depth ${choice.depth.value}`;
    heading.textContent = `${cells[name].title}; ${size}`;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
    svg.setAttribute("height", H);
    const style = { fill: "currentColor", "text-anchor": "middle", "font-size": 12 };
    if (!here) {
      node("text", { x: W / 2, y: H / 2, ...style }, svg, "not computed");
      words.textContent = "Nothing is stored for this cell and size.";
      return;
    }
    const { low, high, x } = plot(name, svg, 14, W - 14, 8, H - 44, 5);
    const line = { stroke: "currentColor", y1: H - 40 };
    node("line", { ...line, x1: 14, x2: W - 14, y2: H - 40 }, svg);
    const rough = (high - low) / 4, unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 5, 10].find((k) => k * unit >= rough);
    for (let k = Math.ceil(low / step); k * step <= high; k++) {
      node("line", { ...line, x1: x(k * step), x2: x(k * step), y2: H - 35 }, svg);
      const digits = Math.max(0, -Math.floor(Math.log10(step)));
      node("text", { x: x(k * step), y: H - 21, ...style }, svg, (k * step).toFixed(digits));
    }
    node("text", { x: W / 2, y: H - 4, ...style }, svg, "loss");
    words.replaceChildren();
    Object.entries(here).forEach(([seed, code], k) => {
      const finite = code.length.filter((v) => v !== null);
      const longest = finite.length ? `, longest segment ${short(Math.max(...finite))}` : "";
      element("span", { style: `color: ${shades[k]}`, "aria-hidden": "true" }, words, "■ ");
      const found = `seed ${seed}: ${code.birth.length} minima, lowest ${short(code.birth[0])}, `;
      element("span", {}, words, `${found}TO-score ${code.score}${longest}. `);
    });
  }

  options(choice.profile, Object.keys(table));
  sizes();
  chosen = Object.keys(cells).find((name) => codes(name)) || Object.keys(cells)[0];
  draw();
  new ResizeObserver(() => pick(chosen)).observe(detail);
})();
"""


_SORT = """
document.currentScript.previousElementSibling.querySelectorAll("th button").forEach((button) => {
  button.addEventListener("click", () => {
    const cell = button.parentElement, body = cell.closest("table").tBodies[0];
    const up = cell.getAttribute("aria-sort") !== "ascending";
    const key = (row) => {
      const text = row.cells[cell.cellIndex].textContent;
      const found = text.match(/^×?(-?[0-9.]+(e[-+]?[0-9]+)?)(?![-0-9.a-z])/);
      const number = found ? Number(found[1]) : NaN;
      return Number.isNaN(number) ? text : number;
    };
    const order = (a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (up ? 1 : -1);
    [...body.rows].sort(order).forEach((row) => body.append(row));
    for (const other of cell.parentElement.cells) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", up ? "ascending" : "descending");
  });
});
"""


def sortable(table, caption: str) -> None:
    """Display a DataFrame as a table that a click on a column's name sorts, without a network.

    Numbers are sorted by value, also after a × or where a unit or an interval follows them. The
    index becomes the first column.

    Parameters
    ----------
    table : DataFrame
        With an index.
    caption : str
        Above the table.

    Examples
    --------
    Outside a notebook only its type is printed:

    >>> import pandas as pd
    >>> from toscore import plots
    >>> plots.sortable(pd.DataFrame({"width": [2, 4]}, index=["a", "b"]), caption="Networks")
    <IPython.core.display.HTML object>
    """
    from IPython.display import HTML, display

    table = table.reset_index()
    names = "".join(
        f'<th scope="col"><button type="button">{html.escape(str(name))}</button></th>'
        for name in table.columns
    )
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row) + "</tr>"
        for row in table.itertuples(index=False)
    )
    display(
        HTML(
            f'<table class="table sortable"><caption>{html.escape(caption)}</caption>'
            f"<thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table><script>{_SORT}</script>"
        )
    )
