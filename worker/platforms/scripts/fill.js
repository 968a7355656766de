// Puts the cursor into a field and selects its text, so that typing replaces it. Returns that text; null: there is no such
// field, or not in time.
async ({ targets, patience_ms }) => {
  /* finding.js */
  for (const end = performance.now() + patience_ms; ; ) {
    const page = survey();
    for (const field of targets.flatMap(page.meant)) {
      if (page.isOff(field) || field.readOnly || !page.isLaidOut(field)) continue;
      field.focus();
      if (field.getRootNode().activeElement !== field) continue;
      if (field.select) field.select();
      else getSelection().selectAllChildren(field);
      return field.value ?? field.textContent;
    }
    if (performance.now() >= end) return null;
    await new Promise((again) => setTimeout(again, 20));
  }
}
