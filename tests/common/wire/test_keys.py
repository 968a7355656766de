"""The names that both programs touch: other programs bind to them, so they stay as they are."""

from common.wire.keys import WireKeys


def test_every_name_is_as_documented() -> None:
    keys = WireKeys("poolmgr")
    assert keys.events == "poolmgr:events"
    assert keys.bot("b1") == "poolmgr:bot:b1"
    assert keys.account("notes@example") == "poolmgr:account:notes@example"
    assert (keys.evidence_index, keys.evidence_sizes) == ("poolmgr:evidence", "poolmgr:evidence:sizes")
    assert keys.evidence("b1", 2) == "poolmgr:evidence:b1:2"
    assert keys.commands("vm1") == "poolmgr:vm:vm1:commands"
    assert keys.alive("vm1") == "poolmgr:vm:vm1:alive"
    assert keys.written("vm1") == "poolmgr:vm:vm1:written"


def test_a_prefix_with_a_hash_tag_stays_in_front_of_every_name() -> None:
    keys = WireKeys("{poolmgr}")
    names = (
        *(keys.events, keys.evidence_index, keys.evidence_sizes),
        *(keys.bot("b"), keys.account("a"), keys.evidence("b", 1)),
        *(keys.commands("v"), keys.alive("v"), keys.written("v")),
    )
    assert all(name.startswith("{poolmgr}:") for name in names)
    assert len(set(names)) == len(names)
