"""The task dialog for hasty fingers, long texts, large letters and screen readers."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import Site, due

_IN_SIGHT = """
(node) => {
  const [inner, outer] = [node.getBoundingClientRect(), node.closest('.dialog-body').getBoundingClientRect()];
  return inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
}
"""


def _details(page: Page, title: str) -> None:
    page.get_by_role("button", name="Details…").click()
    page.locator("#f-title").fill(title)


def _monthly(page: Page) -> None:
    page.locator("#f-due").fill("2031-12-31T10:00")
    page.locator("#f-frequency").select_option("monthly")


def test_a_complaint_stands_by_its_field_and_is_read_with_it(site: Site) -> None:
    """In sight, part of the field's description beside its hint, and gone with the next key."""
    page = site.joined(height=600)
    _details(page, "Pay the rent")
    _monthly(page)
    day = page.locator("#f-monthday")
    day.fill("40")
    page.get_by_role("button", name="Save", exact=True).click()
    error = page.locator("#error-recurrence_rule")
    expect(error).to_have_text("The day of the month is a whole number from 1 to 31.")
    assert error.evaluate(_IN_SIGHT)
    expect(day).to_be_focused()
    expect(day).to_have_accessible_description(
        "The day of the month is a whole number from 1 to 31. Last day in shorter months; empty: the due date's day."
    )
    page.keyboard.press("Backspace")
    expect(error).to_be_hidden()
    expect(day).not_to_have_attribute("aria-invalid", "true")
    expect(day).to_have_accessible_description("Last day in shorter months; empty: the due date's day.")


def test_what_the_service_says_of_a_part_stands_by_that_part(site: Site) -> None:
    """Its fields have dots in their names."""
    page = site.joined()
    _details(page, "Pay the rent")
    _monthly(page)
    page.get_by_label("On a day").check()
    page.locator("#f-until").fill("2031-01-01")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#error-recurrence_rule")).to_contain_text("before the first occurrence")
    expect(page.locator("#f-until")).to_be_focused()
    expect(page.locator("#f-until")).to_have_attribute("aria-invalid", "true")


def test_a_long_text_is_not_cut_in_silence(site: Site) -> None:
    """It stays as it was pasted and its length is told, in characters as the service counts them."""
    page = site.joined()
    _details(page, "😀" * 201)
    page.locator("#f-description").fill("x" * 10_001)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#error-title")).to_have_text("A title has at most 200 characters; this one has 201.")
    expect(page.locator("#error-description")).to_contain_text("this one has 10001")
    page.locator("#f-title").fill("😀" * 200)
    page.locator("#f-description").fill("")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#editor")).to_be_hidden()
    page.get_by_label("Title of a new task").fill("y" * 201)
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Title: should have at most 200 characters.")
    expect(page.get_by_label("Title of a new task")).to_have_value("y" * 201)


def test_a_tab_out_of_a_spreadsheet_is_a_blank(site: Site) -> None:
    """In the dialog and in the quick field; the service takes none in a title."""
    page = site.joined()
    _details(page, "\tone\tpasted ")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#editor")).to_be_hidden()
    page.get_by_label("Title of a new task").fill("two\tpasted")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Added: two pasted")
    titles = {task["title"] for task in site.call(page, "GET", "/api/tasks")["items"]}
    assert titles == {"one pasted", "two pasted"}


def test_a_date_and_a_time_are_typed_in_one_go(site: Site) -> None:
    """After four digits of the year the next key is the hour."""
    page = site.joined()
    _details(page, "Typed")
    page.locator("#f-due").focus()
    page.keyboard.type("123120311000AM")
    expect(page.locator("#f-due")).to_have_value("2031-12-31T10:00")
    page.locator("#f-due").fill("9500-01-01T10:00")
    page.keyboard.press("Enter")
    expect(page.locator("#error-due_date")).to_have_text("The year must be before 9000.")


@pytest.mark.parametrize("field", ["#f-title", "#f-description", "#f-priority"])
def test_control_and_enter_save_from_everywhere(site: Site, field: str) -> None:
    """Once, also where Enter alone would do."""
    page = site.joined()
    _details(page, "Written")
    page.locator(field).focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#editor")).to_be_hidden()
    assert [task["title"] for task in site.call(page, "GET", "/api/tasks")["items"]] == ["Written"]


def test_a_failure_is_seen_from_the_bottom_of_the_dialog(site: Site) -> None:
    """Its words are at the top; who pressed Save below sees them."""
    page = site.joined(width=360, height=640)
    _details(page, "Long form")
    _monthly(page)
    page.locator("#f-basis").scroll_into_view_if_needed()
    page.context.set_offline(True)
    page.get_by_role("button", name="Save", exact=True).click()
    error = page.locator("#editor-error")
    expect(error).to_contain_text("Nothing is lost")
    assert error.evaluate(_IN_SIGHT)
    page.context.set_offline(False)
    expect(error).to_have_text("The server answers again. Nothing is lost: save again.", timeout=30_000)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#editor")).to_be_hidden()


def test_large_letters_fit_the_dialogs_of_a_phone(site: Site) -> None:
    """With letters twice as large nothing is cut off at a side, and the answers of a long question can be reached."""
    page = site.joined(width=375, height=700)
    task = site.task(page, title="W" * 200, due_date=due(days=2), recurrence_rule={"frequency": "weekly", "count": 5})
    page.get_by_role("button", name=task["title"], exact=True).wait_for()
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    page.get_by_role("button", name=task["title"], exact=True).click()
    sideways = "[...document.querySelectorAll('dialog[open] *')].filter((n) => n.checkVisibility() && n.getBoundingClientRect().right > 376).length"
    assert page.evaluate(sideways) == 0
    page.keyboard.press("Escape")
    page.get_by_label("Delete: ").click()
    expect(page.get_by_role("button", name="Delete", exact=True)).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("button", name="Keep it")).to_be_in_viewport(ratio=1)


def test_a_title_turns_only_itself_round(site: Site) -> None:
    """A direction override in it does not reach the words of the question around it."""
    page = site.joined()
    site.task(page, title="\u202efdp.exe")
    page.get_by_role("button", name="Delete: ").click(timeout=15_000)
    assert page.locator("#confirm-words bdi").text_content() == "\u202efdp.exe"


def test_a_finger_leaves_no_pressed_button_behind(site: Site) -> None:
    """A touch screen keeps the hover where the finger was; the button looks as before."""
    page = site.joined(width=375, height=700, has_touch=True, is_mobile=True, reduced_motion="reduce")
    color = "(node) => getComputedStyle(node).backgroundColor"
    button = page.locator("#filter-toggle")
    before = button.evaluate(color)
    # A click leaves the hover as a finger does.
    button.click()
    expect(page.locator("#filter-toggle:hover")).to_be_visible()
    assert button.evaluate(color) == before


def test_the_account_menu_closes_behind_the_focus(site: Site) -> None:
    """Nothing lies over what Tab reaches next."""
    page = site.joined()
    page.get_by_label("Account", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#logout")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#logout")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#logout")).to_be_hidden()


def test_a_link_to_no_task_says_so(site: Site) -> None:
    """Whatever it has in the place of a number."""
    page = site.joined()
    page.goto(f"{site.url}/?task=abc")
    expect(page.locator("#toasts")).to_have_text("This task is not among yours any more.")
