"""What each planted fault takes out of a service, and the test that must notice; read by test_faults.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One guard that is missing: exact texts of a file, what stands in their place, and the services' test that notices."""

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    noticed_by: str


FAULTS = (
    Fault(
        "api does not look an idempotency key up",
        "services/api/store.py",
        (("return await session.get(IdempotencyKey, (user_id, key))", "return None"),),
        "api/test_idempotency.py::test_a_repeated_request_gets_the_same_answer_and_has_no_effect",
    ),
    Fault(
        "api does not keep the answer to an idempotency key",
        "services/api/writes.py",
        (("await store.keep_answer(session, _kept(ticket, answer, now))", "_kept(ticket, answer, now)"),),
        "api/test_idempotency.py::test_a_repeated_request_gets_the_same_answer_and_has_no_effect",
    ),
    Fault(
        "api takes a key again for another request",
        "services/api/writes.py",
        (("if kept.request_hash != ticket.digest:", "if not kept.request_hash:"),),
        "api/test_idempotency.py::test_a_key_belongs_to_one_request",
    ),
    Fault(
        "api writes its outbox in a transaction of its own",
        "services/api/writes.py",
        (
            ("await store.tell(session, told(written.task, cause))", "self._owed = told(written.task, cause)"),
            (
                "                answer = await self._decide_once(session, ticket, decide)\n",
                """                self._owed = {}
                answer = await self._decide_once(session, ticket, decide)
            async with self._database.transaction() as session:
                if self._owed:
                    await store.tell(session, self._owed)
""",
            ),
        ),
        "api/test_api_writes.py::test_a_write_that_fails_anywhere_leaves_nothing",
    ),
    Fault(
        "api leaves gaps in a user's numbers",
        "services/api/store.py",
        (("values(last_seq=UserSeq.last_seq - 1)", "values(last_seq=UserSeq.last_seq)"),),
        "api/test_api_writes.py::test_numbers_of_a_user_grow_by_one_without_gaps",
    ),
    Fault(
        "api does not compare versions",
        "services/api/writes.py",
        (("            check(task)\n", ""),),
        "api/test_api_writes.py::test_an_edit_of_an_older_version_is_refused",
    ),
    Fault(
        "api changes the tasks of others",
        "services/api/store.py",
        (
            (
                'return await _task(session, Task.id == task_id, Task.user_id == user_id, Task.status != "deleted")',
                'return await _task(session, Task.id == task_id, Task.status != "deleted")',
            ),
        ),
        "api/test_api_writes.py::test_tasks_of_others_are_not_there",
    ),
    Fault(
        "the relay has several events of a lane in flight",
        "services/api/outbox.py",
        (
            (
                "        for lane in self._lanes.values():\n            head = lane[0]\n",
                "        for head in [entry for lane in self._lanes.values() for entry in lane]:\n",
            ),
        ),
        "api/test_relay.py::test_each_lane_keeps_its_order_with_one_entry_on_its_way",
    ),
    Fault(
        "the relay removes an event before the broker has it",
        "services/api/relay.py",
        (
            (
                "        results = await asyncio.gather(",
                """        await outbox.remove(connection, [entry for batch in batches.values() for entry in batch])
        results = await asyncio.gather(""",
            ),
        ),
        "api/test_relay.py::test_a_sidecar_that_was_away_gets_everything_when_it_is_back",
    ),
    Fault(
        "a task may have two successors",
        "services/migrations/versions/0002_api.py",
        (("CONSTRAINT tasks_predecessor_once UNIQUE REFERENCES", "REFERENCES"),),
        "api/test_occurrences.py::test_the_database_itself_refuses_a_second_successor",
    ),
    Fault(
        "api does not look for the successor that is there",
        "services/api/writes.py",
        (("existing = await store.successor(session, order.predecessor_task_id)", "existing = None"),),
        "api/test_occurrences.py::test_complete_reopen_complete_gives_one_successor",
    ),
    Fault(
        "recurring takes its own time for the completion's",
        "services/recurring/handlers.py",
        (
            ("from datetime import datetime\n", "from datetime import UTC, datetime\n"),
            ("_next(task, task.series, event.occurred_at)", "_next(task, task.series, datetime.now(UTC))"),
        ),
        "recurring/test_recurring_handlers.py::test_a_redelivery_years_later_orders_the_same_task",
    ),
    Fault(
        "a reminder that was called off is claimed",
        "services/api/reminders.py",
        (("WHERE r.state = 'scheduled' AND", "WHERE r.state IN ('scheduled', 'cancelled') AND"),),
        "api/test_reminders.py::test_a_reminder_that_no_longer_counts_is_not_sent",
    ),
    Fault(
        "a reminder is claimed early",
        "services/api/reminders.py",
        (("<= statement_timestamp()\n", "<= statement_timestamp() + interval '5 seconds'\n"),),
        "api/test_reminders.py::test_a_reminder_is_never_early",
    ),
    Fault(
        "notification takes a claim that another process holds",
        "services/notification/intents.py",
        (('return "send" if mine or intent.until <= now else "wait"', 'return "send"'),),
        "notification/test_notification_app.py::test_what_an_earlier_release_claimed_is_its_own_until_the_lease_ends",
    ),
    Fault(
        "notification sends again what was being handed over",
        "services/notification/intents.py",
        (('return "send" if mine else "give up" if intent.until <= now else "wait"', 'return "send"'),),
        "notification/test_notification_app.py::test_a_process_killed_while_handing_over_leaves_an_unknown",
    ),
    Fault(
        "notification does not ask whether a reminder still stands",
        "services/notification/last_checks.py",
        (
            (
                "standing = await self._neighbours.are_current([event for event, _ in checks])",
                "standing = [True for _ in checks]",
            ),
        ),
        "notification/test_notification_app.py::test_a_reminder_that_no_longer_stands_is_not_sent",
    ),
    Fault(
        "notification sends a mail that another process took meanwhile",
        "services/notification/last_checks.py",
        (("return stored or Unavailable(", "return True or Unavailable("),),
        "notification/test_notification_app.py::test_a_process_that_was_overtaken_sends_nothing",
    ),
    Fault(
        "notification stores an end over what another process stored",
        "services/notification/handlers.py",
        (("else self._store.exchange(key, done, etag))", "else self._keep(key, done))"),),
        "notification/test_notification_app.py::test_a_process_that_was_overtaken_does_not_undo_what_came_of_it",
    ),
    Fault(
        "each try of a mail has a Message-ID of its own",
        "services/notification/mail.py",
        (
            ("from email.utils import format_datetime,", "from email.utils import make_msgid, format_datetime,"),
            (
                'return f"<reminder-{event.payload.reminder_id}-{moment_of(event)}@{domain}>"',
                "return make_msgid(domain=domain)",
            ),
        ),
        "notification/test_notification_app.py::test_a_reminder_becomes_one_mail_however_often_it_is_delivered",
    ),
    Fault(
        "audit stores what it has stored already",
        "services/audit/chains.py",
        (("if entry.event_id not in known:", "if entry:"),),
        "audit/test_audit_store.py::test_duplicates_across_batches_are_stored_once",
    ),
    Fault(
        "audit does not chain its rows",
        "services/audit/chains.py",
        (("            last = digest\n", ""),),
        "audit/test_audit_store.py::test_a_batch_lies_in_its_order_in_one_chain",
    ),
    Fault(
        "audit does not lock the head of its chain",
        "services/audit/chains.py",
        (("ORDER BY topic, partition FOR UPDATE", "ORDER BY topic, partition"),),
        "audit/test_audit_store.py::test_a_batch_waits_for_its_chain_before_it_looks_where_it_ends",
    ),
    Fault(
        "sync sends what a client has",
        "services/sync/handlers.py",
        (
            (
                "        if update.user_seq <= self.position:\n            return ()\n",
                "        if update.user_seq <= self.position:\n            return (update,)\n",
            ),
        ),
        "sync/test_sync_handlers.py::test_an_update_that_was_sent_is_not_sent_again",
    ),
    Fault(
        "sync sends updates in the order in which they come",
        "services/sync/handlers.py",
        (("return () if self.is_reading else self._ready()", "return (update,)"),),
        "sync/test_sync_handlers.py::test_a_gap_holds_back_until_it_is_filled",
    ),
    Fault(
        "sync does not notice that a client is behind",
        "services/sync/rooms.py",
        (('                self.catch_up(self.connections[sid], "head")\n', "                continue\n"),),
        "sync/test_sync_app.py::test_nobody_goes_stale_when_the_topic_is_silent",
    ),
    Fault(
        "a record is done before its dead letter is out",
        "services/common/settling.py",
        (('self._answer([work], "RETRY", "letter_failed")', 'self._answer([work], "SUCCESS", "letter_failed")'),),
        "common/test_consumer.py::test_without_its_letter_a_bad_record_stays_on_the_topic",
    ),
    Fault(
        "a record that fails for a while becomes a dead letter",
        "services/common/settling.py",
        (('if any(work.error and kind_of(work.error) == "transient" for work in works):', "if not works:"),),
        "common/test_consumer.py::test_a_batch_waits_with_its_letters_until_the_dependency_is_back",
    ),
    Fault(
        "a token for others is taken",
        "services/common/tokens.py",
        ((' or claims.get("aud") != self._audience', ""),),
        "common/test_tokens.py::test_attack",
    ),
    Fault(
        "a token of others is taken",
        "services/common/tokens.py",
        (('claims.get("iss") != self._issuer or ', ""),),
        "common/test_tokens.py::test_attack",
    ),
    Fault(
        "an expired token is taken",
        "services/common/tokens.py",
        (("        if expires <= now:\n", "        if not expires:\n"),),
        "common/test_tokens.py::test_attack",
    ),
)
