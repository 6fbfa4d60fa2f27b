"""The page for everybody: keyboard only, screen readers, dark, a phone, and the headers that protect all of them."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import PASSWORD, Site, due, ready

# Controls that can be seen and have no accessible name.
_NAMELESS = """
() => {
  const visible = (node) => node.checkVisibility({ visibilityProperty: true });
  const text = (id) => document.getElementById(id)?.textContent ?? '';
  const name = (node) =>
    (node.getAttribute('aria-labelledby') || '').split(' ').map(text).join(' ').trim() ||
    (node.getAttribute('aria-label') || '').trim() ||
    [...(node.labels || [])].map((label) => label.textContent).join(' ').trim() ||
    (['BUTTON', 'A', 'SUMMARY'].includes(node.tagName) ? node.textContent.trim() : '');
  const controls = [...document.querySelectorAll('button, a[href], input, select, textarea, summary, [role=button], dialog')];
  return controls.filter((node) => visible(node) && !name(node)).map((node) => node.outerHTML.slice(0, 120));
}
"""
# Texts whose contrast with what is behind them is under 4.5 (large ones: 3).
_FAINT = """
() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] > 200) return color;
    }
    return [255, 255, 255, 255];
  };
  const faint = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest('.unseen, .skip, :disabled, option')) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(rgba(style.color)), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) faint.push(`${node.tagName}.${node.className} ${ratio.toFixed(2)}: ${node.textContent.slice(0, 40)}`);
  }
  return faint;
}
"""
_SMALL = """
() => [...document.querySelectorAll('button, select, input:not([type=radio])')]
  .filter((node) => node.checkVisibility() && !node.closest('label') && node.getBoundingClientRect().height < 24)
  .map((node) => node.outerHTML.slice(0, 100))
"""
_FOCUSED = "(n => n.getAttribute('aria-label') || n.textContent.trim() || n.id || n.value)(document.activeElement)"


def sound(page: Page) -> None:
    """Every control has a name, every text can be read, every target can be hit."""
    assert page.evaluate(_NAMELESS) == []
    assert page.evaluate(_FAINT) == []
    assert page.evaluate(_SMALL) == []
    duplicates = (
        "(ids => ids.filter((id, at) => ids.indexOf(id) !== at))([...document.querySelectorAll('[id]')].map(n => n.id))"
    )
    assert page.evaluate(duplicates) == []


def fill(site: Site, page: Page) -> None:
    """A few tasks of every kind, one with the longest word."""
    rule = {"frequency": "weekly", "days_of_week": ["mon", "wed", "fri"], "interval": 2}
    site.task(page, title="Repeats", due_date=due(days=2), recurrence_rule=rule, reminder_offset="P1D")
    site.task(
        page, title="W" * 200, description="V" * 500, tags=["T" * 50, "short"], priority="urgent", due_date=due(days=1)
    )
    for priority in ("low", "high"):
        site.task(page, title=f"A {priority} one", priority=priority, due_date=due(days=9))
    page.reload()
    ready(page)
    expect(page.locator("#list li[data-id]")).to_have_count(4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_view_is_sound(site: Site, scheme: str, width: int) -> None:
    """In each view, at both widths, light and dark: names, contrast, targets, and nothing to scroll sideways."""
    page = site.window(color_scheme=scheme, width=width, height=740)
    sound(page)
    page = site.joined(color_scheme=scheme, width=width, height=740)
    sound(page)
    fill(site, page)
    sound(page)
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_role("button", name="Today", exact=True).click()
    expect(page.get_by_text("No task fits.")).to_be_visible()
    sound(page)
    page.get_by_role("button", name="Clear filters").click()
    # On a phone the title alone opens the editor.
    expect(page.get_by_role("button", name="Edit: Repeats")).to_be_visible(visible=width > 640)
    title = page.get_by_role("button", name="Repeats", exact=True)
    for opener in (title, page.get_by_label("Delete: Repeats"), page.get_by_label("Account", exact=True)):
        opener.click()
        sound(page)
        _fits(page, width)
        page.keyboard.press("Escape")
    _fits(page, width)


def _fits(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sideways = "[...document.querySelectorAll('dialog[open], .dialog-body, .task')].filter(n => n.scrollWidth > n.clientWidth + 1).length"
    assert page.evaluate(sideways) == 0


def test_dark_follows_the_system_and_the_button(site: Site) -> None:
    """The system's choice is taken, the button's is kept."""
    page = site.window(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(18, 19, 26)"
    page.get_by_role("button", name="Dark appearance", pressed=True).click()
    assert page.evaluate(background) == "rgb(245, 246, 250)"
    page.reload()
    assert page.evaluate(background) == "rgb(245, 246, 250)"
    assert page.get_by_role("button", name="Dark appearance", pressed=False).is_visible()


def test_everything_goes_by_keyboard(site: Site) -> None:
    """Account, task, edit, completion and deletion without a pointer; the focus is visible and never lost."""
    page = site.window()
    keys = page.keyboard
    expect(page.locator("#email")).to_be_focused()
    page.locator("#auth-switch").press("Enter")
    expect(page.locator("#email")).to_be_focused()
    keys.type(f"keys-{id(page)}-{due()[-20:-6].replace(':', '-')}@example.com")
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    ready(page)
    expect(page.locator("#quick-title")).to_be_focused()
    keys.type("By keyboard")
    keys.press("Enter")
    title = page.get_by_role("button", name="By keyboard", exact=True)
    expect(title).to_be_visible()
    assert {"By keyboard", "Complete: By keyboard", "Delete: By keyboard", "Account"} <= set(_walk(page))
    title.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    keys.press("Enter")
    expect(page.locator("#f-title")).to_be_focused()
    keys.press("End")
    keys.type(" alone")
    keys.press("Enter")
    expect(page.get_by_role("button", name="By keyboard alone", exact=True)).to_be_focused()
    keys.press("Control+k")
    expect(page.locator("#q")).to_be_focused()
    keys.press("Alt+n")
    expect(page.locator("#quick-title")).to_be_focused()
    page.get_by_role("button", name="Delete: By keyboard alone").focus()
    keys.press("Enter")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_role("button", name="Delete: By keyboard alone")).to_be_focused()
    page.get_by_role("checkbox", name="Complete: By keyboard alone").focus()
    keys.press("Space")
    expect(page.locator("#list li")).to_have_count(0)
    expect(page.locator("#quick-title")).to_be_focused()


def _walk(page: Page) -> list[str]:
    """Everything that Tab reaches until it comes round; fails when it does not get through the page."""
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name = str(page.evaluate(_FOCUSED))
        if seen and name == seen[0]:
            return seen
        seen.append(name)
    raise AssertionError(f"Tab never came round: {seen}")


def test_the_skip_link_leads_past_the_top(site: Site) -> None:
    """It is the first thing that Tab reaches, shows itself then, and leads to the tasks."""
    page = site.joined()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Shift+Tab")
    page.locator(".skip").focus()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_large_letters_fit_a_phone(site: Site) -> None:
    """Twice as large nothing is cut off at a side, the skip link stays away until it is wanted, and boxes stay round."""
    page = site.joined(width=390, height=844)
    for number in range(26):
        site.task(page, title=f"Task {number}", tags=["a-long-name-of-a-tag-that-is-wrapped"])
    expect(page.locator("#pages")).to_be_visible(timeout=15_000)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    expect(page.locator(".skip")).not_to_be_in_viewport()
    page.get_by_role("button", name="Details…").click()
    page.locator("#f-due").fill("2031-12-31T10:00")
    page.locator("#f-frequency").select_option("daily")
    sizes = "[...document.querySelectorAll('.ends [type=radio]')].map((n) => n.getBoundingClientRect().width)"
    assert len(set(page.evaluate(sizes))) == 1


def test_news_are_announced(site: Site) -> None:
    """State, result and count are live regions; errors are alerts."""
    page = site.joined()
    for region in ("#connection", "#summary", "#toasts", "#offline"):
        expect(page.locator(region)).to_have_attribute("role", "status")
    page.get_by_label("Title of a new task").fill("Heard")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Added: Heard")
    expect(page.locator("#summary")).to_have_text("1 open task")


def test_the_headers_allow_nothing_else(site: Site) -> None:
    """Each file has a strict policy, a type and an ETag that is answered with 304; no script or style is inline."""
    document = httpx.get(site.url, trust_env=False)
    paths = {"/", "/js/list.js", *re.findall(r'(?:src|href)="(/[^"]*)"', document.text)}
    for path in sorted(paths):
        answer = httpx.get(site.url + path, trust_env=False)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        for directive in ("default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"):
            assert directive in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = httpx.get(site.url + path, headers={"if-none-match": answer.headers["etag"]}, trust_env=False)
        assert (again.status_code, again.content) == (304, b"")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", document.text)
