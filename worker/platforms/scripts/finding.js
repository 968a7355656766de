// Finds things on a page, wherever they stand: in the document, in open shadow roots, in frames of its own origin that
// show. Part of every script that looks at a page or acts on it; `survey` begins one look, and nothing outlives it.
const survey = (ignore) => {
  const [MOST_ELEMENTS, MOST_ROOTS, MOST_CHARS] = [100_000, 200, 4_000_000];
  const UNSPOKEN = new Set(["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE"]);
  const CONTROLS =
    "button, a, summary, input[type=button], input[type=submit], [role=button], [role=link], [role=menuitem], [role=tab]";
  const bad = new Set(); // selectors that are none

  // As two texts are compared: without spaces and invisible characters, one kind of apostrophe, lower case.
  const fold = (text) =>
    text
      .replace(/[\s\u00ad\u200b-\u200f\u2060\ufeff]+/g, "")
      .replace(/[\u2018\u2019\u02bc\u2032`\u00b4]/g, "'")
      .replace(/\u2026/g, "...")
      .replace(/[\u2010-\u2015]/g, "-")
      .toLowerCase();

  // Left of the page or above it, where nobody can scroll to.
  function isAway(element) {
    const box = element.getBoundingClientRect();
    const { scrollX = 0, scrollY = 0 } = element.ownerDocument.defaultView ?? {};
    return (box.width > 0 || box.height > 0) && (box.right + scrollX <= 0 || box.bottom + scrollY <= 0);
  }

  const isShown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !isAway(element);
  const isLaidOut = (element) => element.checkVisibility();

  // What a screen reader alone is to read, or a menu that is folded up: it stands in a box of no size that cuts it off.
  function isCutOff(element) {
    let at = element;
    while (at && !((at.offsetWidth <= 1 || at.offsetHeight <= 1) && getComputedStyle(at).overflowX !== "visible")) at = at.parentElement;
    for (let inner = element; at && inner !== at; inner = inner.parentElement) {
      if (getComputedStyle(inner).position === "fixed") return false; // which its box does not hold
    }
    return at !== null;
  }

  const roots = [];
  let elements = 0;
  function collect(root) {
    roots.push(root);
    for (const element of root.querySelectorAll("*")) {
      elements += 1;
      if (elements > MOST_ELEMENTS || roots.length >= MOST_ROOTS) return;
      if (element.shadowRoot) collect(element.shadowRoot);
      else if (element.localName === "iframe" && element.contentDocument?.body && isLaidOut(element)) {
        collect(element.contentDocument);
      }
    }
  }
  collect(document);

  // What an element stands in, once its own tree ends.
  function outOf(element) {
    const root = element.getRootNode();
    return root.host ?? root.defaultView?.frameElement ?? null;
  }

  function isInside(element, selector) {
    for (let at = element; at; at = outOf(at)) if (at.closest(selector)) return true;
    return false;
  }

  function attempt(selector, ask, otherwise) {
    try {
      return ask(selector);
    } catch (error) {
      if (error.name !== "SyntaxError") throw error;
      bad.add(selector);
      return otherwise;
    }
  }

  const ignored = (ignore ?? []).filter((selector) => attempt(selector, (css) => (document.querySelector(css), true), false)).join();

  const foundBy = new Map();
  function all(selector) {
    let found = foundBy.get(selector);
    if (!found) {
      found = attempt(selector, (css) => roots.flatMap((root) => [...root.querySelectorAll(css)]), []);
      foundBy.set(selector, found);
    }
    return found;
  }

  // Those that may tell what the page shows: what people write and say in the meeting does not.
  const telling = (selector) =>
    all(selector).filter((element) => !ignored || !isInside(element.parentElement ?? outOf(element), ignored));

  // What an element's text is a line of.
  function blockOf(element) {
    let at = element;
    while (/^(inline|contents)$/.test(getComputedStyle(at).display) && at.parentElement) at = at.parentElement;
    return at;
  }

  // The text that shows in a tree, frames and shadow roots with it. In `lines`, what its controls are called is left out.
  function shownText(tree, inLines = false) {
    const within = (root) => `\n${[...root.children].map((child) => shownText(child, inLines)).join("\n")}\n`;
    if (ignored && tree.matches(ignored)) return "";
    let text = tree.shadowRoot && isLaidOut(tree) ? within(tree.shadowRoot) : "";
    let block = null;
    const walker = tree.ownerDocument.createTreeWalker(tree, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, (node) => {
      if (node.nodeType !== Node.ELEMENT_NODE) return NodeFilter.FILTER_ACCEPT;
      if (UNSPOKEN.has(node.tagName) || (ignored && node.matches(ignored))) return NodeFilter.FILTER_REJECT;
      const isControl = inLines && node.matches(CONTROLS);
      if (isControl || node.localName === "br") text += "\n";
      if (isControl) return NodeFilter.FILTER_REJECT;
      if (node.shadowRoot && isLaidOut(node)) text += within(node.shadowRoot);
      return NodeFilter.FILTER_ACCEPT;
    });
    for (let node = tree; node && text.length < MOST_CHARS; node = walker.nextNode()) {
      if (node.nodeType === Node.TEXT_NODE) {
        const parent = node.parentElement ?? node.getRootNode().host;
        if (!node.data.trim() || !isShown(parent) || isCutOff(parent)) continue;
        if (inLines && block !== (block = blockOf(parent))) text += "\n";
        text += inLines ? `${node.data.replace(/\s+/g, " ")} ` : `${node.data} `;
      } else if (node.localName === "iframe" && roots.includes(node.contentDocument)) {
        text += `\n${shownText(node.contentDocument.body, inLines)}\n`;
      }
    }
    return text;
  }

  // Whether nothing shows that anybody could read or use: a logo and a spinner are no page.
  const THINGS = `${CONTROLS}, input, textarea, select, canvas, video, embed, object, iframe`;
  function isEmpty() {
    const shows = (thing) => isShown(thing) && thing.offsetWidth !== 0 && !isCutOff(thing);
    if (all(THINGS).some((thing) => shows(thing) && !roots.includes(thing.contentDocument))) return false;
    return !roots.some((root) => {
      const texts = document.createTreeWalker(root.body ?? root, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        const parent = texts.currentNode.parentElement;
        if (texts.currentNode.data.trim() && parent && !UNSPOKEN.has(parent.tagName) && isShown(parent) && !isCutOff(parent)) return true;
      }
      return false;
    });
  }

  // What stands anywhere on the page, shown or not, and in names of its controls: most phrases are not among it, and then
  // nobody need look any closer.
  let everything;
  function mayHold(phrases) {
    if (everything === undefined) {
      const texts = roots.map((root) => (root.body ?? root).textContent ?? "");
      for (const element of roots.flatMap((root) => [...root.querySelectorAll("[aria-label], [title], input[value]")])) {
        texts.push(element.getAttribute("aria-label") ?? "", element.title ?? "", element.value ?? "");
      }
      everything = fold(texts.join("\n").slice(0, MOST_CHARS));
    }
    return phrases.some((phrase) => everything.includes(phrase));
  }

  const textOf = new Map();
  function holds(element, phrases) {
    let text = textOf.get(element);
    if (text === undefined) {
      text = fold(isLaidOut(element) ? shownText(element) : "");
      textOf.set(element, text);
    }
    return phrases.some((phrase) => text.includes(phrase));
  }

  const saidBy = new Map();
  // Whether one of the phrases is all of a sentence that stands in the element, or the element's name.
  function says(element, phrases) {
    let said = saidBy.get(element);
    if (!said) {
      const sentences = isLaidOut(element) ? shownText(element, true).split(/\n|[.!?]+(?=\s)/) : [];
      said = new Set([element.getAttribute("aria-label") ?? "", ...sentences].map(fold));
      saidBy.set(element, said);
    }
    return phrases.some((phrase) => said.has(phrase));
  }

  // Whether one of the labels is the element's name, its text, or that of something in it.
  function isCalled(element, labels) {
    if (ignored && element.matches(ignored)) return false;
    const names = [element.getAttribute("aria-label"), element.title, element.value];
    if (names.some((name) => labels.includes(fold(String(name ?? ""))))) return true;
    const text = fold(element.textContent);
    if (!labels.some((label) => text.includes(label))) return false;
    if (labels.includes(fold(shownText(element)))) return true;
    const counts = isShown(element) ? isShown : () => true; // a bar that hides itself hides its buttons' names, too
    return [element, ...element.querySelectorAll("*")].some(
      (part) => labels.includes(fold(part.textContent)) && counts(part) && !(ignored && (isInside(part, ignored) || part.querySelector(ignored))),
    );
  }

  const isOff = (element) =>
    element.matches(":disabled") || element.getAttribute("aria-disabled") === "true" || element.classList.contains("disabled");

  // Few characters that are others once a click took, as far as the page shows it: a deaf button changes nothing. What
  // hovering and focus do to the button itself is no answer.
  function mark(button) {
    const { disabled, ariaDisabled, ariaBusy, ariaPressed, ariaChecked, ariaLabel, isConnected } = button;
    const text = roots.map((root) => (root.body ?? root).textContent.length).join();
    const own = [disabled, ariaDisabled, ariaBusy, ariaPressed, ariaChecked, ariaLabel, isConnected, isShown(button), isOff(button)];
    return [location.href, elements, roots.length, text, ...own, button.textContent].join("|");
  }

  // The elements that a target means, those that show first.
  function meant(target) {
    const { css, label = [], text = [] } = typeof target === "string" ? { css: target } : target;
    if (label.length && !mayHold(label)) return [];
    const found = all(css ?? CONTROLS).filter(
      (element) => (!label.length || isCalled(element, label)) && (!text.length || holds(element, text)),
    );
    return [...found.filter(isShown), ...found.filter((element) => !isShown(element))];
  }

  return { CONTROLS, all, attempt, bad, fold, holds, isCalled, isEmpty, isInside, isLaidOut, isOff, isShown, mark, mayHold, meant, outOf, says, telling };
};
