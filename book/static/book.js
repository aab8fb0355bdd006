const page = document.documentElement;

// Paper is white: print in the light theme whatever the screen shows, and with solutions open.
let theme;
addEventListener("beforeprint", () => { theme = page.dataset.theme; page.dataset.theme = "light"; });
addEventListener("afterprint", () => { page.dataset.theme = theme; });

// What scrolls sideways must be reached with the keyboard: the theme forgets tables and some code.
function reachScrolling() {
  for (const box of document.querySelectorAll("main pre, main .cell_output .output, main table, main .math")) {
    const scrolls = ["auto", "scroll"].includes(getComputedStyle(box).overflowX)
      && (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight);
    if (scrolls && !box.querySelector("a, button, input")) box.tabIndex = 0;
  }
}
// A page with formulas shows its text once they are typeset, as they change the length of lines; but
// it never waits long.
const show = () => page.classList.remove("typesetting");
setTimeout(show, 5000);
addEventListener("load", () => {
  const typeset = window.MathJax?.startup?.promise ?? Promise.resolve();
  typeset.then(reachScrolling).finally(show);
  let waiting;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(reachScrolling, 700); });
});
