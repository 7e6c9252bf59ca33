from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from lwd_core.fleet.robot import Action
from lwd_core.fleet.sim.orders import PLACES
from lwd_core.fleet.sim.rendering import Rendering, can_render
from lwd_core.fleet.sim.restocking import Stockroom
from lwd_core.fleet.sim.stocker import stock
from lwd_core.fleet.sim.tasks import tasks_by_sight
from lwd_core.fleet.workcells import Workcells
from lwd_core.loader.jpeg import decode_frame

TASKS = tasks_by_sight()
HELD = 50  # ticks after which something is in hand


@pytest.fixture(scope="module")
def eyes() -> Iterator[Workcells]:
    with Workcells("sawyer-eyes") as pool:
        yield pool


@pytest.fixture(scope="module")
def room() -> Stockroom:
    return Stockroom(TASKS["restock"])


def drive(room: Stockroom, action: Callable[[], Action], ticks: int) -> bool:
    return any(room.step(action())[1] for _ in range(ticks))


def by_person(room: Stockroom) -> Callable[[], Action]:
    return lambda: room.person().drive(np.zeros(8))


@pytest.mark.parametrize(("name", "scenes"), [("restock", 4), ("restock-two", 2), ("restock-three", 1)])
def test_the_person_carries_out_the_order(name: str, scenes: int) -> None:
    room = Stockroom(TASKS[name])
    for seed in range(scenes):
        room.reset(seed)
        assert drive(room, by_person(room), TASKS[name].limit)


def test_the_same_seed_is_the_same_episode_in_a_used_arm(room: Stockroom) -> None:
    def run(arm: Stockroom) -> list[np.ndarray]:
        return [arm.reset(5), *(arm.step(by_person(arm)())[0] for _ in range(HELD))]

    drive(room, by_person(room), 30)
    assert np.array_equal(run(room), run(Stockroom(TASKS["restock"])))


def test_the_state_tells_nothing_of_the_scene(room: Stockroom) -> None:
    assert np.array_equal(room.reset(1), room.reset(2))
    assert room.order.deliveries != ()


def test_the_right_item_on_a_wrong_shelf_is_no_success_and_a_person_puts_it_right(room: Stockroom) -> None:
    room.reset(3)
    wrong = (room.sight().place + 1) % len(PLACES)
    assert not drive(room, lambda: stock(replace(room.sight(), place=wrong)), 150)
    assert room.sight().shelf_of(room.sight().item) == wrong
    assert drive(room, by_person(room), 200)


def test_a_wrong_item_on_the_shelf_is_no_success_and_a_person_takes_it_away(room: Stockroom) -> None:
    room.reset(4)
    sight = room.sight()
    wrong = (sight.item + 1) % len(sight.spots)
    assert not drive(room, lambda: stock(replace(room.sight(), item=wrong)), 150)
    assert room.sight().shelf_of(wrong) == sight.place
    # the right one on top of that is not enough
    assert not drive(room, lambda: stock(replace(room.sight(), settled={wrong: sight.place})), 60)
    assert drive(room, by_person(room), 400)
    assert room.sight().shelf_of(wrong) is None


def test_a_wrong_item_in_hand_is_set_down_first(room: Stockroom) -> None:
    room.reset(6)
    wrong = (room.sight().item + 1) % 4
    drive(room, lambda: stock(replace(room.sight(), item=wrong)), HELD)
    assert room.sight().centres[wrong][2] > 0.05
    assert drive(room, by_person(room), 300)


@pytest.mark.parametrize("seed", range(3))
def test_a_person_can_take_over_from_a_policy_that_flails(room: Stockroom, seed: int) -> None:
    room.reset(seed)
    generator = np.random.default_rng(seed)
    drive(room, lambda: generator.uniform(-1, 1, 4), 60)
    assert drive(room, by_person(room), 300)


@pytest.mark.skipif(not can_render(), reason="nothing to render with")
def test_arms_side_by_side_show_their_own_goods() -> None:
    rendering = Rendering()
    rooms = [Stockroom(TASKS["restock"], rendering) for _ in range(2)]
    alone = []
    for seed, room in enumerate(rooms):
        room.reset(seed)
        alone.append(room.photograph(64)["scene"])
    assert [room.photograph(64)["scene"] for room in rooms] == alone
    pictures = np.empty((2, 64, 64, 3), np.uint8)
    for jpeg, out in zip(alone, pictures, strict=True):
        decode_frame(jpeg, out)
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 100
    rendering.close()


def test_metaworld_by_sight_hides_objects_and_goals_and_a_person_still_sees_them(eyes: Workcells) -> None:
    task = eyes.tasks["drawer-open"]
    with eyes.borrow(task) as cell:
        first, second = cell.scene.reset(1), cell.scene.reset(2)
        assert first.shape == (len(eyes.embodiment.state_dims),) == (8,)
        assert np.abs(first - second).max() < 0.01
        person, state, done = cell.person(), second, False
        person.take_over(state)
        for _ in range(task.limit):
            state, done = cell.robot.step(person.drive(state))
            if done:
                break
        assert done


@pytest.mark.skipif(not can_render(), reason="nothing to render with")
@pytest.mark.parametrize("name", ["push", "restock"])
def test_its_camera_is_the_one_the_embodiment_names(eyes: Workcells, name: str) -> None:
    with eyes.borrow(eyes.tasks[name]) as cell:
        cell.scene.reset(1)
        assert tuple(cell.robot.photograph(64)) == cell.cameras == ("scene",)
