"""The Redis keys that both programs use. All other keys are in poolmgr/store/keys.py."""


class WireKeys:
    """Key names under one prefix. A prefix with a hash tag (`{poolmgr}`) keeps them in one Redis Cluster slot."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.events = f"{prefix}:events"
        self.confirmed = f"{prefix}:confirmed"
        self.evidence_index = f"{prefix}:evidence"
        self.evidence_sizes = f"{prefix}:evidence:sizes"

    def bot(self, bot_id: str) -> str:
        return f"{self.prefix}:bot:{bot_id}"

    def evidence(self, bot_id: str, attempt: int) -> str:
        return f"{self.prefix}:evidence:{bot_id}:{attempt}"

    def account(self, name: str) -> str:
        return f"{self.prefix}:account:{name}"

    def commands(self, vm_id: str) -> str:
        return f"{self.prefix}:vm:{vm_id}:commands"

    def alive(self, vm_id: str) -> str:
        return f"{self.prefix}:vm:{vm_id}:alive"

    def vitals(self, vm_id: str) -> str:
        return f"{self.prefix}:vm:{vm_id}:vitals"

    def looks(self, vm_id: str) -> str:
        """A channel, not a key: requests to look at bots of the VM."""
        return f"{self.prefix}:vm:{vm_id}:looks"

    def shown(self, bot_id: str) -> str:
        """A channel, not a key: pictures of the bot's page, while somebody looks."""
        return f"{self.prefix}:bot:{bot_id}:shown"

    def written(self, vm_id: str) -> str:
        return f"{self.prefix}:vm:{vm_id}:written"
