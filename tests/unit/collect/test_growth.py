"""The sum over a tree of processes neither falls nor counts anything twice."""

from better_claude.collect.growth import Counters, Usage, growth

ROOT = 10


def look(*rows: tuple[int, int, int]) -> dict[int, Usage]:
    """Return a look with (pid, parent, CPU) rows; disk counters are ten times that."""
    return {
        pid: Usage(parent, ticks=pid * 100, counters=(cpu, cpu * 10, cpu * 10))
        for pid, parent, cpu in rows
    }


def grown(cpu: int) -> Counters:
    return (cpu, cpu * 10, cpu * 10)


def test_nothing_before_counts_everything() -> None:
    assert growth({}, look((ROOT, 1, 5), (11, ROOT, 7))) == grown(12)


def test_nothing_at_all() -> None:
    assert growth({}, {}) == grown(0)


def test_those_that_stay_count_their_rise() -> None:
    before = look((ROOT, 1, 5), (11, ROOT, 7))
    assert growth(before, look((ROOT, 1, 8), (11, ROOT, 7))) == grown(3)


def test_a_child_that_was_waited_for_counts_once() -> None:
    before = look((ROOT, 1, 5), (11, ROOT, 7))
    # The child used 2 more, ended, and its 9 went to its parent, which used 1 itself.
    assert growth(before, look((ROOT, 1, 15))) == grown(3)


def test_a_child_that_nobody_waited_for_takes_nothing_away() -> None:
    before = look((ROOT, 1, 5), (11, ROOT, 700))
    assert growth(before, look((ROOT, 1, 6))) == grown(0)


def test_a_whole_branch_that_ended_is_owed_by_whom_it_hung_on() -> None:
    before = look((ROOT, 1, 5), (11, ROOT, 7), (12, 11, 30))
    assert growth(before, look((ROOT, 1, 5 + 7 + 30))) == grown(0)


def test_a_debt_of_one_branch_does_not_eat_the_rise_of_another() -> None:
    before = look((ROOT, 1, 5), (11, ROOT, 1), (12, 11, 500), (13, ROOT, 1))
    after = look((ROOT, 1, 5), (11, ROOT, 1), (13, ROOT, 41))
    assert growth(before, after) == grown(40)


def test_a_process_id_that_came_again_is_another_process() -> None:
    before = look((ROOT, 1, 5), (11, ROOT, 7))
    after = {**look((ROOT, 1, 12)), 11: Usage(ROOT, ticks=9999, counters=(3, 30, 30))}
    assert growth(before, after) == grown(3)


def test_a_counter_that_fell_counts_as_no_rise() -> None:
    assert growth(look((ROOT, 1, 50)), look((ROOT, 1, 40))) == grown(0)


def test_circles_of_parents_end() -> None:
    before = look((11, 12, 5), (12, 11, 5), (ROOT, 1, 0))
    assert growth(before, look((ROOT, 1, 3))) == grown(3)
