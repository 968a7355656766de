// Runs in every page before the page's own scripts. The videos of a bot whose picture nobody records are drawn only while
// somebody looks at the page: drawing them is a third of what such a bot takes. They play on; only their pictures are moved
// out of their boxes. Place, size, visibility and clicks of every element stay as they are, so rules find what they found.
(() => {
  const DRAWN_MS = 200; // by then the next picture of somebody who sends five a second has come
  if (globalThis.poolmgrVideos) return;

  const { Promise, performance, setTimeout } = globalThis;
  const away = new CSSStyleSheet();
  away.replaceSync("video { object-position: -100000px 0 !important }");
  let hides = false;
  let shownUntil = -Infinity;

  // Returns whether they were out of sight. A page may have set another list of sheets meanwhile.
  function settle() {
    const sheets = [...document.adoptedStyleSheets];
    const others = sheets.filter((sheet) => sheet !== away);
    const wereAway = others.length < sheets.length;
    const shallBe = hides && performance.now() >= shownUntil;
    if (wereAway !== shallBe) document.adoptedStyleSheets = shallBe ? [...others, away] : others;
    return wereAway;
  }

  function inFrames(what, ...given) {
    const answers = [];
    for (let number = 0; number < globalThis.length; number += 1) {
      try {
        answers.push(globalThis[number].poolmgrVideos?.[what](...given));
      } catch {} // of another origin
    }
    return answers;
  }

  function hide() {
    hides = true;
    settle();
    inFrames("hide");
  }

  // They are in sight for so long. Returns whether any was out of sight.
  function reveal(ms) {
    shownUntil = performance.now() + ms;
    setTimeout(settle, ms + 1);
    return [settle(), ...inFrames("reveal", ms)].includes(true);
  }

  // The same; returns once they are drawn. It waits for no frame, which may go at any time.
  async function show(ms) {
    if (reveal(ms)) await new Promise((resolve) => setTimeout(resolve, DRAWN_MS));
  }

  Object.defineProperty(globalThis, "poolmgrVideos", { value: Object.freeze({ hide, reveal, show }) });
})();
