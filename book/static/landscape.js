/* Draw your own landscape: a curve through minima and passes, its barcode and its TO-score.

   Heights alternate: minimum, pass, minimum, …, minimum. All that the page says follows from one
   pure function of them, toscoreBarcode. */
"use strict";

/* As toscore.barcode_of_minima: passes from the lowest up, equal ones from left to right; where two
   components meet the one with the higher minimum ends, among equals the one further right. */
window.toscoreBarcode = (heights) => {
  const birth = heights.filter((_, i) => i % 2 === 0), passes = heights.filter((_, i) => i % 2);
  const death = birth.map(() => Infinity), saddle = birth.map(() => -1), parent = [...saddle];
  const root = birth.map((_, i) => i); // the root of a component is its eldest minimum
  const find = (i) => (root[i] === i ? i : find(root[i]));
  const order = passes.map((_, k) => k).sort((a, b) => passes[a] - passes[b] || a - b);
  for (const k of order) {
    const [elder, young] = [find(k), find(k + 1)].sort((a, b) => birth[a] - birth[b] || a - b);
    root[young] = elder;
    death[young] = passes[k];
    saddle[young] = k;
    parent[young] = elder;
  }
  const lengths = death.map((d, i) => d - birth[i]).filter(Number.isFinite);
  const sum = lengths.reduce((a, b) => a + b, 0);
  const mean = lengths.length ? sum / lengths.length : 0;
  return { birth, death, saddle, parent, mean, max: Math.max(0, ...lengths), sum };
};

(() => {
  const TOP = 10, MOST = 7, GAP = 0.03; // highest pass, most minima, least distance of neighbours
  const SHADES = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#56b4e9"];
  const PRESETS = { // places from 0 to 1, and heights
    "good and bad": [[0.2, 0.5, 0.8], [1, 7, 4]],
    "deep but narrow": [[0.1, 0.24, 0.38, 0.47, 0.53, 0.59, 0.82], [3.5, 5, 2, 8, 0.5, 8.5, 3]],
    "nested": [[0.08, 0.2, 0.32, 0.46, 0.6, 0.75, 0.9], [1, 9, 4, 7, 3, 5, 2]],
    "equal minima": [[0.1, 0.3, 0.5, 0.7, 0.9], [2, 6, 2, 6, 2]],
  };
  let place, height, chosen = 0, handles = [], size = 0;

  const letter = (k) => String.fromCharCode(65 + k);
  const name = (i) => (i % 2 ? letter((i - 1) / 2) + letter((i + 1) / 2) : letter(i / 2));
  const tenth = (v) => Math.round(10 * v) / 10;
  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  const near = (i) => [height[i - 1], height[i + 1]].filter((v) => v !== undefined);
  const range = (i) => (i % 2 ? [Math.max(...near(i)), TOP] : [0, Math.min(TOP, ...near(i))]);

  function node(tag, attributes, parent, text, space = "http://www.w3.org/2000/svg") {
    const e = parent.appendChild(document.createElementNS(space, tag));
    for (const key in attributes) e.setAttribute(key, attributes[key]);
    if (text !== undefined) e.textContent = text;
    return e;
  }
  const element = (...what) => node(...Object.assign(Array(4), what), document.body.namespaceURI);

  function start(host) {
    const bar = element("div", { class: "controls" }, host);
    element("span", {}, bar, "Start from:");
    for (const key in PRESETS) {
      element("button", { type: "button" }, bar, key).onclick = () => load(...PRESETS[key]);
    }
    const svg = node("svg", { role: "group", "aria-label": "Landscape and its barcode" }, host);
    const tools = element("div", { class: "controls" }, host);
    const more = element("button", { type: "button", class: "add" }, tools);
    const less = element("button", { type: "button", class: "remove" }, tools);
    const score = element("p", { class: "score" }, host);
    const table = element("table", { class: "table" }, host);
    const live = element("p", { class: "visually-hidden", "aria-live": "polite" }, host);
    let still, moving, H, scale, timer, said = "";

    function load(places, heights) {
      [place, height, chosen] = [[...places], [...heights], 0];
      build();
    }

    /* Everything that stays while a handle moves; a handle under way keeps its focus. */
    function build() {
      svg.replaceChildren();
      const W = (size = host.clientWidth);
      H = W < 500 ? 330 : 390;
      svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
      svg.setAttribute("height", H);
      const left = 30, bars = Math.round(left + 0.64 * (W - left)), right = W - 8;
      scale = {
        x: (p) => left + p * (bars - left - 12),
        y: (v) => H - 30 - (v / (TOP + 1)) * (H - 44),
        bar: (k, n) => bars + ((k + 0.7) / (n + 0.4)) * (right - bars),
        place: (x) => (x - left) / (bars - left - 12),
        height: (y) => ((H - 30 - y) / (H - 44)) * (TOP + 1),
      };
      still = node("g", { class: "still", "aria-hidden": "true" }, svg);
      for (let v = 0; v <= TOP; v += 2) {
        node("line", { x1: left, x2: right, y1: scale.y(v), y2: scale.y(v) }, still);
        node("text", { x: left - 6, y: scale.y(v) + 4, "text-anchor": "end" }, still, v);
      }
      const titles = [[0.5 * (left + bars), "landscape"], [0.5 * (bars + right), "barcode"]];
      for (const [x, word] of titles) {
        node("text", { x, y: H - 3, "text-anchor": "middle" }, still, word);
      }
      moving = node("g", { "aria-hidden": "true" }, svg);
      handles = height.map((_, i) => handle(i));
      draw();
    }

    function handle(i) {
      const kind = i % 2 ? "pass" : "minimum";
      const g = node("g", {
        ...{ tabindex: 0, role: "slider", class: `handle ${kind}`, "aria-orientation": "vertical" },
        "aria-label": `height of ${kind} ${name(i)}`,
      }, svg);
      node("circle", { r: 15, class: "reach" }, g);
      node("path", { d: i % 2 ? "M-8 6L0 -8L8 6Z" : "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0 -14 0" }, g);
      node("text", { y: i % 2 ? -13 : 21, "text-anchor": "middle" }, g, name(i));
      g.addEventListener("focus", () => { chosen = i; buttons(); });
      g.addEventListener("keydown", (event) => {
        const [low, high] = range(i);
        const up = { ArrowUp: 0.1, ArrowDown: -0.1, PageUp: 1, PageDown: -1 }[event.key];
        const aside = { ArrowLeft: -0.01, ArrowRight: 0.01 }[event.key];
        const end = { Home: low, End: high }[event.key];
        if (up === undefined && aside === undefined && end === undefined) return;
        event.preventDefault();
        move(i, place[i] + (aside || 0), end === undefined ? height[i] + (up || 0) : end);
      });
      let grip = null; // from the pointer to the handle's middle
      g.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        event.preventDefault();
        g.setPointerCapture(event.pointerId);
        g.focus({ preventScroll: true });
        const [x, y] = at(event);
        grip = [scale.x(place[i]) - x, scale.y(height[i]) - y];
      });
      g.addEventListener("pointermove", (event) => {
        if (!grip) return;
        const [x, y] = at(event);
        move(i, scale.place(x + grip[0]), scale.height(y + grip[1]));
      });
      g.addEventListener("lostpointercapture", () => (grip = null));
      return g;
    }

    function at(event) {
      const box = svg.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    }

    function move(i, x, y) {
      const beside = [(place[i - 1] ?? 0) + GAP, (place[i + 1] ?? 1) - GAP];
      place[i] = clamp(x, ...beside);
      height[i] = clamp(tenth(y), ...range(i));
      draw();
    }

    /* What depends on the heights: curve, segments, table and words. */
    function draw() {
      const code = window.toscoreBarcode(height), n = code.birth.length;
      const ender = []; // ender[k]: the minimum that ends at pass k
      code.saddle.forEach((k, m) => { if (k >= 0) ender[k] = m; });
      moving.replaceChildren();
      let [x, y] = [scale.x(0), scale.y(TOP + 1)], d = `M${x} ${y}`;
      const points = height.map((v, i) => [scale.x(place[i]), scale.y(v)]);
      for (const [u, v] of [...points, [scale.x(1), y]]) {
        d += `C${0.5 * (x + u)} ${y} ${0.5 * (x + u)} ${v} ${u} ${v}`; // level at both ends
        [x, y] = [u, v];
      }
      node("path", { d, class: "curve" }, moving);
      for (let m = 0; m < n; m++) {
        const u = scale.bar(m, n), stroke = SHADES[m], ends = code.saddle[m] >= 0;
        const top = scale.y(ends ? code.death[m] : TOP + 0.6), low = scale.y(code.birth[m]);
        if (ends) {
          const from = points[2 * code.saddle[m] + 1][0];
          node("line", { x1: from, x2: u, y1: top, y2: top, stroke, class: "to" }, moving);
        } else {
          const d = `M${u - 8} ${top}L${u} ${top - 12}L${u + 8} ${top}Z`;
          node("path", { d, fill: stroke }, moving);
        }
        node("line", { x1: u, x2: u, y1: low, y2: top, stroke, class: "segment" }, moving);
        node("text", { x: u, y: low + 17, "text-anchor": "middle" }, moving, letter(m));
      }
      handles.forEach((g, i) => {
        const [low, high] = range(i), owner = i % 2 ? ender[(i - 1) / 2] : i / 2;
        g.setAttribute("transform", `translate(${points[i]})`);
        g.setAttribute("fill", SHADES[owner]);
        g.setAttribute("aria-valuemin", low);
        g.setAttribute("aria-valuemax", high);
        g.setAttribute("aria-valuenow", height[i]);
        const note = i % 2 ? `, ${letter(owner)} ends here` : "";
        g.setAttribute("aria-valuetext", height[i].toFixed(1) + note);
      });
      say(code);
      buttons();
    }

    function say(code) {
      const scores = ["mean", "max", "sum"].map((kind) => `${kind} ${code[kind].toFixed(2)}`);
      score.textContent = `TO-score: ${scores.join(", ")}`;
      table.replaceChildren();
      const head = ["minimum", "birth", "death", "length", "ends at pass", "taken over by"];
      const top = element("tr", {}, element("thead", {}, table));
      const body = element("tbody", {}, table);
      head.forEach((word) => element("th", { scope: "col" }, top, word));
      const words = code.birth.map((born, m) => {
        const row = element("tr", {}, body), ends = code.saddle[m] >= 0;
        const [from, to] = [born.toFixed(1), code.death[m].toFixed(1)];
        const length = (code.death[m] - born).toFixed(1);
        const pass = name(2 * code.saddle[m] + 1), elder = letter(code.parent[m]);
        const cells = ends ? [from, to, length, pass, elder] : [from, "∞", "∞", "–", "–"];
        [letter(m), ...cells].forEach((text) => element("td", {}, row, text));
        if (!ends) return `${letter(m)}, from ${from}, never ends.`;
        return `${letter(m)}: from ${from} to ${to}, length ${length}, ends at pass ${pass}, ` +
          `where ${elder} takes it over.`;
      });
      clearTimeout(timer); // a drag should not say every step
      said = [...words, score.textContent].join(" ");
      timer = setTimeout(() => (live.textContent = said), 400);
    }

    function buttons() {
      const m = Math.floor(chosen / 2);
      more.textContent = `add a minimum after ${letter(m)}`;
      less.textContent = `remove ${letter(m)}`;
      more.disabled = height.length > 2 * MOST - 2;
      less.disabled = height.length < 2;
    }

    more.onclick = () => {
      const i = 2 * Math.floor(chosen / 2), last = i + 1 === height.length;
      const rise = tenth(0.5 * (height[i] + (last ? TOP : height[i + 1])));
      height.splice(i + 1, 0, rise, tenth(0.5 * (height[i] + rise)));
      chosen = i + 2;
      spread();
    };
    less.onclick = () => {
      const i = 2 * Math.floor(chosen / 2), before = i && !(height[i + 1] < height[i - 1]);
      height.splice(before ? i - 1 : i, 2); // with the lower pass, so that the higher one stays
      chosen = Math.min(i, height.length - 1);
      spread();
    };
    function spread() {
      place = height.map((_, i) => (i + 0.5) / height.length);
      build();
    }

    load(...PRESETS["good and bad"]);
    new ResizeObserver(() => { if (![0, size].includes(host.clientWidth)) build(); }).observe(host);
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".landscape").forEach(start);
  });
})();
