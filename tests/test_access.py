"""Roles, permissions and scope: deny by default, an agent for itself alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard.errors import DeniedError, InputError
from cordboard.live.access import (
    ALL,
    PERMISSIONS,
    ROLES,
    Caller,
    Role,
    checked_name,
    checked_roles,
    local_administrator,
    masked,
)

names = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=12)
scopes = st.one_of(st.just(ALL), st.frozensets(names, max_size=4))
roles = st.frozensets(st.sampled_from(Role))
callers = st.builds(Caller, names, names, roles, scopes, scopes)


def test_every_role_stands_in_the_table_and_names_known_permissions_only():
    assert set(ROLES) == set(Role)
    for role, permissions in ROLES.items():
        assert permissions <= set(PERMISSIONS), role


def test_the_administrator_alone_may_erase_and_no_role_but_it_has_all():
    assert [role for role in Role if "subjects.erase" in ROLES[role]] == [Role.ADMINISTRATOR]
    assert [role for role in Role if "admin.write" in ROLES[role]] == [Role.ADMINISTRATOR]
    assert [role for role in Role if ROLES[role] == set(PERMISSIONS)] == [Role.ADMINISTRATOR]


@given(callers, names)
def test_a_permission_that_stands_in_no_table_is_had_by_nobody(caller, permission):
    assert not caller.has(permission + "?")
    with pytest.raises(DeniedError):
        caller.require(permission + "?")


@given(callers, st.sampled_from(sorted(PERMISSIONS)))
def test_a_permission_is_had_through_a_role_and_through_nothing_else(caller, permission):
    expected = any(permission in ROLES[role] for role in caller.roles)
    assert caller.has(permission) is expected
    if not expected:
        with pytest.raises(DeniedError) as refused:
            caller.require(permission)
        assert refused.value.reason == "PERMISSION_MISSING"


tables = st.dictionaries(names, st.frozensets(names, max_size=4), max_size=4)


@given(names, names, scopes, scopes, tables)
def test_an_agent_acts_for_itself_and_for_nobody_else_whatever_its_scope(name, other, teams, queues, table):
    caller = Caller("t", name, frozenset({Role.AGENT}), teams, queues).knowing(table)
    caller.require_agent(name)
    assert caller.may_act_for(other) is (other == name)


@given(callers, names, tables, st.frozensets(names, max_size=3))
def test_more_scope_never_takes_anything_away_and_less_never_gives_anything(caller, agent, table, more):
    if caller.teams == ALL:
        return
    narrow = caller.knowing(table)
    wide = Caller(caller.tenant, caller.name, caller.roles, caller.teams | more, caller.queues | more).knowing(table)
    assert wide.may_act_for(agent) or not narrow.may_act_for(agent)
    assert wide.covers_agent(agent) or not narrow.covers_agent(agent)
    none = Caller(caller.tenant, caller.name, caller.roles).knowing(table)
    assert not none.covers_queue(agent) and none.agents == frozenset()
    assert none.may_act_for(agent) is (agent == none.name and none.has("agents.self"))


@given(callers, names, tables)
def test_others_are_in_scope_through_a_team_alone(caller, agent, table):
    known = caller.knowing(table)
    through = caller.teams == ALL or any(agent in table.get(team, ()) for team in caller.teams)
    assert known.covers_agent(agent) is (through or known.is_agent(agent))
    assert known.may_act_for(agent) is (
        (known.has("agents.write") and through) or (known.has("agents.self") and agent == known.name)
    )
    if not known.covers_agent(agent):
        with pytest.raises(DeniedError):
            known.require_visible(agent)


@given(callers, names)
def test_a_queue_is_in_scope_by_its_name_or_not_at_all(caller, queue):
    expected = caller.queues == ALL or queue in caller.queues
    assert caller.covers_queue(queue) is expected
    if not expected:
        with pytest.raises(DeniedError):
            caller.require_queue(queue)


def test_the_star_is_a_scope_and_not_a_name_that_one_can_smuggle_in_beside_others():
    caller = Caller("t", "li", frozenset({Role.MANAGER}), frozenset({"*", "north"}), frozenset({"*", "vip"}))
    assert not caller.unlimited and not caller.covers_queue("billing") and not caller.knowing({"*": {"wang"}, "south": {"liu"}}).may_act_for("liu")
    assert local_administrator().unlimited


@given(st.lists(st.sampled_from(Role)))
def test_roles_are_read_by_their_names(found):
    assert checked_roles([str(role) for role in found]) == frozenset(found)


@pytest.mark.parametrize("wrong", ["", "root", "Agent", "administrator "])
def test_a_role_that_does_not_exist_is_refused_with_the_known_ones(wrong):
    with pytest.raises(InputError, match="team-lead"):
        checked_roles([wrong])


@pytest.mark.parametrize("wrong", ["", "a\nb", "x" * 256, "\x00", "\ud800", 5])
def test_a_name_with_control_characters_or_of_no_length_is_refused(wrong):
    with pytest.raises(InputError):
        checked_name(wrong, "name")


@given(st.text("0123456789+-() ", min_size=1, max_size=20))
def test_a_masked_number_shows_two_digits_at_most_and_keeps_its_form(number):
    shown = masked(number, Caller("t", "li", frozenset({Role.AGENT})))
    assert len(shown) == len(number)
    digits = [char for char in shown if char.isdigit()]
    assert len(digits) <= 2 and digits == [c for c in number if c.isdigit()][len([c for c in number if c.isdigit()]) - len(digits) :]
    assert masked(number, local_administrator()) == number
    assert masked(number) == shown


def test_a_number_of_four_digits_or_less_shows_none():
    assert masked("1234") == "****" and masked("+86 138-0013-8000") == "+** ***-****-**00"


def test_the_table_of_roles_in_the_guide_is_the_table_of_the_code():
    guide = Path(__file__).resolve().parents[1] / "docs" / "guides" / "security.md"
    rows = [f"| `{p}`: {what} | " + " | ".join("yes" if p in ROLES[role] else "" for role in Role) + " |" for p, what in PERMISSIONS.items()]
    assert "\n".join(rows) in guide.read_text("utf-8")
