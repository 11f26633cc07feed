"""What a reader would complain of in a page, found by a browser that has laid it out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from axe_core_python.base import AXE_SCRIPT
from chromium import Tab, address

WIDTHS = (1100, 700, 390)
PAPER_PX = 703
"""What A4 leaves of 210 mm between margins of 12 mm, at 96 px an inch."""
MOST_PAGES = 60
CONTRAST = 4.5
"""WCAG 2.2, 1.4.3, for text of ordinary size."""
LINE_CONTRAST = 3.0
"""WCAG 2.2, 1.4.11, for what a chart is made of; bands and grids carry no figures and are see-through."""

SIZES = """() => {
  const found = [];
  const seen = element => element.getBoundingClientRect();
  for (const element of document.querySelectorAll('figure, svg, img')) {
    if (element.parentElement.closest('svg') || !element.checkVisibility()) continue;
    const box = seen(element), name = `${element.localName} ${element.closest('[id]')?.id}`;
    if (box.width < 40 || box.height < 40) found.push(`${name}: ${box.width} x ${box.height} px`);
    const frame = element.closest('.chart') || element.closest('figure') || document.body;
    const scrolls = getComputedStyle(frame).overflowX === 'auto' && frame !== element;
    if (!scrolls && (box.left < -0.5 || box.right > innerWidth + 0.5))
      found.push(`${name}: from ${box.left} to ${box.right} of ${innerWidth} px`);
  }
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth + 1) found.push(`the page is ${wide} px wide in ${innerWidth}`);
  return found;
}"""

TEXT = """paper => {
  const found = [];
  // a slanted text's box says little of where its letters are; a text drawn twice is one with a rim
  const slanted = (...texts) => texts.some(text => {
    const {a, b} = text.getScreenCTM();
    return Math.abs(a) > 0.01 * Math.hypot(a, b) && Math.abs(b) > 0.01 * Math.hypot(a, b);
  });
  const short = element => `${element.tagName.toLowerCase()} "${element.textContent.trim().slice(0, 40)}"`;
  for (const element of document.querySelectorAll('h1, h2, h3, p, li, dt, dd, figcaption, td, th, summary')) {
    if (!element.checkVisibility()) continue;
    if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== 'inline')
      found.push(`${short(element)}: text is ${element.scrollWidth} px wide in ${element.clientWidth}`);
  }
  for (const table of document.querySelectorAll('table')) {
    if (!table.checkVisibility()) continue;
    const box = table.getBoundingClientRect(), frame = table.parentElement;
    const scrolls = !paper && getComputedStyle(frame).overflowX === 'auto';
    if (!scrolls && box.right > innerWidth + 0.5)
      found.push(`table "${table.caption?.textContent.trim()}": ends at ${box.right} of ${innerWidth} px`);
  }
  for (const svg of document.querySelectorAll('svg')) {
    if (!svg.checkVisibility()) continue;
    const whole = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].filter(text => text.textContent.trim());
    const boxes = texts.map(text => text.getBoundingClientRect());
    texts.forEach((text, i) => {
      const box = boxes[i];
      if (box.left < whole.left - 1 || box.right > whole.right + 1 ||
          box.top < whole.top - 1 || box.bottom > whole.bottom + 1)
        found.push(`${short(text)}: leaves its chart ${svg.getAttribute('aria-label')}`);
      for (let j = 0; j < i; j++) {
        const x = Math.min(box.right, boxes[j].right) - Math.max(box.left, boxes[j].left);
        const y = Math.min(box.bottom, boxes[j].bottom) - Math.max(box.top, boxes[j].top);
        const twice = text.textContent === texts[j].textContent && Math.abs(box.left - boxes[j].left) < 3;
        if (x > 2 && y > 0.35 * Math.min(box.height, boxes[j].height) && !twice && !slanted(text, texts[j]))
          found.push(`${short(text)} lies over ${short(texts[j])} in ${svg.getAttribute('aria-label')}`);
      }
    });
  }
  return found;
}"""

_CONTRAST = """
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const read = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [R, G, B] = [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = read(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const contrast = (colour, element) => {
    const [one, other] = [light(colour), light(behind(element))].sort((a, b) => b - a);
    return (one + 0.05) / (other + 0.05);
  };
"""

PALE = (
    f"""least => {{{_CONTRAST}"""
    + """
  const found = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent.trim(), element = walk.currentNode.parentElement;
    if (!text || !element.checkVisibility() || ['STYLE', 'title', 'desc'].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const colour = read(element.closest('svg') ? style.fill : style.color);
    const is = contrast(colour, element);
    if (is < least) found.add(`"${text.slice(0, 40)}": contrast ${is.toFixed(2)}`);
  }
  return [...found];
}"""
)

FAINT = (
    f"""least => {{{_CONTRAST}"""
    + """
  const found = new Set();
  for (const mark of document.querySelectorAll('svg .mark-line path, svg .mark-symbol path')) {
    const style = getComputedStyle(mark), chart = mark.closest('[aria-label]')?.getAttribute('aria-label');
    for (const [paint, opacity] of [[style.fill, style.fillOpacity], [style.stroke, style.strokeOpacity]]) {
      if (paint === 'none' || opacity * style.opacity < 1) continue;
      const colour = read(paint);
      if (colour[3] < 255) continue;
      const is = contrast(colour, mark);
      if (is < least) found.add(`a line of ${paint} in ${chart}: contrast ${is.toFixed(2)}`);
    }
  }
  return [...found];
}"""
)

OPEN_ALL = "() => document.querySelectorAll('details').forEach(details => details.open = true)"
PAINTINGS = """() => [...document.querySelectorAll('svg')]
  .filter(svg => !svg.parentElement.closest('svg') && svg.checkVisibility()).length"""


@dataclass(frozen=True, slots=True)
class Defect:
    """What is wrong, and in which view."""

    view: str
    what: str

    def __str__(self) -> str:
        return f"{self.view}: {self.what}"


SCROLLS = """() => [...document.querySelectorAll('body *')]
  .filter(one => /auto|scroll/.test(getComputedStyle(one).overflowX))
  .map(one => `${one.localName} ${one.closest('[id]')?.id} has a scroll bar`)"""


AXE = """() => axe.run().then(({violations}) =>
  violations.map(({id, nodes}) => `${id}: ${nodes.map(node => node.target).join(', ')}`))"""


def find_barriers(tab: Tab, page: Path | str) -> list[Defect]:
    """What axe-core finds on a page, on a wide and a narrow screen, light and dark."""
    defects = []
    for width, scheme in ((WIDTHS[0], "light"), (WIDTHS[-1], "dark")):
        tab.media(scheme=scheme)
        tab.open(page, width)
        tab.run(f"() => {{ {AXE_SCRIPT} }}")
        defects += [Defect(f"axe, {width} px, {scheme}", text) for text in tab.run(AXE)]
    tab.media()
    return defects


def find_defects(tab: Tab, page: Path | str) -> list[Defect]:
    """Everything wrong with a page at both widths, in the dark, and on paper, all details open too."""
    defects: list[Defect] = []
    tab.media()
    tab.open(page, WIDTHS[0])
    outside = [url for url in tab.requested if url != address(page) and not url.startswith("data:")]
    defects += [Defect("network", url) for url in outside]
    defects += [Defect("console", text) for text in tab.errors]
    named = tab.names("image")
    drawings = tab.run(PAINTINGS)
    if len([name for name in named if name.strip()]) < drawings:
        defects.append(Defect("accessibility", f"{drawings} drawings, named are {named}"))
    for details in ("closed", "open"):
        if details == "open":
            tab.run(OPEN_ALL)
        for width in WIDTHS:
            tab.resize(width)
            defects += [Defect(f"{width} px, details {details}", text) for text in tab.run(SIZES)]
            defects += [Defect(f"{width} px, details {details}", text) for text in tab.run(TEXT, False)]
    for scheme in ("light", "dark"):
        tab.media(scheme=scheme)
        defects += [Defect(scheme, text) for text in tab.run(PALE, CONTRAST)]
        defects += [Defect(scheme, text) for text in tab.run(FAINT, LINE_CONTRAST)]
    tab.media("print")
    tab.resize(PAPER_PX)
    defects += [Defect("paper", text) for text in [*tab.run(SIZES), *tab.run(TEXT, True)]]
    defects += [Defect("paper", text) for text in [*tab.run(SCROLLS), *tab.run(PALE, CONTRAST)]]
    pages = len(re.findall(rb"/Type\s*/Page\b", tab.pdf()))
    if not 1 <= pages <= MOST_PAGES:
        defects.append(Defect("paper", f"{pages} pages"))
    tab.media()
    return defects
