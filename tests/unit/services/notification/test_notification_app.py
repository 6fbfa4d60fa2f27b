"""A reminder that is due becomes exactly one mail, whatever the mail server, the store and the neighbours do."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.services.notification.notifier import GUARD, TOPIC, Notifier, running
from tests.unit.services.notification.smtp_server import DROP, STALL, TAKE_AND_DROP
from tests.unit.services.records import MOMENT, bad_records, record
from todoctl.core.events import ReminderDetail, ReminderEvent

REMINDER = record(TOPIC)
MESSAGE_ID = "<reminder-9-1896080400000000@todo.example>"


def reminder(number: int) -> bytes:
    """A reminder of its own."""
    return record(TOPIC, payload=ReminderDetail(reminder_id=number, trigger_at=MOMENT, due_date=MOMENT, title="Milk"))


def set_intent(notifier: Notifier, **changes: Any) -> None:
    """Let the one stored intent be another process's, or in another state."""
    [key] = notifier.sidecar.state
    intent = json.loads(notifier.sidecar.state[key]) | changes
    notifier.sidecar.state[key] = json.dumps(intent).encode()


async def test_a_reminder_becomes_one_mail_however_often_it_is_delivered(notifier: Notifier) -> None:
    """Redelivery and replay give no second mail; the result has one id, the mail the reminder's own."""
    for offset in (1, 1, 2, 900):
        assert await notifier.deliver(REMINDER, offset=offset) == "SUCCESS"
    [mail] = notifier.mails
    assert (mail["To"], mail["Message-ID"]) == ("ada@example.com", MESSAGE_ID)
    [result] = notifier.results
    event = ReminderEvent.model_validate(result)
    assert (event.event_type, event.payload.message_id, event.payload.reason) == ("reminder.sent", MESSAGE_ID, None)
    assert (event.user_id, event.task_id, event.correlation_id) == (7, 41, "request-1")
    assert notifier.letters == []
    assert [intent["state"] for intent in notifier.intents] == ["sent"]


@pytest.mark.parametrize("kind", ["reminder.sent", "reminder.failed", "reminder.unknown"])
async def test_its_own_results_are_none_of_its_business(notifier: Notifier, kind: str) -> None:
    """Answered SUCCESS without a call."""
    assert await notifier.deliver(record(TOPIC, event_type=kind)) == "SUCCESS"
    assert notifier.sidecar.calls == []


async def test_a_reminder_that_no_longer_stands_is_not_sent(notifier: Notifier) -> None:
    """Asked just before DATA, with the reminder's own moment; nothing is told, and a repeat asks no more."""
    notifier.neighbours.current = False
    for _ in range(2):
        assert await notifier.deliver(REMINDER) == "SUCCESS"
    assert notifier.neighbours.asked == ["2030-01-31T09:00:00+00:00"]
    assert "DATA" not in notifier.smtp.seen
    assert notifier.smtp.seen["RCPT"] == 1
    assert (notifier.mails, notifier.told, notifier.letters) == ([], [], [])


@pytest.mark.parametrize("moment", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("reply", ["421 closing", "450 mailbox busy", "451 try later"])
async def test_a_temporary_refusal_is_tried_again(notifier: Notifier, moment: str, reply: str) -> None:
    """For as long as it lasts; then the mail goes out once."""
    # After a refused EHLO a client may still say HELO.
    notifier.smtp.script |= {moment: reply} | ({"HELO": reply} if moment == "EHLO" else {})
    for _ in range(3):
        assert await notifier.deliver(REMINDER) == "RETRY"
        notifier.clock.move(seconds=1)
    assert (notifier.told, notifier.letters) == ([], [])
    notifier.smtp.script.clear()
    assert await notifier.deliver(REMINDER) == "SUCCESS"
    assert (len(notifier.mails), notifier.told) == (1, ["reminder.sent"])


@pytest.mark.parametrize("moment", ["greeting", "EHLO", "MAIL", "RCPT"])
@pytest.mark.parametrize("fault", [DROP, STALL])
async def test_a_connection_lost_before_data_is_tried_again(notifier: Notifier, moment: str, fault: str) -> None:
    """Nothing was handed over yet."""
    notifier.smtp.script[moment] = fault
    assert await notifier.deliver(REMINDER) == "RETRY"
    notifier.smtp.script.clear()
    assert await notifier.deliver(REMINDER) == "SUCCESS"
    assert (len(notifier.mails), notifier.told) == (1, ["reminder.sent"])


@pytest.mark.parametrize("fault", [DROP, TAKE_AND_DROP, STALL])
async def test_an_answer_lost_after_data_is_unknown_and_not_sent_again(notifier: Notifier, fault: str) -> None:
    """Whether the server took it or not, nobody can know; one event says so, and no dead letter."""
    notifier.smtp.script["."] = fault
    for offset in (1, 1, 5):
        assert await notifier.deliver(REMINDER, offset=offset) == "SUCCESS"
    assert notifier.smtp.seen["DATA"] == 1
    assert notifier.told == ["reminder.unknown"]
    assert "the answer to DATA was lost" in notifier.results[0]["payload"]["reason"]
    assert notifier.letters == []


@pytest.mark.parametrize("moment", ["DATA", "body"])
@pytest.mark.parametrize("fault", [DROP, STALL])
async def test_a_connection_lost_in_the_middle_of_the_mail_is_unknown(
    notifier: Notifier, moment: str, fault: str
) -> None:
    """After DATA was said nobody can be sure any more; it is not sent again."""
    notifier.smtp.script[moment] = fault
    for _ in range(2):
        assert await notifier.deliver(REMINDER) == "SUCCESS"
    assert notifier.smtp.seen["DATA"] == 1
    assert (notifier.mails, notifier.told, notifier.letters) == ([], ["reminder.unknown"], [])


@pytest.mark.parametrize("moment", ["greeting", "EHLO"])
@pytest.mark.parametrize("reply", ["550 not from here", "554 no service"])
async def test_a_refusal_before_the_mail_is_named_is_not_the_mails_fault(
    notifier: Notifier, moment: str, reply: str
) -> None:
    """Even one for good: the reminder waits until somebody has looked at it."""
    notifier.smtp.script |= {moment: reply} | ({"HELO": reply} if moment == "EHLO" else {})
    assert await notifier.deliver(REMINDER) == "RETRY"
    assert (notifier.told, notifier.letters) == ([], [])
    notifier.smtp.script.clear()
    assert await notifier.deliver(REMINDER) == "SUCCESS"
    assert (len(notifier.mails), notifier.told) == (1, ["reminder.sent"])


async def test_one_connection_takes_many_mails(notifier: Notifier) -> None:
    """It is kept between deliveries; after a refusal the server is told to forget that mail."""
    assert await notifier.deliver(reminder(1)) == "SUCCESS"
    notifier.smtp.script["RCPT"] = "550 no such mailbox"
    assert await notifier.deliver(reminder(2), offset=2) == "SUCCESS"
    notifier.smtp.script.clear()
    assert await notifier.deliver(reminder(3), offset=3) == "SUCCESS"
    assert (notifier.smtp.seen["greeting"], notifier.smtp.seen["RSET"], len(notifier.mails)) == (1, 1, 2)


@pytest.mark.parametrize("how", ["closed", "421 in the next answer"])
async def test_a_kept_connection_that_is_gone_is_replaced(notifier: Notifier, how: str) -> None:
    """The server closed it between two mails, or is about to: the second mail goes out at once all the same, once."""
    assert await notifier.deliver(reminder(1)) == "SUCCESS"
    if how == "closed":
        notifier.smtp.forget()
    else:
        notifier.smtp.once["MAIL"] = "421 idle for too long"
    assert await notifier.deliver(reminder(2), offset=2) == "SUCCESS"
    assert (notifier.smtp.seen["greeting"], len(notifier.mails)) == (2, 2)
    assert notifier.told == ["reminder.sent", "reminder.sent"]


async def test_a_server_that_is_away_costs_one_time_out_for_all(notifier: Notifier) -> None:
    """Those who wait for a connection hear it from those who tried; then all go out, once."""
    notifier.smtp.script["greeting"] = STALL
    values = [reminder(number) for number in range(1, 101)]
    assert set(await notifier.deliver_all(values)) == {"RETRY"}
    assert notifier.smtp.seen["greeting"] <= 20
    notifier.smtp.script.clear()
    while "RETRY" in await notifier.deliver_all(values):
        pass
    assert len({mail["Message-ID"] for mail in notifier.mails}) == len(notifier.mails) == 100


async def test_no_more_connections_than_the_mail_server_takes() -> None:
    """As many as the secret says, each for one mail after the other."""
    async with running(connections="3") as notifier:
        assert set(await notifier.deliver_all([reminder(number) for number in range(1, 31)])) == {"SUCCESS"}
        assert (notifier.smtp.seen["greeting"], len(notifier.mails)) == (3, 30)


async def test_of_many_claims_one_that_comes_too_late_harms_no_other(notifier: Notifier) -> None:
    """Another process took one of the batch's reminders between the look and the claim: it is left alone."""
    async with notifier.another() as other:
        values = [reminder(number) for number in range(1, 21)]
        answers = await asyncio.gather(notifier.deliver_all(values), other.deliver_all(values[5:6]))
        while any("RETRY" in answer for answer in answers):
            answers = [await notifier.deliver_all(values)]
        assert len({mail["Message-ID"] for mail in notifier.mails}) == len(notifier.mails) == 20


@pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA", "."])
async def test_a_refusal_for_good_is_a_dead_letter_with_the_servers_words(notifier: Notifier, moment: str) -> None:
    """One letter and one event, however often it is delivered from the same place."""
    notifier.smtp.script[moment] = "550 5.1.1 no such mailbox"
    for _ in range(2):
        assert await notifier.deliver(REMINDER) == "SUCCESS"
    [letter] = notifier.letters
    assert (letter.kind, letter.error_class, letter.attempts) == ("permanent", "RefusedByRuleError", 1)
    assert "550 5.1.1 no such mailbox" in letter.message
    assert notifier.told == ["reminder.failed"]
    assert notifier.results[0]["payload"]["reason"] == "550 5.1.1 no such mailbox"
    assert notifier.mails == []


async def test_a_replayed_letter_is_tried_again(notifier: Notifier) -> None:
    """The operator mended what was wrong: from another place on the topic the same reminder gets its mail."""
    notifier.smtp.script["RCPT"] = "550 no such mailbox"
    await notifier.deliver(REMINDER, offset=1)
    notifier.smtp.script.clear()
    assert await notifier.deliver(REMINDER, offset=2) == "SUCCESS"
    assert (len(notifier.mails), notifier.told) == (1, ["reminder.failed", "reminder.sent"])


@pytest.mark.parametrize(("moment", "reply"), [("AUTH", "535 wrong"), ("MAIL", "530 log in first")])
async def test_a_wrong_log_in_is_not_the_mails_fault(moment: str, reply: str) -> None:
    """Reminders wait until the secret is right."""
    async with running(username="todo", password="not-to-be-logged") as notifier:
        notifier.smtp.script[moment] = reply
        for _ in range(7):
            assert await notifier.deliver(REMINDER) == "RETRY"
        assert notifier.letters == []
        notifier.smtp.script.clear()
        assert await notifier.deliver(REMINDER) == "SUCCESS"
        assert len(notifier.mails) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": ""},
        {"port": "x"},
        {"tls": "maybe"},
        {"sender": "nobody"},
        {"sender": ""},
        {"connections": "0"},
        {"connections": "many"},
    ],
)
async def test_a_secret_that_is_not_whole_is_waited_for(wrong: dict[str, str]) -> None:
    """No mail is given up for it."""
    async with running(**wrong) as notifier:
        for _ in range(7):
            assert await notifier.deliver(REMINDER) == "RETRY"
        assert (notifier.letters, notifier.smtp.commands) == ([], [])


async def test_without_encryption_nothing_is_sent_where_it_is_asked_for(notifier: Notifier) -> None:
    """A server that does not offer STARTTLS gets neither the log-in nor the mail."""
    notifier.sidecar.secrets["smtp"] |= {"tls": "starttls", "username": "todo", "password": "not-to-be-sent"}
    assert await notifier.deliver(REMINDER) == "RETRY"
    assert not [line for line in notifier.smtp.commands if not line.startswith("EHLO")]


async def test_an_unknown_user_is_a_dead_letter(notifier: Notifier) -> None:
    """There is nobody to write to."""
    notifier.neighbours.users.clear()
    assert await notifier.deliver(REMINDER) == "SUCCESS"
    [letter] = notifier.letters
    assert "there is no user 7" in letter.message


@pytest.mark.parametrize("away", ["auth", "api"])
async def test_a_neighbour_that_is_away_is_waited_for(notifier: Notifier, away: str) -> None:
    """Without an address or the last check no mail goes out, and none is given up."""
    apps = dict(notifier.sidecar.apps)
    notifier.sidecar.apps = {name: app for name, app in apps.items() if name != away}
    for _ in range(7):
        assert await notifier.deliver(REMINDER) == "RETRY"
        notifier.clock.move(seconds=1)
    notifier.sidecar.apps = apps
    notifier.neighbours.status = 503
    assert await notifier.deliver(REMINDER) == "RETRY"
    notifier.neighbours.status = 200
    assert await notifier.deliver(REMINDER) == "SUCCESS"
    assert (len(notifier.mails), notifier.told) == (1, ["reminder.sent"])


async def test_without_the_store_nothing_is_sent(notifier: Notifier) -> None:
    """No intent, no mail."""
    notifier.sidecar.state_away = True
    assert await notifier.deliver(REMINDER) == "RETRY"
    assert notifier.smtp.commands == []
    notifier.sidecar.state_away = False
    assert await notifier.deliver(REMINDER) == "SUCCESS"
    assert len(notifier.mails) == 1


async def test_a_store_lost_after_the_mail_loses_nothing(notifier: Notifier) -> None:
    """The process remembers what came of it until the store is back: no second mail, and not called unknown."""
    notifier.smtp.script["."] = STALL
    delivery = asyncio.create_task(notifier.deliver(REMINDER))
    await asyncio.wait_for(notifier.smtp.stalled.wait(), 5)
    notifier.sidecar.state_away = True
    assert await delivery == "RETRY"
    notifier.sidecar.state_away = False
    assert await notifier.deliver(REMINDER) == "SUCCESS"
    assert notifier.smtp.seen["DATA"] == 1
    assert notifier.told == ["reminder.unknown"]


async def test_a_result_that_cannot_be_published_is_published_later(notifier: Notifier) -> None:
    """The mail went out once; its event follows."""
    notifier.sidecar.broker_away = True
    assert await notifier.deliver(REMINDER) == "RETRY"
    notifier.sidecar.broker_away = False
    assert await notifier.deliver(REMINDER) == "SUCCESS"
    assert (len(notifier.mails), notifier.told) == (1, ["reminder.sent"])


async def test_a_mail_that_was_refused_for_now_may_be_sent_by_any_process(notifier: Notifier) -> None:
    """The one that tried has put it back: another one, or the next one, need not wait."""
    notifier.smtp.script["DATA"] = "451 later"
    await notifier.deliver(REMINDER)
    notifier.smtp.script.clear()
    async with notifier.another() as other:
        assert await other.deliver(REMINDER) == "SUCCESS"
        assert (len(other.mails), other.told) == (1, ["reminder.sent"])


async def test_what_an_earlier_release_claimed_is_its_own_until_the_lease_ends(notifier: Notifier) -> None:
    """During a change of releases both work; a claim that outlives its process is taken over."""
    notifier.smtp.script["DATA"] = "451 later"
    await notifier.deliver(REMINDER)
    notifier.smtp.script.clear()
    set_intent(notifier, token="another", until=(notifier.clock() + timedelta(seconds=30)).isoformat())
    assert await notifier.deliver(REMINDER) == "RETRY"
    notifier.clock.move(seconds=31)
    assert await notifier.deliver(REMINDER) == "SUCCESS"
    assert (len(notifier.mails), notifier.told) == (1, ["reminder.sent"])


async def test_a_process_killed_while_handing_over_leaves_an_unknown(notifier: Notifier) -> None:
    """The next one waits for the lease, then says so, and sends nothing."""
    notifier.smtp.script["DATA"] = "451 later"
    await notifier.deliver(REMINDER)
    notifier.smtp.script.clear()
    set_intent(notifier, state="handing-over", until=(notifier.clock() + timedelta(seconds=90)).isoformat())
    async with notifier.another() as other:
        assert await other.deliver(REMINDER) == "RETRY"
        notifier.clock.move(seconds=91)
        assert await other.deliver(REMINDER) == "SUCCESS"
        assert (other.mails, other.told, other.letters) == ([], ["reminder.unknown"], [])


async def test_two_processes_at_once_send_one_mail(notifier: Notifier) -> None:
    """Of two that are given the same reminder one sends, the other hears that it is taken."""
    async with notifier.another() as other:
        answers = await asyncio.gather(notifier.deliver(REMINDER), other.deliver(REMINDER))
        assert sorted(answers) in (["RETRY", "SUCCESS"], ["SUCCESS", "SUCCESS"])
        assert len(notifier.mails) == 1


async def test_one_process_given_the_same_twice_at_once_sends_one_mail(notifier: Notifier) -> None:
    """Its sidecar died and delivers again while the first delivery still works."""
    answers = await asyncio.gather(*(notifier.deliver(REMINDER) for _ in range(3)))
    assert sorted(answers) == ["RETRY", "RETRY", "SUCCESS"]
    assert len(notifier.mails) == 1


async def test_a_process_that_was_overtaken_sends_nothing(notifier: Notifier) -> None:
    """It was frozen before it took the mail, and another one has sent it meanwhile."""
    notifier.neighbours.holds_next = True
    delivery = asyncio.create_task(notifier.deliver(REMINDER))
    await asyncio.wait_for(notifier.neighbours.held.wait(), 5)
    async with notifier.another() as other:
        assert await other.deliver(REMINDER) == "SUCCESS"
    notifier.neighbours.release.set()
    assert await delivery == "RETRY"
    assert await notifier.deliver(REMINDER) == "SUCCESS"
    assert len(notifier.mails) == 1


async def test_a_process_that_was_overtaken_does_not_undo_what_came_of_it(notifier: Notifier) -> None:
    """It hears later that the reminder no longer stands: the mail of the other one was sent all the same."""
    notifier.neighbours.holds_next = True
    delivery = asyncio.create_task(notifier.deliver(REMINDER))
    await asyncio.wait_for(notifier.neighbours.held.wait(), 5)
    async with notifier.another() as other:
        assert await other.deliver(REMINDER) == "SUCCESS"
    notifier.neighbours.current = False
    notifier.neighbours.release.set()
    assert await delivery == "RETRY"
    assert await notifier.deliver(REMINDER) == "SUCCESS"
    assert [intent["state"] for intent in notifier.intents] == ["sent"]


async def test_of_a_batch_each_reminder_gets_what_is_due_to_it(notifier: Notifier) -> None:
    """One refused for good, one of nobody, one unreadable, the same one twice: the others get their mail, once."""
    detail = ReminderDetail(reminder_id=9, trigger_at=MOMENT, due_date=MOMENT, title="Milk")
    values = [record(TOPIC, payload=detail.model_copy(update={"reminder_id": number})) for number in range(1, 21)]
    values += [
        record(TOPIC, user_id=99, payload=detail.model_copy(update={"reminder_id": 99})),
        b"garbage",
        values[0],
        record(TOPIC, event_type="reminder.sent"),
    ]
    statuses = await notifier.deliver_all(values)
    while "RETRY" in statuses:
        statuses = await notifier.deliver_all(values)
    assert len(notifier.mails) == 20
    assert len({mail["Message-ID"] for mail in notifier.mails}) == 20
    assert sorted(letter.error_class for letter in notifier.letters) == ["RefusedByRuleError", "UnreadableRecordError"]
    assert sorted(notifier.told) == ["reminder.failed", *["reminder.sent"] * 20]


async def test_each_bad_record_gives_exactly_one_letter(notifier: Notifier) -> None:
    """Delivered twice each: 200, SUCCESS, one letter."""
    for offset, (name, value) in enumerate(bad_records(TOPIC).items()):
        notifier.sidecar.records.clear()
        for _ in range(2):
            assert await notifier.deliver(value, offset=offset) == "SUCCESS", name
        assert len(notifier.letters) == 1, name
    assert notifier.mails == []


async def test_only_the_sidecar_delivers(notifier: Notifier) -> None:
    """Without the app token nothing happens."""
    answer = await notifier.http.post("/events/reminders", content=REMINDER)
    assert answer.status_code == 401
    assert notifier.sidecar.calls == []


async def test_health(notifier: Notifier) -> None:
    """Ready with the sidecar, not without it; metrics count mails by what became of them."""
    assert (await notifier.http.get("/readyz")).status_code == 200
    await notifier.deliver(REMINDER)
    text = (await notifier.http.get("/metrics")).text
    assert 'reminder_mails_total{outcome="sent"} 1.0' in text
    notifier.sidecar.away = True
    assert (await notifier.http.get("/readyz")).status_code == 503
    assert (await notifier.http.get("/job/x", headers=GUARD)).status_code == 404
