// Switches off what is on; answers whether all of it is off then. Each is clicked on once, also one that is labelled twice:
// a switch that takes its time would go on again.
async ({ targets, patience_ms }) => {
  /* finding.js */
  const on = () => {
    const page = survey();
    return [...new Set(targets.flatMap(page.meant).filter(page.isLaidOut))];
  };
  const toggles = on().filter((toggle) => toggle.click);
  for (const toggle of toggles) if (!toggles.some((other) => other !== toggle && toggle.contains(other))) toggle.click();
  for (const end = performance.now() + patience_ms; on().length; ) {
    if (performance.now() >= end) return false;
    await new Promise((again) => setTimeout(again, 20));
  }
  return true;
}
