"""A simulated agent writes what a real one writes."""

from common.wire import codec
from common.wire.keys import WireKeys
from common.wire.messages import Heartbeat, WorkerWarm
from lab.parts.agent import SimulatedVm


def test_events_are_numbered_and_heartbeats_are_not() -> None:
    vm, keys = SimulatedVm("vm-1"), WireKeys("test")
    none = vm.news(keys).arguments
    vm.warmed("w", 0.5)
    vm.beat()
    vm.warmed("v", 0.5)
    first = vm.news(keys).arguments[len(none) :]
    assert first[0::2] == [1, 0, 2]
    beat = codec.decode_event(first[3])
    assert isinstance(beat, Heartbeat)
    assert (list(beat.workers), beat.room) == (["w"], 99)
    warm = WorkerWarm("vm-1", "w", 1.0)
    vm.say(warm)
    assert vm.news(keys).arguments == [*none, 3, codec.encode(warm)]
    assert vm.news(keys).arguments == none
