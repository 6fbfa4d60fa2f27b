"""The page as people use it: tasks, search, filters, two windows, being offline."""

from __future__ import annotations

import re
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect

from tests.web.conftest import PASSWORD, Site, due, ready


def rows(page: Page) -> Locator:
    """The tasks that are shown."""
    return page.locator("#list li[data-id]")


def row(page: Page, title: str) -> Locator:
    """The task with a title."""
    return rows(page).filter(has=page.get_by_role("button", name=title, exact=True))


def save(page: Page) -> None:
    """Save the dialog and wait until it is closed."""
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#editor")).to_be_hidden()


def test_register_log_out_and_in(site: Site) -> None:
    """An account is made and used; a wrong password is said in words beside the form."""
    page = site.joined()
    email = page.locator("#account-email").text_content()
    page.get_by_label("Account", exact=True).click()
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("E-mail address").fill(str(email))
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("Address and password don't belong together.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    ready(page)
    page.reload()
    ready(page)


def test_a_task_with_everything_is_created_and_edited(site: Site) -> None:
    """Each field of the dialog reaches the service, and an edit changes what was changed only."""
    page = site.joined()
    page.get_by_role("button", name="Details…").click()
    dialog = page.get_by_role("dialog", name="New task")
    dialog.get_by_label("Title").fill("Water the plants")
    dialog.get_by_label("Description").fill("All of them,\nthe cactus too")
    dialog.get_by_label("Due").fill("2031-03-04T09:30")
    dialog.get_by_label("Priority").select_option("high")
    dialog.get_by_label("Tags", exact=True).press_sequentially("home,")
    dialog.get_by_label("Tags", exact=True).fill("green")
    dialog.get_by_label("Reminder by mail").select_option("PT1H")
    dialog.get_by_label("Repeats").select_option("weekly")
    dialog.get_by_label("Every", exact=True).fill("2")
    for day in ("Tuesday", "Friday"):
        dialog.get_by_label(day).check(force=True)
    dialog.get_by_label("After a number of times").check()
    dialog.get_by_label("Number of times", exact=True).fill("5")
    dialog.get_by_label("Next one counts from").select_option("completion")
    save(page)
    expect(row(page, "Water the plants")).to_be_visible()
    (task,) = site.call(page, "GET", "/api/tasks")["items"]
    assert (task["title"], task["description"]) == ("Water the plants", "All of them,\nthe cactus too")
    assert (task["priority"], task["tags"], task["reminder_offset"]) == ("high", ["home", "green"], "PT1H")
    assert task["recurrence_rule"] == {
        "frequency": "weekly",
        "interval": 2,
        "days_of_week": ["tue", "fri"],
        "count": 5,
        "basis": "completion",
    }
    page.get_by_role("button", name="Edit: Water the plants").click()
    page.get_by_role("dialog", name="Edit task").get_by_label("Title").fill("Water them")
    save(page)
    expect(row(page, "Water them")).to_be_visible()
    edited = site.call(page, "GET", f"/api/tasks/{task['id']}")
    same = set(task) - {"title", "version", "updated_at"}
    assert {name: edited[name] for name in same} == {name: task[name] for name in same}


def test_completing_brings_the_next_occurrence(site: Site) -> None:
    """A completed recurring task leaves, its next occurrence comes by itself; reopening brings the first one back."""
    page = site.joined()
    first = site.task(page, title="Stretch", due_date=due(days=1), recurrence_rule={"frequency": "daily"})
    expect(rows(page)).to_have_count(1, timeout=15_000)
    page.get_by_role("checkbox", name="Complete: Stretch").click()
    successor = page.locator(f"#list li[data-id]:not([data-id='{first['id']}'])")
    expect(successor).to_be_visible(timeout=20_000)
    expect(rows(page)).to_have_count(1)
    page.locator("#status label", has_text="Done").click()
    page.get_by_role("checkbox", name="Reopen: Stretch").click()
    expect(rows(page)).to_have_count(0)
    page.locator("#status label", has_text="Open").click()
    expect(rows(page)).to_have_count(2)


def test_deleting_asks_first(site: Site) -> None:
    """Escape keeps the task, the answer deletes it."""
    page = site.joined()
    page.get_by_label("Title of a new task").fill("Old paper")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Delete: Old paper").click()
    expect(page.get_by_role("dialog", name="Delete this task?")).to_contain_text("“Old paper” will be gone.")
    page.keyboard.press("Escape")
    expect(row(page, "Old paper")).to_be_visible()
    page.get_by_role("button", name="Delete: Old paper").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(rows(page)).to_have_count(0)


def test_search_filter_sort_and_pages(site: Site) -> None:
    """What is shown is what fits, in the wanted order; a reload shows the same."""
    page = site.joined()
    for number in range(30):
        site.task(page, title=f"Paper {number:02}", tags=["bulk"])
    site.task(page, title="100% Wool", priority="urgent", tags=["shop", "home"], due_date=due(hours=3))
    site.task(page, title="Steel", description="with WOOL inside", priority="low", tags=["shop"])
    page.reload()
    ready(page)
    expect(page.locator("#page-words")).to_have_text("1 to 25 of 32")
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.locator("#page-words")).to_have_text("26 to 32 of 32")
    page.get_by_label("Search titles and descriptions").fill("wool")
    expect(rows(page)).to_have_count(2)
    expect(page.locator("#summary")).to_have_text("2 open tasks found")
    page.get_by_label("Search titles and descriptions").fill("100%")
    expect(rows(page)).to_have_count(1)
    page.get_by_label("Search titles and descriptions").fill("")
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_label("Tags, all of them").fill("shop, home")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_label("Urgent").check()
    page.get_by_label("Low").check()
    page.get_by_label("Sort").select_option("priority desc")
    expect(rows(page).locator(".title")).to_have_text(["100% Wool", "Steel"])
    page.reload()
    expect(rows(page).locator(".title")).to_have_text(["100% Wool", "Steel"])
    page.get_by_role("button", name="Next 7 days").click()
    expect(rows(page).locator(".title")).to_have_text(["100% Wool"])


def test_markup_stays_text(site: Site) -> None:
    """Whatever a title, description or tag holds is shown as it was written and never run."""
    attacks = [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "\"'><svg onload=alert(1)>",
        "javascript:alert(1)",
    ]
    page = site.joined()
    page.on("dialog", lambda dialog: site.complaints.append(f"dialog: {dialog.message}"))
    for attack in attacks:
        site.task(page, title=attack, description=attack, tags=[attack[:50]])
    page.reload()
    ready(page)
    expect(rows(page)).to_have_count(len(attacks))
    assert set(rows(page).locator(".title").all_text_contents()) == set(attacks)
    assert set(rows(page).locator(".description").all_text_contents()) == set(attacks)
    for attack in attacks:
        page.get_by_role("button", name=f"Delete: {attack}").click()
        expect(page.locator("#confirm-words")).to_contain_text(attack)
        page.keyboard.press("Escape")
        page.get_by_role("button", name=f"Edit: {attack}").click()
        assert page.locator("#f-title").input_value() == attack
        page.keyboard.press("Escape")
    assert page.locator("#list img, #list script, #list svg[onload], #editor img, #confirm img").count() == 0


def test_two_windows_stay_in_step(site: Site) -> None:
    """What one window does shows in the other by itself."""
    one = site.joined()
    two = site.again(one)
    one.get_by_label("Title of a new task").fill("Shared")
    one.keyboard.press("Enter")
    expect(row(two, "Shared")).to_be_visible(timeout=10_000)
    two.get_by_role("checkbox", name="Complete: Shared").click()
    expect(rows(one)).to_have_count(0, timeout=10_000)


def test_the_state_says_how_news_come(site: Site) -> None:
    """Live where sync and its client are there, and at once; polling where either is not, and news still come."""
    config = httpx.get(f"{site.url}/api/config", trust_env=False).json()
    page = site.joined()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live" if config["sync_url"] else "polling")
    site.task(page, title="News")
    # Asking alone would take up to four seconds.
    expect(row(page, "News")).to_be_visible(timeout=2_000 if config["sync_url"] else 10_000)
    cut = site.again(
        page, before=lambda context: context.route_web_socket(re.compile("socket.io"), lambda ws: ws.close())
    )
    bare = site.again(page, before=lambda context: context.route("**/vendor/*", lambda route: route.abort()))
    site.task(page, title="More news")
    for window in (cut, bare):
        expect(window.locator("#connection")).to_have_text("Polling")
        expect(row(window, "More news")).to_be_visible(timeout=10_000)


def test_offline_is_said_and_caught_up_with(site: Site) -> None:
    """Without a network the page says so and keeps what it shows; back again it shows what happened meanwhile."""
    page = site.joined()
    site.task(page, title="Before")
    expect(row(page, "Before")).to_be_visible(timeout=15_000)
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("Offline")
    expect(page.locator("#offline")).to_contain_text("You are offline.")
    site.task(page, title="Meanwhile")
    page.get_by_label("Title of a new task").fill("Kept")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Title of a new task")).to_have_value("Kept")
    expect(rows(page)).to_have_count(1)
    page.context.set_offline(False)
    expect(row(page, "Meanwhile")).to_be_visible(timeout=15_000)
    expect(page.locator("#offline")).to_be_hidden()
    page.get_by_label("Title of a new task").press("Enter")
    expect(row(page, "Kept")).to_be_visible()


def test_the_page_outlives_its_services(site: Site) -> None:
    """While api, or sync, starts anew the page stays, and afterwards it is as current and as live as before."""
    page = site.joined()
    state = str(page.locator("#connection").get_attribute("data-state"))
    config = httpx.get(f"{site.url}/api/config", trust_env=False).json()
    state = "live" if config["sync_url"] else state
    for service in ("api", "sync") if config["sync_url"] else ("api",):
        site.platform.must("restart", service)
        site.task(page, title=f"After {service}")
        expect(row(page, f"After {service}")).to_be_visible(timeout=20_000)
        expect(page.locator("#connection")).to_have_attribute("data-state", state, timeout=30_000)
        expect(page.locator("#offline")).to_be_hidden()


def test_what_is_told_again_stands_there_once(site: Site) -> None:
    """The newer one takes the older one's place."""
    page = site.joined()
    site.task(page, title="Milk")
    tick = page.get_by_role("checkbox", name="Complete: Milk")
    tick.wait_for()
    page.context.set_offline(True)
    expect(page.locator("#offline")).to_be_visible()
    for _ in range(3):
        tick.click()
        expect(tick).not_to_be_checked()
    expect(page.locator("#toasts > *")).to_have_count(1)
    expect(page.locator("#toasts")).to_have_text("You are offline; try again when you are back.")


def test_an_edit_that_met_another_is_shown_and_decided(site: Site) -> None:
    """Both sides are shown; mine over theirs keeps what only they touched, theirs takes all of theirs."""
    page = site.joined()
    task = site.task(page, title="Plan", description="first")
    path = f"/api/tasks/{task['id']}"
    page.get_by_role("button", name="Edit: Plan").click(timeout=15_000)
    site.call(page, "PATCH", path, {"description": "theirs", "priority": "urgent"})
    page.get_by_label("Title", exact=True).fill("Plan B")
    page.get_by_role("button", name="Save", exact=True).click()
    conflict = page.get_by_role("region", name="Changed elsewhere in the meantime")
    expect(conflict).to_contain_text("theirs")
    page.get_by_role("button", name="Save mine over it").click()
    expect(page.locator("#editor")).to_be_hidden()
    now: dict[str, Any] = site.call(page, "GET", path)
    assert (now["title"], now["description"], now["priority"]) == ("Plan B", "theirs", "urgent")
    page.get_by_role("button", name="Edit: Plan B").click()
    page.get_by_label("Title", exact=True).fill("Plan C")
    site.call(page, "PATCH", path, {"title": "Plan Z"})
    expect(conflict).to_be_visible(timeout=15_000)
    page.get_by_role("button", name="Take theirs").click()
    page.get_by_role("dialog", name="Discard your changes?").get_by_role("button", name="Take theirs").click()
    expect(page.get_by_label("Title", exact=True)).to_have_value("Plan Z")


def test_a_write_is_sent_again_with_its_key(site: Site) -> None:
    """A 503 and a lost answer are tried again with the same Idempotency-Key, and the task is there once."""
    page = site.joined()
    keys: list[str] = []

    def spoil(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fulfill(status=503, headers={"retry-after": "1"}, json={"detail": "a dependency is away"})
        elif len(keys) == 2:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route(re.compile("/api/tasks$"), spoil)
    page.get_by_label("Title of a new task").fill("Once")
    page.keyboard.press("Enter")
    # Sync may show the task while the page still waits for the answer.
    expect(page.locator("#toasts")).to_contain_text("Added: Once", timeout=20_000)
    expect(row(page, "Once")).to_be_visible()
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert site.call(page, "GET", "/api/tasks")["total"] == 1


def test_a_field_that_does_not_fit_is_named(site: Site) -> None:
    """The service's words stand beside the field, which has the focus and says that it is not valid."""
    page = site.joined()
    page.get_by_role("button", name="Details…").click()
    page.get_by_label("Title", exact=True).fill("Yesterday")
    page.get_by_label("Due", exact=True).fill("2020-01-01T10:00")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#error-due_date")).to_have_text("Must be in the future")
    expect(page.locator("#f-due")).to_be_focused()
    expect(page.locator("#f-due")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Due", exact=True).fill("2031-01-01T10:00")
    save(page)
    expect(row(page, "Yesterday")).to_be_visible()


def test_a_session_that_ended_leads_to_the_form(site: Site) -> None:
    """A refused token ends in the login form with its reason; logging out in one tab logs out the others."""
    page = site.joined()
    page.evaluate(
        "const s = JSON.parse(localStorage.getItem('todo.session'));"
        "s.token = s.token.slice(0, -4) + 'AAAA'; localStorage.setItem('todo.session', JSON.stringify(s))"
    )
    page.reload()
    expect(page.locator("#auth-why")).to_have_text("Your session has ended. Log in again.")
    one = site.joined()
    two = one.context.new_page()
    two.goto(site.url)
    ready(two)
    one.get_by_label("Account", exact=True).click()
    one.get_by_role("button", name="Log out").click()
    expect(two.get_by_role("button", name="Log in")).to_be_visible()
