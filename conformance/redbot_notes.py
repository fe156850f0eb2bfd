"""What REDbot notes of answers: run by the Python that has it, apart from the gateway's own.

Reads lines of JSON, each ``[url, method, {field: value}]``, and answers each with a line of JSON:
the status, and the notes as ``[level, name, where, summary]``. REDbot's further requests
(conditional ones, ranges, another coding) count with the answer that they are about.
"""

import json
import sys
from configparser import ConfigParser

import thor
from redbot.resource import HttpResource


def looked_at(asked: list[tuple[str, str, dict[str, str]]]) -> list[HttpResource]:
    """Return the answers, each with what there is to say about it."""
    configuration = ConfigParser()
    configuration.read_dict({"redbot": {"enable_local_access": "True"}})
    resources = []
    waiting = set(range(len(asked)))
    for number, (url, method, fields) in enumerate(asked):
        resource = HttpResource(configuration["redbot"])
        resource.set_request(url, method=method, headers=list(fields.items()))

        def check_done(number: int = number) -> None:
            waiting.discard(number)
            if not waiting:
                thor.stop()

        resource.on("check_done", check_done)
        resources.append(resource)
    for resource in resources:
        resource.check()
    thor.run()
    return resources


def in_words(resource: HttpResource) -> dict[str, object]:
    """Return status and notes, or why there are none."""
    if resource.fetch_error is not None:
        return {"error": str(resource.fetch_error.desc)}
    notes = {
        (note.level.value, type(note).__name__, note.subject, str(note.summary))
        for each in (resource, *resource.subreqs.values())
        for note in each.response.notes
    }
    return {"status": resource.response.status_code_str, "notes": sorted(notes)}


for looked in looked_at([json.loads(line) for line in sys.stdin]):
    sys.stdout.write(json.dumps(in_words(looked)) + "\n")
