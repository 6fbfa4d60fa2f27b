"""What a careful user would be harmed by: words that get lost, half-filled fields taken for empty ones, a stale list."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import PASSWORD, Site, ready

_PAGE = re.compile(r"/api/tasks\?")
_END = """
const held = JSON.parse(localStorage.getItem("todo.session"));
held.token = held.token.slice(0, -4) + "AAAA";
const told = { key: "todo.session" };
localStorage.setItem("todo.session", JSON.stringify(held));
dispatchEvent(new StorageEvent("storage", told));
"""


def test_a_due_date_cleared_here_stays_cleared_over_theirs(site: Site) -> None:
    """Saving mine over theirs holds for a field that was emptied, too."""
    page = site.joined()
    task = site.task(page, title="Plan", due_date="2031-01-01T10:00:00Z", reminder_offset="PT30M")
    page.get_by_role("button", name="Edit: Plan").click(timeout=15_000)
    page.locator("#f-due").fill("")
    site.call(page, "PATCH", f"/api/tasks/{task['id']}", {"description": "theirs"})
    page.get_by_role("button", name="Save mine over it").click(timeout=15_000)
    expect(page.locator("#editor")).to_be_hidden()
    now = site.call(page, "GET", f"/api/tasks/{task['id']}")
    assert (now["due_date"], now["reminder_offset"], now["description"]) == (None, None, "theirs")


def test_news_of_another_edit_leave_the_focus_where_somebody_types(site: Site) -> None:
    """The conflict is announced; what is typed meanwhile arrives in its field."""
    page = site.joined()
    task = site.task(page, title="Plan")
    page.get_by_role("button", name="Edit: Plan").click(timeout=15_000)
    page.locator("#f-description").press_sequentially("hello ")
    site.call(page, "PATCH", f"/api/tasks/{task['id']}", {"priority": "high"})
    expect(page.get_by_role("alert").filter(has_text="Changed elsewhere")).to_be_visible(timeout=15_000)
    page.keyboard.type("world")
    expect(page.locator("#f-description")).to_have_value("hello world")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#conflict")).to_be_focused()


def _half_a_date(page: Page) -> None:
    page.locator("#f-due").fill("")
    page.locator("#f-due").focus()
    page.keyboard.type("12312031")


def _no_last_day(page: Page) -> None:
    page.get_by_label("On a day").check()


def _no_count(page: Page) -> None:
    page.get_by_label("After a number of times").check()
    page.locator("#f-count").fill("")


def _no_interval(page: Page) -> None:
    page.locator("#f-interval").fill("0")


@pytest.mark.parametrize(
    ("half", "field"),
    [
        (_half_a_date, "due_date"),
        (_no_last_day, "recurrence_rule"),
        (_no_count, "recurrence_rule"),
        (_no_interval, "recurrence_rule"),
    ],
)
def test_what_is_half_filled_is_asked_for(site: Site, half: Any, field: str) -> None:
    """A date without its time, an end without its day or number are named, not taken for none."""
    page = site.joined()
    page.get_by_role("button", name="Details…").click()
    page.locator("#f-title").fill("Half")
    page.locator("#f-due").fill("2031-12-31T10:00")
    page.locator("#f-frequency").select_option("daily")
    half(page)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(f"#error-{field}")).to_be_visible()
    assert site.call(page, "GET", "/api/tasks")["total"] == 0


def test_no_tag_is_dropped_in_silence(site: Site) -> None:
    """Beyond twenty, tags stay in their field and the limit is told; a pasted list is taken whole."""
    page = site.joined()
    page.get_by_role("button", name="Details…").click()
    page.locator("#f-title").fill("Tagged")
    page.locator("#f-tag").fill(", ".join(f"number {at}" for at in range(21)))
    expect(page.locator("#f-tags li")).to_have_count(20)
    expect(page.locator("#f-tag")).to_have_value("number 20")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#error-tags")).to_have_text("A task has at most 20 tags.")
    page.get_by_role("button", name="Remove tag number 0").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#editor")).to_be_hidden()
    assert site.call(page, "GET", "/api/tasks")["items"][0]["tags"] == [f"number {at}" for at in range(1, 21)]


def test_a_tag_with_a_comma_finds_its_task(site: Site) -> None:
    """Such a tag can come from the API; it is one tag in the filter and after a reload."""
    page = site.joined()
    site.task(page, title="Comma", tags=["salt, pepper"])
    page.get_by_role("button", name="Only tasks with tag salt, pepper").click(timeout=15_000)
    for _ in range(2):
        expect(page.locator("#summary")).to_have_text(
            "1 task found" if page.locator("#status input[value='']").is_checked() else "1 open task found"
        )
        page.reload()
        ready(page)


def test_a_session_that_ends_keeps_what_was_typed(site: Site) -> None:
    """The task dialog is there again after the next login of the same user, in every tab, and saves."""
    page = site.joined()
    email = page.locator("#account-email").inner_text() or page.locator("#account-email").text_content()
    other = page.context.new_page()
    other.goto(site.url)
    ready(other)
    for tab in (page, other):
        tab.get_by_role("button", name="Details…").click()
        tab.locator("#f-title").fill("An hour of words")
    page.evaluate(f"() => {{ {_END} }}")
    expect(other.locator("#auth")).to_be_visible(timeout=15_000)
    page.get_by_label("E-mail address").fill(str(email))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#editor")).to_be_visible()
    expect(page.locator("#editor-error")).to_have_text("Not saved yet: your session had ended.")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#editor")).to_be_hidden()
    assert site.call(page, "GET", "/api/tasks")["items"][0]["title"] == "An hour of words"
    expect(other.locator("#f-title")).to_have_value("An hour of words")
    expect(other.locator("#editor")).to_be_visible()


def test_the_next_user_finds_nothing_of_the_last_one(site: Site) -> None:
    """Logging out empties search, filters, the address and the new task's field."""
    page = site.joined()
    page.get_by_label("Search titles and descriptions").fill("private matter")
    page.get_by_label("Title of a new task").fill("not for others")
    expect(page).to_have_url(re.compile("private"))
    page.get_by_label("Account", exact=True).click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    expect(page).to_have_url(re.compile(r"^[^#]*$"))
    values = page.evaluate(
        "[...document.querySelectorAll('#app input:not([type=radio], [type=checkbox])')].map((f) => f.value)"
    )
    assert "".join(values) == ""


def test_a_list_that_could_not_be_read_is_read_again(site: Site) -> None:
    """After a failure the list becomes what the chosen filter says without another change or a minute's wait."""
    page = site.joined()
    site.task(page, title="Open one")
    page.locator("#list li").wait_for()
    page.route(_PAGE, lambda route: route.fulfill(status=503, json={"detail": "a dependency is away; try again"}))
    page.get_by_role("radio", name="Done").check(force=True)
    expect(page.locator("#toasts")).to_have_text("A dependency is away; try again.")
    page.unroute(_PAGE)
    expect(page.locator("#summary")).to_have_text("0 done tasks", timeout=10_000)


def test_a_page_beyond_the_last_leads_to_the_last(site: Site) -> None:
    """In one step, however far beyond it is."""
    page = site.joined()
    site.task(page, title="Only one")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if _PAGE.search(request.url) else None)
    page.goto(f"{site.url}/#offset=100000")
    page.reload()
    page.locator("#list li").wait_for()
    assert len(asked) <= 3


def test_a_title_added_again_after_a_lost_answer_is_one_task(site: Site) -> None:
    """The network went after the service had the task and before the answer came; adding it again makes no second."""
    page = site.joined()
    page.evaluate("Object.defineProperty(navigator, 'onLine', { get: () => !window.away }); window.away = true")

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route(re.compile("/api/tasks$"), lose, times=1)
    page.get_by_label("Title of a new task").fill("Once")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("You are offline")
    page.evaluate("window.away = false")
    page.get_by_label("Title of a new task").press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Added: Once")
    assert site.call(page, "GET", "/api/tasks")["total"] == 1


def test_text_runs_in_its_own_direction(site: Site) -> None:
    """A Hebrew title runs from the right, so that its full stop is at its end."""
    page = site.joined()
    site.task(page, title="שלום עולם.")
    title = page.locator("#list .title")
    assert title.evaluate("(node) => getComputedStyle(node).direction") == "rtl"


def test_another_clock_is_named(site: Site) -> None:
    """Days and times of a series are those of its zone; where that is not the browser's, the dialog says so."""
    page = site.joined(timezone_id="America/New_York")
    rule = {"frequency": "daily"}
    site.task(page, title="There", due_date="2031-01-01T10:00:00Z", zone="Asia/Tokyo", recurrence_rule=rule)
    page.get_by_role("button", name="Edit: There").click(timeout=15_000)
    expect(page.locator("#other-zone")).to_have_text("Days and times are counted in Asia/Tokyo.")


def test_the_link_in_a_mail_opens_its_task(site: Site) -> None:
    """After the log-in, too; afterwards the address is the page's own."""
    page = site.joined()
    task = site.task(page, title="Reminded of")
    page.goto(f"{site.url}/?task={task['id']}")
    expect(page.locator("#f-title")).to_have_value("Reminded of")
    expect(page).to_have_url(f"{site.url}/")
    page.goto(f"{site.url}/?task={task['id'] + 1_000_000}")
    expect(page.locator("#toasts")).to_have_text("This task is not among yours any more.")


def test_large_letters_fit_a_phone(site: Site) -> None:
    """With letters twice as large nothing leaves the screen and no button's word is broken."""
    page = site.joined(width=375, height=700)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    for word in ("Add", "Filter"):
        button = page.get_by_role("button", name=word, exact=True)
        lines = button.evaluate(
            "(node) => { const range = document.createRange(); range.selectNodeContents(node.firstChild);"
            " return range.getClientRects().length; }"
        )
        assert lines == 1, word


@pytest.mark.parametrize("button", ["Edit: B", "Delete: B"])
def test_a_dialog_gives_the_focus_back_to_a_button_drawn_anew(site: Site, button: str) -> None:
    """The list changed behind the dialog; whoever uses the keyboard goes on where they were."""
    page = site.joined()
    site.task(page, title="A")
    site.task(page, title="B")
    page.get_by_role("button", name=button).focus(timeout=15_000)
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open]")).to_be_visible()
    site.task(page, title="C")
    expect(page.locator("#list li")).to_have_count(3, timeout=15_000)
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name=button)).to_be_focused()


def test_the_last_page_leaves_the_focus_on_a_button(site: Site) -> None:
    """The button that led there can't lead further; its neighbour has the focus, and back again."""
    page = site.joined()
    for at in range(26):
        site.task(page, title=f"Task {at}")
    expect(page.locator("#page-words")).to_have_text("1 to 25 of 26", timeout=15_000)
    page.locator("#next").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#page-words")).to_have_text("26 to 26 of 26")
    expect(page.locator("#previous")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#next")).to_be_focused()
