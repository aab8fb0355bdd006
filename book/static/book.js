const page = document.documentElement;

// Paper is white: print in the light theme whatever the screen shows, and with solutions open.
let theme;
addEventListener("beforeprint", () => { theme = page.dataset.theme; page.dataset.theme = "light"; });
addEventListener("afterprint", () => { page.dataset.theme = theme; });

// No line may begin with the mark that follows a formula.
function join() {
  for (const formula of document.querySelectorAll("main span.math")) {
    const next = formula.nextSibling;
    const mark = next?.nodeType === Node.TEXT_NODE && /^[.,;:!?)’]+/.exec(next.data);
    if (!mark) continue;
    const both = document.createElement("span");
    both.className = "with-mark";
    formula.replaceWith(both);
    both.append(formula, mark[0]);
    next.data = next.data.slice(mark[0].length);
  }
}
// On a phone, formulas and figures may be wider than the text: they get a scroll bar.
function fit() {
  for (const formula of document.querySelectorAll("main span.math")) {
    const set = formula.querySelector("mjx-math"), room = formula.closest("p, li, dd, td, div");
    const width = set ? set.getBoundingClientRect().width : 0;
    formula.classList.toggle("wide", width > room.clientWidth && room.clientWidth > 0);
  }
  for (const figure of document.querySelectorAll("main .cell_output img")) {
    const box = figure.parentElement, wide = 0.6 * figure.naturalWidth > box.clientWidth;
    const scrolls = wide && box.clientWidth > 0;
    figure.style.width = scrolls ? `${Math.round(0.6 * figure.naturalWidth)}px` : "";
    box.classList.toggle("scrolls", scrolls);
  }
  reachScrolling();
}
const SCROLLS = "main pre, main .cell_output, main .cell_output .output, main table, main .math";
// What scrolls sideways must be reached with the keyboard: the theme forgets tables and some code.
function reachScrolling() {
  for (const box of document.querySelectorAll(SCROLLS)) {
    box.classList.remove("more");
    const scrolls = ["auto", "scroll"].includes(getComputedStyle(box).overflowX)
      && (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight);
    if (scrolls && !box.querySelector("a, button, input")) box.tabIndex = 0;
    box.onscroll = () => fade(box);
    if (scrolls) fade(box);
  }
}
// Its right edge fades while there is more to see: phones show no scroll bar at rest.
function fade(box) {
  box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
}
// A page with formulas shows its text once they are typeset, as they change the length of lines; but
// it never waits long.
const show = () => page.classList.remove("typesetting");
setTimeout(show, 5000);
addEventListener("load", () => {
  const typeset = window.MathJax?.startup?.promise ?? Promise.resolve();
  typeset.then(join).then(fit).finally(show);
  let waiting;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(fit, 700); });
});
