// Runs in every page before the page's own scripts. Browsers outlive their agent; when none comes back, nobody would ever
// take the bot out of its meeting. So the page leaves by itself once nobody has attended to it for as long as was said.
(() => {
  const LOOK_MS = 1000;
  if (globalThis.top !== globalThis || globalThis.poolmgrGuard) return;

  let until = Infinity;
  let leaves = false;
  // Ahead of the page's own handlers: there is nobody to answer its "leave this page?".
  addEventListener("beforeunload", (event) => leaves && event.stopImmediatePropagation(), { capture: true });
  setInterval(() => {
    if (performance.now() < until) return;
    leaves = true;
    until = Infinity;
    location.replace("about:blank");
  }, LOOK_MS);

  function attend(seconds) {
    until = performance.now() + seconds * 1000;
  }

  Object.defineProperty(globalThis, "poolmgrGuard", { value: Object.freeze({ attend }) });
})();
