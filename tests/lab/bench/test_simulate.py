"""A simulated agent writes what a real one writes."""

from common.wire import codec
from common.wire.messages import Heartbeat, WorkerReport, WorkerWarm
from common.wire.vocabulary import WorkerState
from lab.bench.simulate import SimulatedVm


def test_events_are_numbered_and_heartbeats_are_not() -> None:
    vm = SimulatedVm("vm-1")
    vm.workers["w"] = WorkerReport(WorkerState.IDLE)
    warm = WorkerWarm("vm-1", "w", 1.0)
    vm.outbox += [warm, vm.heartbeat(), warm]
    first = vm.take_news()
    assert first[0::2] == [1, 0, 2]
    beat = codec.decode_event(bytes(first[3]))
    assert isinstance(beat, Heartbeat)
    assert beat.workers == vm.workers
    vm.outbox.append(warm)
    assert vm.take_news() == [3, codec.encode(warm)]
    assert vm.take_news() == []
