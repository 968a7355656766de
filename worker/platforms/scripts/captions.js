// Reads the page's captions: whether they are on, and each speaker's words as they stand there now. Each element gets a
// number, which it keeps.
({ shown, each, id, speaker, text }) => {
  /* finding.js */
  const page = survey();
  const [MOST_LINES, NAME_CHARS, TEXT_CHARS] = [10, 200, 2000];
  const numbers = (globalThis.poolmgrCaptions ??= { of: new WeakMap(), last: 0 });

  function number(element) {
    if (!numbers.of.has(element)) numbers.of.set(element, (numbers.last += 1));
    return `n${numbers.of.get(element)}`;
  }

  // The text at "CSS@attribute", starting from an element; the first of several that exists.
  function reader(where, chars) {
    const ways = [where ?? []].flat().map((way) => /^(.*?)(?:@([\w-]+))?$/s.exec(way));
    return (element) => {
      for (const [, selector, attribute] of ways) {
        const found = !selector || selector === ":scope" ? element : page.attempt(selector, (css) => element.querySelector(css), null);
        const said = ((found && (attribute ? found.getAttribute(attribute) : found.innerText)) ?? "").replace(/\s+/g, " ").trim();
        if (said) return said.slice(-chars);
      }
      return "";
    };
  }

  const found = page.all(each).filter(page.isLaidOut);
  const innermost = [...new Set(found)].filter((element) => !found.some((other) => other !== element && element.contains(other)));
  const [idOf, speakerOf, textOf] = [reader(id, NAME_CHARS), reader(speaker, NAME_CHARS), reader(text, TEXT_CHARS)];
  const lines = innermost.slice(-MOST_LINES).map((element) => ({
    key: (id && idOf(element)) || number(element),
    speaker: speaker ? speakerOf(element) : "",
    text: textOf(element),
  }));
  return {
    shown: lines.length > 0 || shown.some((selector) => page.all(selector).some(page.isLaidOut)),
    lines: lines.filter(({ text: said, speaker: name }) => said && said !== name),
    bad: [...page.bad],
  };
}
