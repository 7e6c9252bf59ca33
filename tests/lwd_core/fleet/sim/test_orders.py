import numpy as np
import pytest

from lwd_core.errors import UserError
from lwd_core.fleet.sim.orders import COLOURS, ITEMS, PLACES, SHAPES, Delivery, Goods, Order, drawn, said
from lwd_core.fleet.sim.tasks import all_tasks, tasks_by_sight
from storage_schemas.vocabulary import Words

MANY = range(200)
ITEMS_HERE = (Goods("red", "can"), Goods("blue", "box"), Goods("green", "ball"), Goods("red", "ball"))
ORDER = Order(ITEMS_HERE, np.zeros((ITEMS, 2)), (Delivery(0, 0), Delivery(1, 2)))


def test_a_scene_has_items_that_differ_and_room_for_fingers_around_each():
    for seed in MANY:
        order = drawn(seed, 3)
        assert len(set(order.items)) == ITEMS
        apart = np.linalg.norm(order.spots[:, None] - order.spots, axis=-1) + np.eye(ITEMS)
        assert apart.min() >= 0.07
        assert len({d.item for d in order.deliveries}) == len({d.place for d in order.deliveries}) == 3


def test_all_kinds_of_goods_are_asked_for_and_all_shelves():
    asked = [(drawn(seed, 1), drawn(seed, 1).deliveries[0]) for seed in MANY]
    assert {order.items[d.item] for order, d in asked} == {Goods(c, s) for c in COLOURS for s in SHAPES}
    assert {d.place for _, d in asked} == set(range(len(PLACES)))


def test_the_order_is_said_in_words():
    assert (
        ORDER.say(7, Words.USUAL) == "put the red can on the left shelf, then the blue box on the right shelf"
    )


@pytest.mark.parametrize("words", [Words.TRAIN, Words.UNSEEN])
def test_every_wording_names_item_and_shelf(words: Words):
    texts = {ORDER.say(choice, words) for choice in range(40)}
    assert len(texts) >= 4
    assert all(part in text for text in texts for part in ("red can", "left", "blue box", "right"))


def test_wordings_kept_for_evaluation_are_not_used_before():
    tasks = tasks_by_sight().values()
    trained = {task.say(seed, words) for task in tasks for seed in MANY for words in ("usual", "train")}
    kept = {task.say(seed, Words.UNSEEN) for task in tasks for seed in MANY}
    assert not trained & kept


def test_wrong_words_name_another_item_of_the_scene_and_another_shelf():
    for seed in MANY:
        order = drawn(seed, 1)
        (asked,) = order.deliveries
        others = {
            f"put the {item} on the {place} shelf"
            for i, item in enumerate(order.items)
            for p, place in enumerate(PLACES)
            if i != asked.item and p != asked.place
        }
        assert said(1, seed, Words.WRONG) in others


def test_a_task_that_asks_the_same_everywhere_has_no_wrong_words():
    with pytest.raises(UserError, match="drawer-open.*no words are wrong"):
        all_tasks()["drawer-open"].say(1, Words.WRONG)
    with pytest.raises(UserError, match="push-tour: no wording is kept for evaluation"):
        all_tasks()["push-tour"].say(1, Words.UNSEEN)
