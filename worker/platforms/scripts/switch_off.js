// Switches off microphone and camera, and tries once to switch on what is only wished for. Returns whether all is off, and in
// which document. Only one click on a switch is under way at a time. A click that changed nothing is repeated, because pages that
// were just drawn lose clicks. With `force` devices that cannot be switched off send nothing, and the page does not notice.
async ({ targets, wishes, calls, patience_ms, force }) => {
  /* finding.js */
  const [AGAIN_MS, SETTLE_MS, LOOK_MS] = [100, 150, 10];
  // Switches of others, whom a host may mute.
  const OTHERS = "ul, ol, table, [role=list], [role=listitem], [role=tree], [role=treeitem], [role=row], [role=menu]";
  const there = (wanted) => {
    const page = survey();
    return [...new Set(wanted.flatMap(page.meant))].filter(
      (one) => page.isLaidOut(one) && !(calls && (page.isOff(one) || page.isInside(one, OTHERS))),
    );
  };
  const on = () => there(targets);
  const wait = (ms) => new Promise((again) => setTimeout(again, ms));
  const click = (found) => {
    const toggles = found.filter((toggle) => toggle.click);
    for (const toggle of toggles) if (!toggles.some((other) => other !== toggle && toggle.contains(other))) toggle.click();
  };
  async function isOffWithin(ms) {
    for (const end = performance.now() + ms; on().length; await wait(LOOK_MS)) if (performance.now() >= end) return false;
    return true;
  }

  async function switchOff() {
    const end = performance.now() + patience_ms;
    let patience = AGAIN_MS;
    for (let clicks = 0; ; ) {
      const toggles = on();
      if (!toggles.length) {
        if (clicks < 2) return true;
        await wait(SETTLE_MS); // the clicks before may have been slow, not lost
        if (!on().length) return true;
        [patience, clicks] = [patience_ms, 0];
        if (await isOffWithin(SETTLE_MS)) continue;
      }
      if (performance.now() >= end) return false;
      click(on());
      clicks += 1;
      await isOffWithin(Math.min(patience, Math.max(end - performance.now(), LOOK_MS)));
    }
  }

  if (wishes.length) click(there(wishes).slice(0, 1));
  const off = await switchOff();
  if (!off && force) globalThis.poolmgrMedia?.hush?.();
  return { off, document: performance.timeOrigin };
}
