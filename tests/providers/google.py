"""Google Compute Engine for the tests: one managed instance group, its operations, and a VM's metadata server.

It speaks of the REST API (compute/v1) what the provider asks for, by Google's documentation, and no more. It gives
other answers when it is told to, holds what the group says back, hangs, loses answers, and ends operations later. When
it is made smaller by its size, it chooses which VMs end, as Google does.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

from aiohttp import web

from lab.parts.ports import free_ports

PROJECT = "meetings-7"


class Google:
    """`answers`: given to the next calls of a verb (get, list, resize, delete, operation, token), in place of the true
    ones. `chosen`: VMs that it has ended by its own choice.
    """

    def __init__(self, place: str = "zones/europe-west1-b") -> None:
        self.place = place
        self.group: dict[str, Any] = {
            "name": "bots",
            "targetSize": 0,
            "status": {"isStable": True},
            "updatePolicy": {"type": "OPPORTUNISTIC", "instanceRedistributionType": "NONE"},
        }
        self.vms_by_name = dict[str, dict[str, Any]]()
        self.operations = dict[str, dict[str, Any]]()
        self.chosen = list[str]()
        self._made = 0
        self.asked = list[str]()
        self.tokens = list[str]()
        self.answers = dict[str, list[web.Response]]()
        self.a_page = 500
        self.hangs = ""
        self.loses = Counter[str]()  # how many answers to a verb, which is done, are lost
        self.ends_later = False  # operations go on until `end_operations`
        self.expires_in = 3600
        self._requests = dict[str, dict[str, Any]]()
        self._held: tuple[Any, Any] | None = None
        self.port = 0

    @property
    def size(self) -> int:
        return self.group["targetSize"]

    def resize(self, size: int) -> None:
        """As Google does it. VMs that are new have names and ids that count up."""
        self.group["targetSize"] = size
        while len(self._staying) < size:
            self._made += 1
            number, name = self._made, f"bots-{self._made:04}"
            self.vms_by_name[name] = {
                "instance": f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/{self.place}/instances/{name}",
                "id": str(9_000_000_000_000_000_000 + number),
                "instanceStatus": "RUNNING",
                "currentAction": "NONE",
            }
        while len(self._staying) > size:
            name = self._staying[0]
            self.chosen.append(name)
            del self.vms_by_name[name]

    @property
    def _staying(self) -> list[str]:
        return [name for name, vm in self.vms_by_name.items() if vm["currentAction"] != "DELETING"]

    def hold_back(self) -> None:
        """From now on the group says what it says now."""
        self._held = deepcopy((self.group, [*self.vms_by_name.values()]))

    def tell_the_truth(self) -> None:
        self._held = None

    def end_operations(self, error: tuple[str, str] | None = None) -> None:
        self.vms_by_name = {name: self.vms_by_name[name] for name in self._staying}
        for operation in self.operations.values():
            if operation["status"] != "DONE":
                operation["status"] = "DONE"
                if error:
                    operation["error"] = {"errors": [{"code": error[0], "message": error[1]}]}
                    operation |= {"httpErrorStatusCode": 400, "httpErrorMessage": "BAD REQUEST"}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        app = web.Application()
        app.router.add_get("/computeMetadata/v1/{what:.*}", self._metadata)
        base = f"/compute/v1/projects/{PROJECT}/{self.place}"
        app.router.add_get(f"{base}/instanceGroupManagers/bots", self._get)
        app.router.add_post(f"{base}/instanceGroupManagers/bots/listManagedInstances", self._list)
        app.router.add_post(f"{base}/instanceGroupManagers/bots/resize", self._resize)
        app.router.add_post(f"{base}/instanceGroupManagers/bots/deleteInstances", self._delete)
        app.router.add_get(f"{base}/operations/{{name}}", self._operation)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        (self.port,) = free_ports(1)
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        yield
        await runner.cleanup()

    async def _metadata(self, request: web.Request) -> web.Response:
        assert request.headers["Metadata-Flavor"] == "Google"
        if request.match_info["what"] == "project/project-id":
            return web.Response(text=PROJECT)
        assert request.match_info["what"] == "instance/service-accounts/default/token"
        if waiting := self.answers.get("token"):
            return waiting.pop(0)
        self.tokens.append(f"token-{len(self.tokens)}")
        token = {"access_token": self.tokens[-1], "expires_in": self.expires_in, "token_type": "Bearer"}
        return web.json_response(token)

    async def _asked(self, verb: str, request: web.Request) -> web.Response | None:
        self.asked.append(verb)
        assert request.headers["Authorization"].startswith("Bearer token-")
        assert request.method == "GET" or "Content-Length" in request.headers  # Google answers 411 without it
        if verb == self.hangs:
            await asyncio.sleep(60)
        waiting = self.answers.get(verb)
        return waiting.pop(0) if waiting else None

    async def _get(self, request: web.Request) -> web.Response:
        other = await self._asked("get", request)
        return other or web.json_response(self._held[0] if self._held else self.group)

    async def _list(self, request: web.Request) -> web.Response:
        if other := await self._asked("list", request):
            return other
        every = self._held[1] if self._held else [*self.vms_by_name.values()]
        begin = int(request.query.get("pageToken", "0"))
        end = begin + min(self.a_page, int(request.query["maxResults"]))
        page: dict[str, Any] = {"managedInstances": every[begin:end]} if every[begin:end] else {}
        return web.json_response(page | ({"nextPageToken": str(end)} if end < len(every) else {}))

    async def _resize(self, request: web.Request) -> web.Response:
        if other := await self._asked("resize", request):
            return other
        known = self._requests.get(request.query["requestId"])
        if not known:
            self.resize(int(request.query["size"]))
        return self._begun("resize", request, known)

    async def _delete(self, request: web.Request) -> web.Response:
        if other := await self._asked("delete", request):
            return other
        known = self._requests.get(request.query["requestId"])
        body = await request.json()
        assert body["skipInstancesOnValidationError"] is True
        for url in body["instances"] if not known else ():
            name = url.rpartition("/")[2]
            if self.vms_by_name.get(name, {}).get("currentAction") not in (None, "DELETING"):
                self.group["targetSize"] -= 1
                if self.ends_later:
                    self.vms_by_name[name]["currentAction"] = "DELETING"
                else:
                    del self.vms_by_name[name]
        return self._begun("delete", request, known)

    def _begun(self, verb: str, request: web.Request, known: dict[str, Any] | None) -> web.Response:
        name = f"operation-{len(self.operations)}"
        operation = known or {"name": name, "status": "RUNNING" if self.ends_later else "DONE", "operationType": verb}
        self._requests[request.query["requestId"]] = operation
        self.operations[operation["name"]] = operation
        if self.loses[verb]:
            self.loses[verb] -= 1
            assert request.transport
            request.transport.close()
        return web.json_response(operation)

    async def _operation(self, request: web.Request) -> web.Response:
        if other := await self._asked("operation", request):
            return other
        operation = self.operations.get(request.match_info["name"])
        return web.json_response(operation) if operation else refused(404, "was not found", "notFound")


def refused(status: int, message: str, reason: str, **headers: str) -> web.Response:
    errors = [{"message": message, "domain": "global", "reason": reason}]
    body = {"error": {"code": status, "message": message, "errors": errors}}
    return web.json_response(body, status=status, headers=headers)
