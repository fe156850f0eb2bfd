"""The schema's history, oldest first, and nothing else: one Alembic revision a file in versions/.

Files are named ``v<release>_<number>_<pre|post>_<what>``. ``pre`` runs before the release's first
process starts and keeps the previous release working; ``post`` runs after its last one is gone.
A published revision is never edited: it repeats the tables as they were then.
"""
