"""Reads everything that a new leader takes over: the bots that have not ended, the VMs, their workers."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import structlog

from poolmgr.core.model import Bot, Vm
from poolmgr.store import answers, record
from poolmgr.store.keys import Keys

_log = structlog.stdlib.get_logger()
_PAGE = 500


async def load_bots(redis: Any, keys: Keys) -> list[Bot]:
    """All live bots. An unreadable record is logged and kept, so that a person can look at it."""
    bots: list[Bot] = []
    ids: list[bytes] = await redis.zrange(keys.live, 0, -1)
    async for bot_id, fields in _hashes(redis, [(raw.decode(), keys.bot(raw.decode())) for raw in ids]):
        try:
            bots.append(record.bot_from(answers.text_fields(fields)))
        except ValueError as error:
            _log.error("bot_record_unreadable", bot_id=bot_id, error=repr(error))
    return bots


async def load_vms(redis: Any, keys: Keys) -> list[Vm]:
    """All VMs that are not lost, with their workers. A worker with an unreadable record is logged and left out: the
    agent's next heartbeat reports it.
    """
    vms: list[Vm] = []
    ids: list[str] = sorted(raw.decode() for raw in await redis.smembers(keys.vms))
    async for vm_id, raw in _hashes(redis, [(vm_id, keys.vm(vm_id)) for vm_id in ids]):
        fields = answers.text_fields(raw)
        if fields.get("lost") != "1":
            vms.append(record.vm_from(vm_id, fields))
    by_id = {vm.vm_id: vm for vm in vms}
    async for vm_id, workers in _hashes(redis, [(vm_id, keys.workers(vm_id)) for vm_id in by_id]):
        for raw_id, raw in workers.items():
            worker_id = raw_id.decode(errors="replace")
            try:
                by_id[vm_id].workers[worker_id] = record.worker_from(vm_id, worker_id, raw)
            except (ValueError, msgspec.MsgspecError) as error:
                _log.error("worker_record_unreadable", vm_id=vm_id, worker_id=worker_id, error=repr(error))
    return vms


async def _hashes(redis: Any, named: list[tuple[str, str]]) -> AsyncIterator[tuple[str, dict[bytes, bytes]]]:
    """(name, hash) of each key, read in portions. A missing key is an empty hash."""
    for start in range(0, len(named), _PAGE):
        page = named[start : start + _PAGE]
        pipeline = redis.pipeline(transaction=False)
        for _, key in page:
            pipeline.hgetall(key)
        answers: list[Any] = await pipeline.execute()
        for (name, _), answer in zip(page, answers, strict=True):
            yield name, answer
