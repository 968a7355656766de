// Before a picture is taken: paints over every text with a secret, and over every password field. Nothing on the page moves or
// changes. `hide(null)` removes the paint. Open shadow roots are searched, too.
(expressions) => {
  const NAME = "poolmgr-hidden";
  const RULES = `
    ::highlight(${NAME}) { color: #222; background-color: #222; text-shadow: none; }
    [data-${NAME}] { color: transparent !important; -webkit-text-security: disc !important; text-shadow: none !important;
      background: #222 !important; }
    [data-${NAME}]::placeholder { color: transparent !important; }
  `;
  const kept = (globalThis[Symbol.for(NAME)] ??= { sheet: null, fields: [], roots: [] });
  for (const field of kept.fields) field.removeAttribute(`data-${NAME}`);
  for (const root of kept.roots) {
    root.adoptedStyleSheets = root.adoptedStyleSheets.filter((one) => one !== kept.sheet);
  }
  CSS.highlights.delete(NAME);
  Object.assign(kept, { fields: [], roots: [] });
  if (!expressions) return [];

  kept.sheet ??= new CSSStyleSheet();
  kept.sheet.replaceSync(RULES);
  const secret = new RegExp(expressions.map((one) => `(?:${one})`).join("|"), "gi");
  const ranges = [];
  const typed = [];

  const isSecretField = (field) =>
    field.type === "password" || /one-time-code|password/.test(field.autocomplete ?? "") ||
    /pass|pwd|otp/i.test(`${field.name} ${field.id}`);

  const cover = (root) => {
    root.adoptedStyleSheets = [...root.adoptedStyleSheets, kept.sheet];
    kept.roots.push(root);
    const nodes = [];
    const inner = [];
    let text = "";
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.nodeType === Node.TEXT_NODE) {
        nodes.push({ node, from: text.length });
        text += node.data;
        continue;
      }
      if (node.shadowRoot) inner.push(node.shadowRoot);
      if (/^(INPUT|TEXTAREA)$/.test(node.tagName)) {
        const guarded = isSecretField(node);
        if (guarded && node.value) typed.push(node.value);
        secret.lastIndex = 0;
        if (guarded || secret.test(node.value ?? "") || secret.test(node.placeholder ?? "")) {
          node.setAttribute(`data-${NAME}`, "");
          kept.fields.push(node);
        }
      }
    }
    const place = (offset, atEnd) => {
      let low = 0;
      let high = nodes.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (nodes[middle].from < offset || (!atEnd && nodes[middle].from === offset)) low = middle;
        else high = middle - 1;
      }
      return [nodes[low].node, offset - nodes[low].from];
    };
    secret.lastIndex = 0;
    for (const found of text.matchAll(secret)) {
      const range = new Range();
      range.setStart(...place(found.index, false));
      range.setEnd(...place(found.index + found[0].length, true));
      ranges.push(range);
    }
    inner.forEach(cover);
  };
  cover(document);
  CSS.highlights.set(NAME, new Highlight(...ranges));
  return typed;
}
