"""What ``gateway explain`` finds out: steps, policies, and how the request would end.

Source: requirement N6.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at: what, whether it lets the request go on, and why."""

    name: str
    passed: bool
    told: str


@dataclass(frozen=True, slots=True)
class PolicyStanding:
    """Where the caller stands on one policy; quantities in units as decimal text.

    Attributes:
        count: Present count, None if it can't be known from here.
        refuses_above: The count above which requests are refused, None for never.
    """

    policy: str
    meter: str
    count: str | None
    cost: str
    limit: str
    refuses_above: str | None
    resets_in_seconds: int | None
    allows: bool


@dataclass(slots=True)
class Explanation:
    """The answer to a question.

    Attributes:
        status: The gateway's own status when it refuses, None when it forwards.
        code: The refusal's code, None when it forwards.
        summary: One sentence: what would happen.
        repeat_of: The event that this run was charged by: the request would be a repeat.
        detail: What the problem would tell the caller, None when it forwards.
    """

    steps: list[Step] = field(default_factory=list)
    policies: list[PolicyStanding] = field(default_factory=list)
    route: str | None = None
    upstream: str | None = None
    workspace_id: str | None = None
    key_id: str | None = None
    plan: str | None = None
    cost: dict[str, str] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    forwards: bool = False
    status: int | None = None
    code: str | None = None
    retry_after_seconds: int | None = None
    summary: str = ""
    repeat_of: str | None = None
    detail: str | None = None

    def note(self, name: str, told: str) -> None:
        """Add a step that the request passes."""
        self.steps.append(Step(name, passed=True, told=told))
