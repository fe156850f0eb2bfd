"""When keys were last used, told to the database at most once an hour for each (T16)."""

from typing import Final

HOUR_MICRO: Final = 3_600_000_000

KEYS_MAX: Final = 200_000
"""As many as the directory's cache holds; further keys wait for the next flush, uncounted."""


class LastUsed:
    """Collects uses on the request path; a background task writes what ``due`` returns.

    A first use is due at once, the next ones an hour after it. The database applies the same rule
    (``KeyRegistry.touch_keys``), so that several workers write no more often than one.
    """

    def __init__(self, *, keys_max: int = KEYS_MAX) -> None:
        self._keys_max = keys_max
        self._pending: dict[str, int] = {}
        self._quiet_until_micro: dict[str, int] = {}

    def note(self, key_id: str, now_micro: int) -> None:
        """Note a use; costs one or two dictionary look-ups."""
        if now_micro < self._quiet_until_micro.get(key_id, 0):
            return
        if len(self._pending) < self._keys_max or key_id in self._pending:
            self._pending[key_id] = now_micro

    def due(self, now_micro: int) -> dict[str, int]:
        """Return key ids and last uses to be written now; they are quiet for an hour from here."""
        written, self._pending = self._pending, {}
        if len(self._quiet_until_micro) + len(written) > self._keys_max:
            self._forget(now_micro)
        for key_id, used_at_micro in written.items():
            self._quiet_until_micro[key_id] = used_at_micro + HOUR_MICRO
        return written

    def failed(self, used_at_micro: dict[str, int]) -> None:
        """Take back what could not be written: it is due again with the next flush."""
        for key_id, at_micro in used_at_micro.items():
            self._quiet_until_micro.pop(key_id, None)
            if len(self._pending) < self._keys_max:
                self._pending.setdefault(key_id, at_micro)

    def _forget(self, now_micro: int) -> None:
        """Drop who may speak again; if all are quiet, drop all: the database still says no."""
        kept = {
            key_id: until_micro
            for key_id, until_micro in self._quiet_until_micro.items()
            if until_micro > now_micro
        }
        self._quiet_until_micro = kept if len(kept) < self._keys_max else {}
