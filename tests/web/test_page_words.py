"""No word that somebody typed is lost by a key, a press beside the dialog, or somebody else's deletion."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import Site


def _escape(page: Page) -> None:
    page.keyboard.press("Escape")


def _beside(page: Page) -> None:
    page.mouse.click(5, 5)


def _cancel(page: Page) -> None:
    page.get_by_role("button", name="Cancel").click()


def _cross(page: Page) -> None:
    page.get_by_role("button", name="Close").click()


def _back(page: Page) -> None:
    # What a phone's back gesture does, and it can't be cancelled for ever.
    page.evaluate("document.getElementById('editor').close()")


_WAYS_OUT = [_escape, _beside, _cancel, _cross, _back]


def _details(page: Page, title: str = "") -> None:
    page.get_by_role("button", name="Details…").click()
    if title:
        page.locator("#f-title").fill(title)


@pytest.mark.parametrize("leave", _WAYS_OUT)
def test_what_was_typed_is_asked_for_before_it_goes(site: Site, leave: Callable[[Page], None]) -> None:
    """Keeping is the first answer and Escape means it; the words go only when somebody says so."""
    page = site.joined()
    _details(page, "An hour of words")
    ask = page.get_by_role("dialog", name="Discard this new task?")
    leave(page)
    expect(ask).to_be_visible()
    expect(ask.get_by_role("button", name="Keep editing")).to_be_focused()
    page.keyboard.press("Escape")
    expect(ask).to_be_hidden()
    leave(page)
    ask.get_by_role("button", name="Keep editing").click()
    expect(page.locator("#editor")).to_be_visible()
    expect(page.locator("#f-title")).to_have_value("An hour of words")
    leave(page)
    ask.get_by_role("button", name="Discard").click()
    expect(page.locator("#editor")).to_be_hidden()
    _details(page)
    expect(page.locator("#f-title")).to_have_value("")


def _met_another(site: Site, page: Page, typed: str) -> dict[str, Any]:
    """A task in the dialog that was changed elsewhere meanwhile, `typed` in its title."""
    task = site.task(page, title="Plan")
    page.get_by_role("button", name="Edit: Plan").click(timeout=15_000)
    page.locator("#f-title").fill(typed)
    site.call(page, "PATCH", f"/api/tasks/{task['id']}", {"title": "Plan of others"})
    expect(page.locator("#conflict")).to_be_visible(timeout=15_000)
    return task


def test_taking_theirs_asks_for_what_was_typed(site: Site) -> None:
    """Keeping is the first answer; what is taken then is theirs as it is when the answer is given."""
    page = site.joined()
    task = _met_another(site, page, "An hour of words")
    ask = page.get_by_role("dialog", name="Discard your changes?")
    theirs = page.get_by_role("button", name="Take theirs", exact=True)
    theirs.click()
    expect(ask.get_by_role("button", name="Keep editing")).to_be_focused()
    page.keyboard.press("Escape")
    expect(ask).to_be_hidden()
    expect(page.locator("#f-title")).to_have_value("An hour of words")
    expect(theirs).to_be_focused()
    theirs.click()
    site.call(page, "PATCH", f"/api/tasks/{task['id']}", {"title": "Plan, once more"})
    expect(page.locator("#conflict-fields")).to_contain_text("once more", timeout=15_000)
    ask.get_by_role("button", name="Take theirs").click()
    expect(page.locator("#f-title")).to_have_value("Plan, once more")
    expect(page.locator("#conflict")).to_be_hidden()


def test_taking_theirs_does_not_ask_for_nothing(site: Site) -> None:
    """Nothing was typed: there is nothing to lose."""
    page = site.joined()
    _met_another(site, page, "Plan")
    page.get_by_role("button", name="Take theirs").click()
    expect(page.locator("#f-title")).to_have_value("Plan of others")
    expect(page.locator("#confirm")).to_be_hidden()


def test_theirs_that_was_deleted_during_the_question_is_not_taken(site: Site) -> None:
    """What was typed stays and can be saved as a new task."""
    page = site.joined()
    task = _met_another(site, page, "An hour of words")
    page.get_by_role("button", name="Take theirs").click()
    site.call(page, "DELETE", f"/api/tasks/{task['id']}")
    expect(page.locator("#editor-error")).to_contain_text("deleted elsewhere", timeout=15_000)
    page.get_by_role("dialog", name="Discard your changes?").get_by_role("button", name="Take theirs").click()
    expect(page.locator("#f-title")).to_have_value("An hour of words")
    expect(page.get_by_role("button", name="Save as a new task")).to_be_visible()


@pytest.mark.parametrize("leave", _WAYS_OUT)
def test_a_dialog_without_new_words_closes_at_once(site: Site, leave: Callable[[Page], None]) -> None:
    """As it does when what was typed was taken back."""
    page = site.joined()
    task = site.task(page, title="Plan", tags=["home"], due_date="2031-01-01T10:00:00Z")
    page.get_by_role("button", name="Edit: Plan").click(timeout=15_000)
    page.locator("#f-title").fill("Plan B")
    page.locator("#f-title").fill(task["title"])
    leave(page)
    expect(page.locator("#editor")).to_be_hidden()
    expect(page.locator("#confirm")).to_be_hidden()


def test_the_escape_key_pressed_again_and_again_loses_nothing(site: Site) -> None:
    """Chromium closes a dialog at the second request in a row whatever the page says to it."""
    page = site.joined()
    _details(page, "Held")
    for _ in range(6):
        page.keyboard.press("Escape")
    expect(page.locator("#confirm")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#confirm")).to_be_visible()
    page.get_by_role("button", name="Keep editing").click()
    expect(page.locator("#f-title")).to_have_value("Held")
    expect(page.locator("#editor")).to_be_visible()


def test_text_selected_out_over_the_edge_is_no_press_beside(site: Site) -> None:
    """The press began inside."""
    page = site.joined()
    _details(page, "Selected")
    box = page.locator("#f-title").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 60, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(5, 5)
    page.mouse.up()
    expect(page.locator("#confirm")).to_be_hidden()
    expect(page.locator("#editor")).to_be_visible()


def test_a_tab_that_closes_asks_for_what_was_typed(site: Site) -> None:
    """The browser asks in its own words; with nothing typed it does not."""
    page = site.joined()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    _details(page, "Half a task")
    with page.expect_event("dialog"):
        page.close(run_before_unload=True)
    assert asked == ["beforeunload"]
    expect(page.locator("#f-title")).to_have_value("Half a task")


def test_a_task_deleted_elsewhere_can_be_saved_as_a_new_one(site: Site) -> None:
    """Everything that the dialog shows is in it: the new words and the due date that nobody touched."""
    page = site.joined(timezone_id="America/New_York")
    due = "2031-01-01T10:00:30Z"
    rule = {"frequency": "daily", "interval": 2, "basis": "schedule"}
    task = site.task(
        page,
        title="Plan",
        tags=["home"],
        due_date=due,
        zone="Asia/Tokyo",
        reminder_offset="PT30M",
        recurrence_rule=rule,
    )
    page.get_by_label("Title of a new task").fill("Another one")
    page.get_by_role("button", name="Edit: Plan").click(timeout=15_000)
    page.locator("#f-description").fill("An hour of words")
    site.call(page, "DELETE", f"/api/tasks/{task['id']}")
    expect(page.locator("#editor-error")).to_contain_text("This task was deleted elsewhere.", timeout=15_000)
    page.get_by_role("button", name="Save as a new task").click()
    expect(page.locator("#editor")).to_be_hidden()
    (now,) = site.call(page, "GET", "/api/tasks")["items"]
    assert now["id"] != task["id"]
    same = ("title", "tags", "due_date", "zone", "reminder_offset", "recurrence_rule", "priority")
    assert {name: now[name] for name in same} == {name: task[name] for name in same}
    assert now["description"] == "An hour of words"
    expect(page.get_by_label("Title of a new task")).to_have_value("Another one")
    page.get_by_role("button", name="Edit: Plan").click()
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_visible()


def test_a_save_that_finds_the_task_deleted_offers_the_same(site: Site) -> None:
    """Also where the news of it have not come."""
    page = site.joined()
    task = site.task(page, title="Plan")
    page.get_by_role("button", name="Edit: Plan").click(timeout=15_000)
    page.route(re.compile(r"/api/changes"), lambda route: route.abort())
    page.route_web_socket(re.compile("socket.io"), lambda ws: ws.close())
    page.locator("#f-title").fill("Plan B")
    site.call(page, "DELETE", f"/api/tasks/{task['id']}")
    page.locator("#editor-save").click()
    page.get_by_role("button", name="Save as a new task").click()
    expect(page.locator("#editor")).to_be_hidden()
    assert [one["title"] for one in site.call(page, "GET", "/api/tasks")["items"]] == ["Plan B"]


def test_the_answer_to_an_old_save_leaves_the_next_dialog_alone(site: Site) -> None:
    """A dialog that was left while it saved is not the one that is open when the answer comes."""
    page = site.joined()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile("/api/tasks$"), hold, times=1)
    _details(page, "Slow one")
    page.get_by_role("button", name="Save", exact=True).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Discard").click()
    _details(page, "Next one")
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator("#toasts")).to_contain_text("Added: Slow one")
    expect(page.locator("#f-title")).to_have_value("Next one")
    expect(page.locator("#editor")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#editor")).to_be_hidden()
    titles = {one["title"] for one in site.call(page, "GET", "/api/tasks")["items"]}
    assert titles == {"Slow one", "Next one"}


def test_words_of_which_nothing_can_be_seen_are_none(site: Site) -> None:
    """A title, a tag and a wanted tag: as if the field were empty."""
    page = site.joined()
    page.get_by_label("Title of a new task").fill("\u200b\u2800")
    page.keyboard.press("Enter")
    _details(page, "\u2060")
    page.locator("#f-tag").fill("\u200b, home")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#error-title")).to_have_text("A task needs a title.")
    page.locator("#f-title").fill("Seen")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#editor")).to_be_hidden()
    (task,) = site.call(page, "GET", "/api/tasks")["items"]
    assert (task["title"], task["tags"]) == ("Seen", ["home"])


def test_a_title_that_failed_waits_beside_the_next_one(site: Site) -> None:
    """Whoever typed on while it was on its way has both, and adding it again makes one task."""
    page = site.joined()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile("/api/tasks$"), hold, times=1)
    quick = page.get_by_label("Title of a new task")
    quick.fill("First")
    quick.press("Enter")
    quick.fill("Second")
    page.wait_for_function("document.getElementById('quick-title').value === 'Second'")
    held[0].fulfill(status=500, json={"detail": "something went wrong here"})
    note = page.locator(".toast", has_text="Not added: First")
    expect(note).to_be_visible()
    expect(quick).to_have_value("Second")
    note.get_by_role("button", name="Add again").click()
    expect(page.locator("#toasts")).to_contain_text("Added: First")
    expect(note).to_be_hidden()
    expect(quick).to_have_value("Second")
    assert [task["title"] for task in site.call(page, "GET", "/api/tasks")["items"]] == ["First"]


def test_an_edit_leaves_the_line_ends_of_a_description(site: Site) -> None:
    """A field of the page has only one kind of them; what nobody touched is not sent, and saving nothing changes nothing."""
    page = site.joined()
    task = site.task(page, title="From Windows", description="one\r\ntwo")
    page.get_by_role("button", name="Edit: From Windows").click(timeout=15_000)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#editor")).to_be_hidden()
    page.get_by_role("button", name="Edit: From Windows").click()
    page.locator("#f-title").fill("Renamed")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#editor")).to_be_hidden()
    now = site.call(page, "GET", f"/api/tasks/{task['id']}")
    assert (now["description"], now["version"]) == ("one\r\ntwo", task["version"] + 1)
