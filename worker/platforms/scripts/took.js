// Whether a click on the target took: true as soon as the page differs from `mark` (place.js); false if it does not within the
// given time.
async ({ target, mark, patience_ms }) => {
  /* finding.js */
  for (const end = performance.now() + patience_ms; ; ) {
    const page = survey();
    const button = page.meant(target).find((element) => !page.isOff(element) && page.isShown(element));
    if (!button || page.mark(button) !== mark) return true;
    if (performance.now() >= end) return false;
    await new Promise((again) => setTimeout(again, 15));
  }
}
