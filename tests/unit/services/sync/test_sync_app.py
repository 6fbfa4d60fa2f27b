"""sync over real sockets: order, catching up, tokens, origins, limits, replicas, state and the end of a process."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import socketio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.unit.services.sync.sync_server import ORIGIN, Client, FakeApi, Replica, replica, token, until


@pytest.fixture
def api() -> FakeApi:
    """An api without changes."""
    return FakeApi()


@pytest.fixture
def sync(api: FakeApi) -> Iterator[Replica]:
    """One replica."""
    with replica(api) as made:
        yield made


def refused(sync: Replica, **options: Any) -> Any:
    """What a client that is refused is told; None where it does not even get to speak."""
    with pytest.raises(socketio.exceptions.ConnectionError):
        sync.client(**options)
    messages = sync.clients[-1].messages
    told = [message for name, message in list(messages.queue) if name == "connect_error"]
    return next((message for message in told if isinstance(message, dict)), None)


def test_a_change_reaches_its_owner_and_nobody_else(sync: Replica) -> None:
    """A room for each user."""
    mine, also_mine, other = sync.ready(7), sync.ready(7), sync.ready(8)
    sync.happen(7, 1)
    message = mine.next("task.sync")
    assert (message["user_seq"], message["op"], message["task"]["id"]) == (1, "upsert", 1)
    assert also_mine.next("task.sync") == message
    sync.happen(8, 1)
    assert other.next("task.sync")["task"]["id"] == 1
    assert mine.messages.empty()
    assert sync.sample("sync_emitted_total", source="live") == 3
    assert sync.sample("sync_lag_seconds_count") == 2


def test_deliveries_out_of_order_arrive_in_order(sync: Replica) -> None:
    """A gap is filled from api, doubles are dropped."""
    client = sync.ready()
    sync.api.add(7, *range(1, 6))
    for number in (1, 1, 3, 2, 3, 5, 4, 1):
        sync.deliver(7, number)
    assert client.numbers(5) == [1, 2, 3, 4, 5]
    assert client.messages.empty()


def test_who_comes_back_gets_what_was_missed(sync: Replica) -> None:
    """From the cursor on, in pages, then live; each number once."""
    first = sync.ready()
    sync.happen(7, 1)
    assert first.numbers(1) == [1]
    first.library.disconnect()
    for number in range(2, 12):
        sync.happen(7, number)
    again = sync.client(auth={"token": token(), "cursor": 1})
    assert again.numbers(10) == list(range(2, 12))
    assert again.next("sync.ready") == {"cursor": 11}
    sync.happen(7, 12)
    assert again.numbers(1) == [12]


@pytest.mark.parametrize("auth", [{}, {"cursor": 2}, {"cursor": 99}], ids=["no cursor", "below the floor", "unknown"])
def test_who_can_not_catch_up_is_told_to_list(sync: Replica, auth: dict[str, Any]) -> None:
    """`task.resync` with the cursor to go on from."""
    sync.api.add(7, *range(1, 10))
    sync.api.floors[7] = 5
    client = sync.client(auth={"token": token(), **auth})
    assert client.next("task.resync") == {"cursor": 9}
    assert client.next("sync.ready") == {"cursor": 9}
    sync.happen(7, 10)
    assert client.numbers(1) == [10]


def test_nobody_goes_stale_when_the_topic_is_silent(sync: Replica) -> None:
    """Changes whose updates never come are found by comparing with api."""
    client = sync.ready()
    sync.api.add(7, 1, 2)
    assert client.numbers(2) == [1, 2]
    assert sync.sample("sync_catch_ups_total", cause="head") == 1


def test_a_client_waits_for_api_and_then_catches_up(sync: Replica) -> None:
    """With api away a client is connected, and ready once it is back; live updates meanwhile are not lost."""
    sync.api.is_away = True
    client = sync.client()
    sync.happen(7, 1)
    sync.happen(7, 2)
    with pytest.raises(queue.Empty):
        client.messages.get(timeout=0.3)
    sync.api.is_away = False
    assert client.numbers(2) == [1, 2]
    assert client.next("sync.ready") == {"cursor": 2}


def test_every_replica_reaches_its_clients(api: FakeApi) -> None:
    """Each replica gets each update and has clients of its own."""
    with replica(api, "sync-0") as one, replica(api, "sync-1") as two:
        clients = [one.ready(), two.ready(), two.ready()]
        api.add(7, 1)
        one.deliver(7, 1)
        two.deliver(7, 1)
        assert [client.numbers(1) for client in clients] == [[1], [1], [1]]
        until(lambda: len(one.states()) == 1 and len(two.states()) == 2)
        assert {state["replica"] for state in two.states()} == {"sync-1"}


@pytest.mark.parametrize(
    ("auth", "reason"),
    [
        ({"cursor": 0}, "invalid_token"),
        ("token", "invalid_token"),
        ({"token": 7}, "invalid_token"),
        ({"token": "a.b.c"}, "invalid_token"),
        ({"token": "x" * 9000}, "invalid_token"),
        ({"token": token(lives=-1)}, "invalid_token"),
        ({"token": token(), "cursor": -1}, "invalid_cursor"),
        ({"token": token(), "cursor": "1"}, "invalid_cursor"),
    ],
)
def test_a_connection_without_a_good_token_is_refused(sync: Replica, auth: Any, reason: str) -> None:
    """The reason is told."""
    assert refused(sync, auth=auth)["message"] == reason
    assert sync.sample("sync_connections") == 0


def test_an_expired_token_is_refused_in_words(sync: Replica) -> None:
    """The page can tell it from other refusals."""
    told = refused(sync, auth={"token": token(lives=-1)})
    assert told["data"] == {"reason": "invalid_token", "detail": "the access token has expired"}


def test_auth_away_is_no_verdict_on_a_token(sync: Replica) -> None:
    """It is refused as unavailable, and welcome once auth is back."""
    apps = sync.sidecar.apps
    sync.sidecar.apps = {"api": apps["api"]}
    assert refused(sync)["message"] == "unavailable"
    sync.sidecar.apps = apps
    until(lambda: _can_connect(sync))


def _can_connect(sync: Replica) -> bool:
    try:
        sync.client()
    except socketio.exceptions.ConnectionError:
        return False
    return True


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", f"{ORIGIN}.evil.example", "https://page.example"])
def test_a_foreign_page_can_not_connect(sync: Replica, origin: str, transport: str) -> None:
    """Only the allowed origins; the token is not even looked at."""
    assert refused(sync, origin=origin, transport=transport) is None
    assert sync.sample("sync_connections") == 0


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_our_own_page_can_connect(api: FakeApi, transport: str) -> None:
    """By either transport."""
    # A poll that waits when its client leaves ends with the ping.
    with replica(api, ping_interval=1, ping_timeout=1) as sync:
        client = sync.client(origin=ORIGIN, transport=transport)
        assert client.next("sync.ready") == {"cursor": 0}
        sync.happen(7, 1)
        assert client.numbers(1) == [1]


def test_a_socket_ends_with_its_token(sync: Replica) -> None:
    """Within five seconds, with the reason."""
    client = sync.client(auth={"token": token(lives=2), "cursor": 0})
    client.next("sync.ready")
    assert client.next("sync.closing", seconds=7) == {"reason": "token_expired"}
    assert client.next("disconnect") == "server disconnect"
    assert sync.sample("sync_closed_total", reason="token_expired") == 1


def test_a_client_that_does_not_close_is_closed(sync: Replica) -> None:
    """The server does not wait for it."""
    with connect(f"ws://127.0.0.1:{sync.port}/socket.io/?EIO=4&transport=websocket") as raw:
        raw.send("40" + json.dumps({"token": token(lives=1), "cursor": 0}))
        told = list(raw)
    assert told[-3:] == ['42["sync.closing",{"reason":"token_expired"}]', "41", "1"]


def test_a_newer_token_keeps_the_socket(sync: Replica) -> None:
    """`token.refresh` of the same user; others are refused and change nothing."""
    client = sync.client(auth={"token": token(lives=3), "cursor": 0})
    client.next("sync.ready")
    assert client.library.call("token.refresh", {"token": token(8)}) == {"ok": False, "error": "other_user"}
    assert client.library.call("token.refresh", {"token": "a.b.c"})["error"] == "invalid_token"
    assert client.library.call("token.refresh")["error"] == "invalid_token"
    assert client.library.call("token.refresh", {"token": token()})["ok"] is True
    with pytest.raises(queue.Empty):
        client.messages.get(timeout=4.5)


def test_a_user_has_so_many_sockets(api: FakeApi) -> None:
    """One more is refused; another user is not concerned."""
    with replica(api, sockets_per_user=2) as sync:
        first = sync.ready()
        sync.ready()
        assert refused(sync)["message"] == "too_many_connections"
        sync.ready(8)
        first.library.disconnect()
        until(lambda: sync.sample("sync_connections") == 2)
        sync.ready()


def test_a_large_message_ends_the_connection(sync: Replica) -> None:
    """16 KiB is far more than any client of ours sends."""
    client = sync.ready()
    client.library.emit("noise", "x" * 20_000)
    _ended(client)
    answer = sync.http.post(f"{sync.url}/socket.io/?EIO=4&transport=polling&sid=x", content="x" * 20_000)
    assert answer.status_code == 413


def test_too_many_messages_end_the_connection(sync: Replica) -> None:
    """A client has little to say."""
    client = sync.ready()
    for number in range(60):
        client.library.emit("noise", number)
    _ended(client)
    assert sync.sample("sync_closed_total", reason="too_often") == 1


def test_polling_has_the_same_bound(sync: Replica) -> None:
    """Posts of one session beyond it are refused."""
    answers = [sync.http.post(f"{sync.url}/socket.io/?EIO=4&transport=polling&sid=x").status_code for _ in range(40)]
    assert answers[:20] == [400] * 20
    assert 429 in answers[20:]


def test_binary_messages_are_refused(sync: Replica) -> None:
    """Their parts would be held together in memory."""
    with connect(f"ws://127.0.0.1:{sync.port}/socket.io/?EIO=4&transport=websocket") as raw:
        raw.recv()
        raw.send(b"x")
        with pytest.raises(ConnectionClosed) as caught:
            raw.recv(timeout=5)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1003, "not_text")


def test_binary_packets_in_a_post_are_refused(sync: Replica) -> None:
    """Anywhere in it."""
    url = f"{sync.url}/socket.io/?EIO=4&transport=polling"
    sid = json.loads(sync.http.get(url).text[1:])["sid"]
    answers = [sync.http.post(f"{url}&sid={sid}", content=body) for body in (b"bAQ==", b"3\x1ebAQ==", b"4x\x1e3")]
    assert [answer.status_code for answer in answers[:2]] == [400, 400]
    assert sync.sample("sync_refused_total", reason="not_text") == 2
    assert "binary" not in answers[2].text


def test_a_second_login_on_one_transport_changes_nothing(sync: Replica) -> None:
    """One transport is one connection."""
    with connect(f"ws://127.0.0.1:{sync.port}/socket.io/?EIO=4&transport=websocket") as raw:
        raw.recv()
        for user_id in (7, 8):
            raw.send("40" + json.dumps({"token": token(user_id), "cursor": 0}))
        assert raw.recv(timeout=5).startswith("40")
        assert raw.recv(timeout=5) == '42["sync.ready",{"cursor":0}]'
        assert raw.recv(timeout=5) == '44"Unable to connect"'
        sync.happen(8, 1)
        sync.happen(7, 1)
        message = json.loads(str(raw.recv(timeout=5))[2:])[1]
    assert message["user_seq"] == 1
    until(lambda: sync.sample("sync_emitted_total", source="live") == 1)


def test_a_long_way_to_catch_up_is_gone_in_steps(sync: Replica) -> None:
    """Thousands of missed changes come all, in order."""
    sync.api.add(7, *range(1, 3001))
    client = sync.client()
    assert client.numbers(3000) == list(range(1, 3001))
    assert client.next("sync.ready") == {"cursor": 3000}


def test_a_transport_that_never_logs_in_is_cut(api: FakeApi) -> None:
    """An open socket without a token is not for ever."""
    with replica(api, login_seconds=0.5) as sync:
        with connect(f"ws://127.0.0.1:{sync.port}/socket.io/?EIO=4&transport=websocket") as raw:
            assert list(raw)[-1] == "1"
        assert sync.sample("sync_closed_total", reason="no_login") == 1


def test_connections_are_in_daprs_state(sync: Replica) -> None:
    """A key for each, with a life of its own, gone after the disconnect."""
    client = sync.ready()
    [state] = until(sync.states)
    assert (state["user_id"], state["replica"]) == (7, "sync-0")
    [request] = [call for call in sync.sidecar.calls if call.url.path.endswith("/transaction")]
    [operation] = json.loads(request.content)["operations"]
    assert operation["request"]["metadata"] == {"ttlInSeconds": "90"}
    client.library.disconnect()
    until(lambda: not sync.states())


def test_a_stop_sends_clients_elsewhere(api: FakeApi) -> None:
    """They are told, may connect again by themselves, and leave no state behind."""
    with replica(api) as sync:
        client = sync.ready()
        until(sync.states)
        sync.server.should_exit = True
        assert client.next("sync.closing") == {"reason": "restarting"}
        client.next("disconnect")
        until(lambda: not sync.states())


def test_health_and_guard(sync: Replica) -> None:
    """Ready with its sidecar; the route of the subscription is for the sidecar alone."""
    assert sync.http.get(f"{sync.url}/healthz").json() == {"status": "ok"}
    assert sync.http.get(f"{sync.url}/readyz").status_code == 200
    assert sync.http.post(f"{sync.url}/events/task-updates").status_code == 401
    assert "sync_connections" in sync.http.get(f"{sync.url}/metrics").text
    sync.sidecar.away = True
    answer = sync.http.get(f"{sync.url}/readyz")
    assert (answer.status_code, answer.json()["missing"]) == (503, {"sidecar": "the sidecar is not ready"})


def test_a_record_that_is_no_event_becomes_a_letter(sync: Replica) -> None:
    """As with every consumer."""
    answer = httpx.post(
        f"{sync.url}/events/task-updates", content=b"{", headers={"dapr-api-token": "app-token"}, trust_env=False
    )
    assert answer.json() == {"status": "SUCCESS"}
    assert [letter.topic for letter in sync.sidecar.records] == ["dlq-events"]


def _ended(client: Client) -> None:
    assert client.next("disconnect")
