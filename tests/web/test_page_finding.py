"""Search and filters for picky people: the focus goes on, words say what is wrong."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.web.conftest import Site


def test_showing_all_again_hands_the_focus_on(site: Site) -> None:
    """The button goes with the empty list; whoever uses the keyboard goes on at the first task."""
    page = site.joined()
    site.task(page, title="Here")
    page.get_by_label("Search titles and descriptions").fill("nowhere")
    page.get_by_role("button", name="Show all").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Here", exact=True)).to_be_focused()


def test_an_empty_list_says_why_it_is_empty(site: Site) -> None:
    """Also where it was empty before for another reason."""
    page = site.joined()
    expect(page.locator("#list")).to_contain_text("All done.")
    page.get_by_label("Search titles and descriptions").fill("nowhere")
    expect(page.locator("#list")).to_contain_text("No task fits.")
    page.get_by_role("button", name="Show all").click()
    page.locator("#status label", has_text="Done").click()
    expect(page.locator("#list")).to_contain_text("Nothing done yet.")


def test_a_span_that_ends_before_it_begins_is_told(site: Site) -> None:
    """Fewer words would not help."""
    page = site.joined()
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_label("Due from").fill("2031-02-01")
    page.get_by_label("Due until").fill("2031-01-01")
    expect(page.locator("#list")).to_contain_text("Due from is later than due until.")


def test_a_refused_filter_is_told_in_the_page_s_words(site: Site) -> None:
    """The service's names of the fields are not those on the screen."""
    page = site.joined()
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_label("Tags, all of them").fill("x" * 51)
    expect(page.locator("#toasts")).to_have_text("Tags: should have at most 50 characters.")


def test_what_is_no_address_is_told_so(site: Site) -> None:
    """The form says it in a sentence and leads back to the field."""
    page = site.window()
    page.get_by_role("button", name="Create an account").click()
    page.get_by_label("E-mail address").fill("somebody")
    page.get_by_label("Password").fill("x" * 20)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("alert")).to_have_text("That is not an e-mail address.")
    expect(page.get_by_label("E-mail address")).to_be_focused()
