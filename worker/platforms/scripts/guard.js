// Runs in every page before the page's own scripts. A browser outlives its agent, and without an agent nobody would take the
// bot out of its meeting. So the page leaves by itself when no agent has called `attend` for the agreed time.
(() => {
  const LOOK_MS = 1000;
  if (globalThis.top !== globalThis || globalThis.poolmgrGuard) return;

  let until = Infinity;
  let leaves = false;
  // Runs before the page's own handlers: nobody would answer their "leave this page?".
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
