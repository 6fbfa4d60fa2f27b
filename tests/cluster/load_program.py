"""Runs in a pod beside the platform: writes and reads at a steady rate without retries, until it is told to stop.

Half of the requests come over connections that are kept, half over new ones. Ends with one JSON object on stdout.
"""

import json
import os
import threading
import time
from pathlib import Path

import httpx

RATE = float(os.environ["LOAD_RATE"])  # requests in a second, all users together
USERS = 8
STOP = Path("/tmp/stop")
API, AUTH = os.environ["LOAD_API"], os.environ["LOAD_AUTH"]

failed: list[str] = []
made: dict[int, set[int]] = {user: set() for user in range(USERS)}
sent = [0] * USERS


def wait_for_policies() -> None:
    """A new pod is let in only once every node has heard of it; that is no request of the load's."""
    deadline = time.monotonic() + 90
    for url in (API, AUTH):
        while True:
            try:
                httpx.get(f"{url}/readyz", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)


def log_in(user: int) -> str:
    """A new account's token."""
    account = {"email": f"load-{user}-{os.urandom(4).hex()}@example.com", "password": "Not-A-Secret-1"}
    httpx.post(f"{AUTH}/api/auth/register", json={**account, "zone": "UTC"}, timeout=60).raise_for_status()
    answer = httpx.post(f"{AUTH}/api/auth/login", json=account, timeout=60).raise_for_status()
    return str(answer.json()["access_token"])


def ask(client: httpx.Client, user: int, token: str) -> None:
    """One request; what fails is written down and not tried again."""
    sent[user] += 1
    headers = {"Authorization": f"Bearer {token}"}
    try:
        if sent[user] % 4 < 3:
            answer = client.post(f"{API}/api/tasks", json={"title": f"load {sent[user]}"}, headers=headers)
            answer.raise_for_status()
            made[user].add(int(answer.json()["id"]))
        else:
            client.get(f"{API}/api/tasks?limit=5", headers=headers).raise_for_status()
    except (httpx.HTTPError, KeyError, ValueError) as error:
        failed.append(f"{time.time():.3f} {type(error).__name__}: {error}")


def work(user: int, token: str, start: float) -> None:
    """One user's requests, each at its moment, however long the one before took."""
    kept = httpx.Client(timeout=30)
    due = start + user / RATE
    while not STOP.exists():
        time.sleep(max(0.0, due - time.monotonic()))
        due += USERS / RATE
        if user % 2:
            ask(kept, user, token)
        else:
            with httpx.Client(timeout=30) as fresh:
                ask(fresh, user, token)


def found(token: str) -> set[int]:
    """Every task of a user, page by page."""
    ids: set[int] = set()
    total = 1
    while len(ids) < total:
        headers, params = {"Authorization": f"Bearer {token}"}, {"limit": "200", "offset": str(len(ids))}
        document = httpx.get(f"{API}/api/tasks", params=params, headers=headers, timeout=60).raise_for_status().json()
        ids |= {int(item["id"]) for item in document["items"]}
        total = int(document["total"]) if document["items"] else 0
    return ids


def main() -> None:
    """Begin, go on until told to stop, count."""
    wait_for_policies()
    tokens = [log_in(user) for user in range(USERS)]
    print("began", flush=True)
    began = time.monotonic()
    threads = [threading.Thread(target=work, args=(user, token, began)) for user, token in enumerate(tokens)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    lost = sum(len(made[user] - found(token)) for user, token in enumerate(tokens))
    count = sum(len(ids) for ids in made.values())
    told = {"sent": sum(sent), "rate": round(sum(sent) / seconds, 1), "written": count, "lost": lost, "failed": failed}
    print(json.dumps(told), flush=True)


main()
