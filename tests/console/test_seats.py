import pytest

from tests.console.worlds import TOKENS, Clock
from twin.console.seats import MAY, ONE_TIME_MS, ROLES, SEAT_MS, Seats, tokens_from
from twin.errors import SettingInvalid


def seats() -> tuple[Seats, Clock]:
    clock = Clock()
    return Seats(TOKENS, now_ms=clock), clock


@pytest.mark.parametrize("role", ROLES)
def test_a_token_gives_a_seat_of_its_role(role):
    them, _ = seats()
    seat = them.enter(TOKENS[role])
    assert seat.role == role
    assert them.of_cookie(seat.id) == seat
    assert them.of_bearer(TOKENS[role]).role == role


@pytest.mark.parametrize("wrong", ["", "i" * 39, "i" * 41, "I" * 40, "x" * 40, "ü" * 40, "\udc80" * 3])
def test_any_other_token_gives_none(wrong):
    them, _ = seats()
    assert them.enter(wrong) is None
    assert them.of_bearer(wrong) is None
    assert them.of_cookie(wrong) is None


def test_two_browsers_of_a_role_have_two_seats_and_one_can_leave():
    them, _ = seats()
    one, other = them.enter(TOKENS["trainee"]), them.enter(TOKENS["trainee"])
    assert one.id != other.id
    assert one.name != other.name
    them.leave(one)
    assert not them.holds(one)
    assert them.holds(other)


def test_a_seat_ends_after_twelve_hours():
    them, clock = seats()
    seat = them.enter(TOKENS["observer"])
    clock.ms += SEAT_MS - 1
    assert them.holds(seat)
    clock.ms += 1
    assert not them.holds(seat)
    assert them.of_cookie(seat.id) is None


def test_a_program_keeps_its_seat():
    them, clock = seats()
    seat = them.of_bearer(TOKENS["observer"])
    clock.ms += 10 * SEAT_MS
    assert them.holds(seat)


def test_a_one_time_token_works_once():
    them, _ = seats()
    token = them.one_time_token("instructor")
    assert them.enter(token).role == "instructor"
    assert them.enter(token) is None


def test_a_one_time_token_is_no_bearer_and_grows_old():
    them, clock = seats()
    token = them.one_time_token("instructor")
    assert them.of_bearer(token) is None
    clock.ms += ONE_TIME_MS
    assert them.enter(token) is None


def test_tokens_that_were_not_set_are_drawn_and_long():
    drawn = tokens_from({"trainee": "t" * 32})
    assert drawn["trainee"] == "t" * 32
    assert len(drawn["instructor"]) >= 43  # 256 bits
    assert len(set(drawn.values())) == 3
    assert drawn != tokens_from({"trainee": "t" * 32})


def test_two_roles_may_not_share_a_token():
    with pytest.raises(SettingInvalid, match="a token of its own"):
        tokens_from({"trainee": "t" * 32, "instructor": "t" * 32})


def test_each_role_may_all_that_the_one_below_may():
    assert MAY["observer"] < MAY["trainee"] < MAY["instructor"]
