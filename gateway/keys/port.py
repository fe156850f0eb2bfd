"""The key directory as the request sees it, and as operators change it."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

from mypy_extensions import mypyc_attr


class WorkspaceStatus(Enum):
    """Whether a workspace may call at all."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    PAYMENT_REQUIRED = "payment_required"


@dataclass(slots=True, eq=False)
class KeyEntry:
    """What the gateway knows of a key. Read-only but for ``compiled``.

    Attributes:
        key_hash: SHA-256 of the whole key string.
        revoked_at_micro: From this instant on the key is refused; in the future during a rotation's
            overlap.
        features: If not None, the key has only these of its plan's features.
        networks: If not empty, only callers from these networks may use the key.
        compiled: A place for the data plane to hang what it derived from the entry.
    """

    key_id: str
    key_hash: bytes
    prefix: str
    workspace_id: str
    plan: str
    workspace_status: WorkspaceStatus = WorkspaceStatus.ACTIVE
    expires_at_micro: int | None = None
    revoked_at_micro: int | None = None
    features: frozenset[str] | None = None
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    compiled: object | None = field(default=None, repr=False)


@mypyc_attr(allow_interpreted_subclasses=True)
class KeyDirectory:
    """Look-up on the request path."""

    @abstractmethod
    def known(self, key_hash: bytes) -> KeyEntry | None:
        """Return the entry of a key if it is at hand, None if ``find`` has to be asked."""
        raise NotImplementedError

    @abstractmethod
    def is_unknown(self, key_hash: bytes) -> bool:
        """Return whether ``find`` would return None at once."""
        raise NotImplementedError

    @abstractmethod
    async def find(self, key_hash: bytes, address: str = "") -> KeyEntry | None:
        """Return the entry of a key, revoked and expired ones too, or None if there is none.

        Args:
            key_hash: SHA-256 of the whole key.
            address: Who asks: nobody is to invent keys at the cost of everybody else.

        Raises:
            DirectoryUnavailable: the source can't be asked and the cache does not know the key, or
                too many unknown keys are being asked for.
        """
        raise NotImplementedError

    def is_refused(self) -> bool:
        """Return whether what is on disk was refused, and what was read before is in force."""
        return False

    async def read_again(self) -> None:
        """Read again what is on disk, if anything is, whatever its time says."""

    @abstractmethod
    async def start(self) -> None:
        """Load or connect, and begin to watch for changes."""
        raise NotImplementedError

    @abstractmethod
    async def close(self) -> None:
        """Stop watching, close connections."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a source's change feed: which keys must be forgotten by caches."""

    sequence: int
    key_hash: bytes


@dataclass(frozen=True, slots=True)
class FeedEnd:
    """Where a source's change feed ends.

    Attributes:
        sequence: The newest change's, 0 if nothing ever changed.
        server: Names the server that says so: positions of two servers can't be compared.
    """

    sequence: int
    server: str = ""


class KeySource(Protocol):
    """Where a caching directory gets its entries from; blocking, called in a thread."""

    def load(self, key_hash: bytes) -> KeyEntry | None:
        """Return the entry as it is stored now. Raises ``DirectoryUnavailable``."""
        ...

    def changes_after(self, sequence: int) -> Sequence[Change]:
        """Return changes after ``sequence`` in order, late committers included."""
        ...

    def feed_end(self) -> FeedEnd:
        """Return where the change feed ends now."""
        ...


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant."""

    workspace_id: str
    plan: str
    status: WorkspaceStatus
    created_at_micro: int


@dataclass(frozen=True, slots=True)
class PlanUse:
    """How many workspaces have a plan, and one of them."""

    plan: str
    workspaces: int
    example: str


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """A key as lists show it: never the secret, never the hash."""

    key_id: str
    prefix: str
    workspace_id: str
    name: str
    created_at_micro: int
    expires_at_micro: int | None
    revoked_at_micro: int | None
    last_used_at_micro: int | None
    features: tuple[str, ...] | None
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is to be stored of a freshly made key."""

    key_id: str
    key_hash: bytes
    prefix: str
    workspace_id: str
    name: str
    created_at_micro: int
    expires_at_micro: int | None
    features: tuple[str, ...] | None
    networks: tuple[str, ...]


class KeyRegistry(Protocol):
    """What operators do with keys and workspaces; blocking."""

    def create_workspace(self, workspace: Workspace) -> None: ...
    def update_workspace(
        self, workspace_id: str, *, plan: str | None, status: WorkspaceStatus | None
    ) -> Workspace: ...
    def workspace(self, workspace_id: str) -> Workspace | None: ...
    def plan_at(self, workspace_id: str, at_micro: int) -> str | None:
        """Return the plan that a workspace had at an instant, None if it had none yet."""
        ...

    def workspaces(self, *, limit: int, after: str = "") -> Sequence[Workspace]: ...
    def create_key(self, key: NewKey) -> None: ...
    def replace_key(self, key_id: str, new: NewKey, *, ends_at_micro: int | None) -> KeyDescription:
        """Add a key and end another, both or neither; return the one that ends."""
        ...

    def key(self, key_id: str) -> KeyDescription | None: ...
    def keys(self, workspace_id: str | None, *, limit: int) -> Sequence[KeyDescription]: ...
    def revoke_key(self, key_id: str, *, at_micro: int | None) -> KeyDescription:
        """End a key at an instant; None stands for now, by the clock of whoever stores it."""
        ...

    def touch_keys(self, used_at_micro: dict[str, int]) -> None:
        """Note last uses, at most one write per key and hour (the caller sees to that)."""
        ...
