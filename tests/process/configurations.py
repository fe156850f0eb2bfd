"""A configuration of two routes on free ports, for the tests of this folder."""

from pathlib import Path

from gateway.config.loaded import Loaded
from gateway.config.settings import load
from tests.support.pricing_files import Document, write_pricing

ROUTES = """\
version: 1
pricing: pricing.json
data_dir: {folder}/data
listen: 127.0.0.1:{listen}
admin_listen: 127.0.0.1:{admin}
counters: {counters}
upstreams: {{app: {{endpoints: ["http://127.0.0.1:9"]}}}}
routes:
  - {{name: one, match: {{methods: [GET], path: /one}}, upstream: app}}
  - {{name: two, match: {{methods: [GET], path: /two}}, upstream: app, on_store_failure: {two}}}
"""


def loaded_in(
    folder: Path, *, counters: str = "memory", two: str = "closed", listen: int = 0, admin: int = 0
) -> Loaded:
    """Return what a worker is built from; its files are in the folder."""

    def always(document: Document) -> None:
        document["effective_from"] = "2020-01-01T00:00:00Z"

    write_pricing(folder / "pricing.json", always)
    file = folder / "gateway.yaml"
    text = ROUTES.format(folder=folder, counters=counters, two=two, listen=listen, admin=admin)
    file.write_text(text)
    return load(file, environ={}, overrides={})
