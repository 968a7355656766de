// Finds where to click on the first target that can be clicked. Returns { index, x, y, mark }; null: there is none in time.
// `mark`: what the page looked like, to see later whether the click took. A target that needs the page's own click is clicked
// here: { index, mark }. `covered`: something else lay over the target all the time. `hidden`: the target exists and does not
// show, like a button of a toolbar that hides itself; it gives a place to move the mouse to. With `force` both kinds get the
// page's own click.
async ({ targets, patience_ms, force }) => {
  /* finding.js */
  const [COVERED_MS, HIDDEN_MS] = [400, 300];

  // In coordinates of the window, also for an element in a frame.
  function middle(page, element) {
    element.scrollIntoView({ block: "nearest", inline: "nearest" });
    const box = element.getBoundingClientRect();
    const at = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    const local = { ...at };
    for (let frame = element.ownerDocument.defaultView?.frameElement; frame; frame = frame.ownerDocument.defaultView?.frameElement) {
      const outer = frame.getBoundingClientRect();
      at.x += outer.x + frame.clientLeft;
      at.y += outer.y + frame.clientTop;
    }
    return { at, local };
  }

  // Whether a click there reaches the element: it hits the element, something in it, or its label.
  function comes(page, element, { x, y }) {
    let hit = element.ownerDocument.elementFromPoint(x, y);
    while (hit?.shadowRoot?.elementFromPoint(x, y) && hit.shadowRoot.elementFromPoint(x, y) !== hit) {
      hit = hit.shadowRoot.elementFromPoint(x, y);
    }
    for (let at = hit; at; at = at.parentElement ?? at.getRootNode().host) if (at === element || at.control === element) return true;
    return false;
  }

  let trouble = null; // { index, element, kind, since }
  for (const end = performance.now() + patience_ms; ; ) {
    const page = survey();
    let worst = null;
    for (const [index, target] of targets.entries()) {
      if (target.press) continue;
      for (const element of page.meant(target)) {
        if (page.isOff(element)) continue;
        let kind = "hidden";
        if (page.isShown(element)) {
          const mark = page.mark(element);
          if (target.how === "dom") {
            element.click();
            return { index, mark };
          }
          const { at, local } = middle(page, element);
          if (comes(page, element, local)) return { index, ...at, mark };
          if (at.x >= 0 && at.y >= 0 && at.x < innerWidth && at.y < innerHeight) kind = "covered";
        }
        worst ??= { index, element, kind };
      }
    }
    if (worst && trouble?.element === worst.element && trouble.kind === worst.kind) {
      const lasted = performance.now() - trouble.since;
      if (force) {
        worst.element.click();
        return { index: worst.index };
      }
      if (worst.kind === "covered" && lasted >= COVERED_MS) return { index: worst.index, covered: true };
      if (worst.kind === "hidden" && lasted >= HIDDEN_MS) return { index: worst.index, hidden: [innerWidth / 2, innerHeight / 2] };
    } else {
      trouble = worst && { ...worst, since: performance.now() };
    }
    const key = targets.findIndex((target) => target.press);
    if (key >= 0 && !worst) return { index: key };
    if (performance.now() >= end) return null;
    await new Promise((again) => setTimeout(again, 10));
  }
}
