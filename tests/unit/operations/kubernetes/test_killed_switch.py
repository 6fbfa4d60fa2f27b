"""A switch between colours that is killed at any step: which colour serves is seen, unlock settles it, the same command ends it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.unit.operations.kubernetes.living import KilledError
from tests.unit.operations.kubernetes.world import World
from todoctl.core.releases import Release, deployed, pending
from todoctl.errors import RefusedError, TodoctlError
from todoctl.operations.kubernetes.unlocking import unlock

Act = Callable[[World], None]


def first() -> World:
    """Blue runs release 1."""
    made = World()
    made.deploy("blue", blue="one")
    made.may_serve = {"one"}
    return made


def switched() -> World:
    """Green runs release 3, blue is idle beside it with release 1's pods."""
    made = first()
    made.may_serve |= {"two"}
    made.deploy("green", blue="one", green="two")
    made.may_serve = {"two"}
    return made


def there_and_there() -> World:
    """Blue runs release 5, green is idle with release 3's pods."""
    made = switched()
    made.may_serve = {"two", "three"}
    made.deploy("blue", blue="three", green="two")
    made.may_serve = {"three"}
    return made


def deploys(world: World) -> None:
    """Another code, as the colour that does not serve."""
    world.may_serve |= {"new"}
    colour = world.serving.colour
    runs = next(code for code in ("three", "two", "one") if code in world.may_serve)
    world.deploy(
        "green" if colour == "blue" else "blue", **{colour: runs, "green" if colour == "blue" else "blue": "new"}
    )


def returns(world: World) -> None:
    """To the other colour."""
    target, code = (3, "two") if world.serving.colour == "blue" else (1, "one")
    world.may_serve |= {code}
    world.go_back(target)


def unlocks(world: World) -> None:
    """To its end."""
    for _ in unlock(world.revisions):
        pass


SWITCHES = pytest.mark.parametrize(
    ("begin", "act"),
    [(first, deploys), (switched, returns), (switched, deploys), (there_and_there, returns)],
    ids=["deploy", "rollback", "deploy over an idle colour", "rollback over several releases"],
)


def cut(begin: Callable[[], World], act: Act) -> Iterator[World]:
    """The world after the command was killed at each of its steps, one after the other."""
    start = begin()
    start.steps.clear()
    for count in range(1000):
        world = copy.deepcopy(start)
        world.kill_at = count
        try:
            act(world)
        except KilledError:
            world.kill_at = None
            yield world
            continue
        return


def told(world: World) -> list[Release]:
    """The history."""
    return world.revisions.history()


def assert_settled(world: World) -> Release:
    """One release runs, in one colour, and nothing else works or is pending."""
    where = world.steps[-1]
    running = deployed(told(world))
    assert running is not None, where
    assert pending(told(world)) is None, where
    assert [item.state for item in told(world)].count("deployed") == 1, where
    seen = world.serving
    assert (seen.colour, seen.both_work, seen.is_split) == (running.colour, False, False), where
    assert world.working == {running.colour}, where
    return running


@SWITCHES
def test_unlock_settles_it_and_the_same_command_ends_it(begin: Callable[[], World], act: Act) -> None:
    """After a kill at any step: no request or event without its pod, one colour that works, then the new release."""
    before, seen = begin(), 0
    ran = deployed(told(before))
    assert ran is not None
    for world in cut(begin, act):
        seen += 1
        stuck = pending(told(world))
        if stuck is None:
            # Killed before its first or after its last word: nothing is to be done.
            assert_settled(world)
            continue
        unlocks(world)
        running = assert_settled(world)
        if ran.revision in {running.returns_to, running.revision}:
            act(world)
            assert assert_settled(world).colour != ran.colour
        else:
            # The rollback had let go of the pods that ran; it is done.
            assert running.returns_to in {1, 3}
            assert running.colour != ran.colour
    assert seen > 15


@SWITCHES
def test_an_unlock_that_is_killed_is_only_called_again(begin: Callable[[], World], act: Act) -> None:
    """At any of its steps, after the command was killed in the middle of the switch."""
    worlds = [world for world in cut(begin, act) if world.serving.both_work or pending(told(world))]
    for world in (worlds[len(worlds) // 2], worlds[-1]):
        for killed in cut(partial(copy.deepcopy, world), unlocks):
            if pending(told(killed)) is not None:
                unlocks(killed)
            assert_settled(killed)


@SWITCHES
def test_what_serves_is_said_while_it_is_in_the_middle(begin: Callable[[], World], act: Act) -> None:
    """The colour that Services lead to, and that the other one works, too, from its switch on until Helm is done."""
    said = [world.serving.words() for world in cut(begin, act)]
    assert any("takes events and jobs beside it" in words for words in said)
    assert any("some Services lead to" in words for words in said)


def test_pods_of_another_release_are_no_way_back() -> None:
    """After a rollback over several releases the idle colour has the pods of an older one: it never serves for the newer one."""
    world = there_and_there()
    returns(world)
    assert deployed(told(world)) == told(world)[-1]
    assert not world.revisions.can_turn_to(world.objects_of(5))
    assert world.revisions.can_turn_to(world.objects_of(3))
    with pytest.raises(RefusedError, match="release 5 runs as blue, whose pods are gone"):
        list(world.revisions.return_to(5, "for a test"))


@pytest.mark.parametrize(("begin", "act"), [(first, deploys), (switched, returns)], ids=["deploy", "rollback"])
def test_a_colour_that_is_never_on_is_switched_off_again(begin: Callable[[], World], act: Act) -> None:
    """The switch fails before Helm is asked: what ran runs on, alone, and the history has what failed and no more."""
    world = begin()
    ran, is_deaf = deployed(told(world)), world.serving.idle or "green"
    world.deaf = is_deaf
    with pytest.raises(TodoctlError) as failed:
        act(world)
    assert "was not on within 30 s" in f"{failed.value} {failed.value.detail}"
    running = assert_settled(world)
    assert ran is not None
    assert running.colour == ran.colour
    assert ran.revision in {running.revision, running.returns_to}
    assert {item.state for item in told(world)} <= {"superseded", "failed", "deployed"}


@pytest.mark.parametrize("text", ["superseded", "pending-upgrade"])
def test_the_step_of_a_switch_counts_by_its_release(text: str) -> None:
    """Killed between the two last writes of a switch, its step is none that failed."""
    world = switched()
    records = world.revisions.records
    step = records.all()[2].model_copy(update={"state": text, "result": ""})
    records.write(step)
    assert [(item.state, item.prepares) for item in told(world)] == [
        ("superseded", None),
        ("superseded", 3),
        ("deployed", None),
    ]
