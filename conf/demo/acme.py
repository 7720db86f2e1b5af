"""The firm `acme`: two legal entities with their currencies, cost rates, cost centers, accounting periods
and pay cycles; forty people in the master data file, and what HR sends of them in the week.

The files beside this one are made from here: `acme.py --write`; tests/flow/test_demo.py compares them.
conf/schemas/master.json says field by field what a master data file holds. tests/harness/tryton.py makes an
ERP of the same file.
"""
import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
DE, UK = "ACME-DE", "ACME-UK"
CURRENCY = {DE: "EUR", UK: "GBP"}
RATES = {DE: {"junior": "55.00", "senior": "85.00", "principal": "120.00"},
         UK: {"junior-uk": "47.50", "senior-uk": "73.25", "principal-uk": "104.00"}}
CENTERS = {DE: ["CC-100", "CC-200", "CC-300"], UK: ["CC-U10", "CC-U20"]}
PEOPLE, PROJECTS, TASKS = 40, 12, 3
IN_UK = {f"W-{n:03}" for n in range(26, 38)} | {"W-042"}
LEFT, CLOSED_PROJECT, CLOSED_DAY = "W-040", "P-112", "2026-10-30"
HIRED, HIRED_LATE = "W-041", "W-042"        # by HR's event: before their first entry, and after it
LEAVER, LAST_DAY = "W-020", "2026-11-17"    # by HR's event
MOVER, MOVED_ON = "W-014", "2026-11-19"     # to another cost center
HIRE_DAY, HR_TIME = "2026-11-18", "2026-11-17T09:00:00Z"
IN_JIRA = ["W-010", "W-011", "W-012", "W-030"]  # they log their time in Jira

# id, first and last day, state, legal entity (None: all that have none of their own)
PERIODS = [("2026-10", "2026-10-01", "2026-10-31", "closed", None),
           ("2026-11", "2026-11-01", "2026-11-30", "open", None),
           ("UK-P07", "2026-10-03", "2026-10-30", "closed", UK),
           ("UK-P08", "2026-10-31", "2026-11-27", "open", UK)]
PAY_CYCLES = [("2026-W44", "2026-10-26", "2026-11-01", "2026-11-03T12:00:00Z", None),
              ("2026-W47", "2026-11-16", "2026-11-22", "2026-11-24T12:00:00Z", None),
              ("UK-2026-10", "2026-10-01", "2026-10-31", "2026-10-26T12:00:00Z", UK),
              ("UK-2026-11", "2026-11-01", "2026-11-30", "2026-11-25T12:00:00Z", UK)]


def entity_of(worker):
    return UK if worker in IN_UK else DE


def row(fields, entity):
    return "  - { " + ", ".join(fields + ([f"legal_entity: {entity}"] if entity else [])) + " }\n"


def calendar():
    text = "# Accounting periods and pay cycles of acme; made by acme.py.\nperiods:\n"
    for pid, first, last, state, entity in PERIODS:
        text += row([f'id: "{pid}"', f"from: {first}", f"to: {last}", f"state: {state}"], entity)
    text += "pay_cycles:\n"
    for cid, first, last, cutoff, entity in PAY_CYCLES:
        text += row([f'id: "{cid}"', f"from: {first}", f"to: {last}", f'cutoff: "{cutoff}"'], entity)
    return text


def issue(project, task):
    """Jira's id of the issue on which a task is worked."""
    return str(10000 + 100 * (int(project[2:]) - 100) + int(task[2:]))


def account(worker):
    """Who a worker is in Jira."""
    return f"557058:{worker[2:]}"


def project_map():
    text = """\
# What acme's Jira calls work, and our project and task; made by acme.py. `key` is Jira's id of an issue (all
# that a worklog webhook carries), an issue's key or, in `projects`, a project's key (where the sender adds the
# issue). Who a person is, the master data's aliases for the source `jira` say.
issues:
"""
    for p in range(1, PROJECTS + 1):
        for t in range(1, TASKS + 1):
            project, task = f"P-{100 + p}", f"T-{t}"
            text += f'  - {{ key: "{issue(project, task)}", project: {project}, task: {task} }}\n'
    return text


def worker_row(n, rng):
    wid = f"W-{n:03}"
    entity = entity_of(wid)
    categories = list(RATES[entity])
    return {"id": wid, "name": f"Worker {n}", "legal_entity": entity,
            "cost_center": rng.choice(CENTERS[entity]), "labor_category": categories[n % 3],
            "pay_code": "REG", "employment": [{"from": "2024-01-01",
                                               "to": "2026-10-31" if wid == LEFT else None}],
            "aliases": {"psa": f"u-{n}", "jira": account(wid)}}


def project_row(p):
    pid = f"P-{100 + p}"
    states = [{"from": "2026-01-01", "to": None, "state": "open"}]
    if pid == CLOSED_PROJECT:
        states = [{"from": "2026-01-01", "to": "2026-10-31", "state": "open"},
                  {"from": "2026-11-01", "to": None, "state": "closed"}]
    tasks = [{"id": f"T-{t}", "name": f"Task {t}", "billable": True,
              "states": [{"from": "2026-01-01", "to": None, "state": "open"}]}
             for t in range(1, TASKS + 1)]
    return {"id": pid, "name": f"Project {p}", "client": f"C-{(p - 1) // 3 + 1}",
            "legal_entity": DE if p <= 8 else UK, "states": states, "tasks": tasks, "aliases": {}}


def master():
    """The file that is there before the week. The two who are hired are staffed already."""
    rng = random.Random(11)
    workers = [worker_row(n, rng) for n in range(1, PEOPLE + 1)]
    staffed = [w["id"] for w in workers] + [HIRED, HIRED_LATE]
    return {"version": "2026-11-16", "workers": workers,
            "projects": [project_row(p) for p in range(1, PROJECTS + 1)],
            "assignments": [{"worker": w, "project": f"P-{100 + p}", "from": "2026-01-01", "to": None}
                            for w in staffed for p in range(1, PROJECTS + 1)],
            "labor_categories": [{"id": c, "name": c.capitalize(), "billable": True, "cost_rate": rate,
                                  "currency": CURRENCY[e]}
                                 for e, rates in RATES.items() for c, rate in rates.items()],
            "cost_centers": [{"id": c, "legal_entity": e} for e, list_ in CENTERS.items() for c in list_],
            "legal_entities": [{"id": e, "currency": c} for e, c in CURRENCY.items()]}


def hire(wid):
    """What HR sends of a new worker."""
    n = int(wid[2:])
    whole = worker_row(n, random.Random(n))
    return whole | {"version": 1, "changed_at": HR_TIME, "effective_from": HIRE_DAY, "name": f"Worker {n}",
                    "employment": [{"from": HIRE_DAY, "to": None}]}


def hr_changes():
    """In order of arrival; the first of the mover's overtook the second."""
    second, third = [c for c in CENTERS[DE] if c != at_first(MOVER)["cost_center"]]
    moved = {"id": MOVER, "changed_at": HR_TIME, "effective_from": MOVED_ON}
    return {"leaves": {"id": LEAVER, "version": 1, "changed_at": HR_TIME, "effective_from": LAST_DAY,
                       "employment": [{"from": "2024-01-01", "to": LAST_DAY}]},
            "moves": moved | {"version": 3, "cost_center": third},
            "moved before": moved | {"version": 2, "cost_center": second},
            "hired": hire(HIRED), "hired late": hire(HIRED_LATE)}


def at_first(wid):
    return next(w for w in master()["workers"] if w["id"] == wid)


def whole_master():
    """With the hired: what an ERP must know, for the ERP of `make demo ERP=tryton`."""
    made = master()
    of_event = ("version", "effective_from", "changed_at")
    made["workers"] += [{k: v for k, v in hire(w).items() if k not in of_event}
                        for w in (HIRED, HIRED_LATE)]
    return made


def as_lines(document):
    """JSON with a row a line."""
    members = []
    for name, value in document.items():
        text = json.dumps(value)
        if isinstance(value, list):
            text = "[\n" + ",\n".join(json.dumps(item) for item in value) + "\n]"
        members.append(f"{json.dumps(name)}: {text}")
    return "{" + ",\n".join(members) + "}\n"


FILES = {"master.json": lambda: as_lines(master()), "calendar.yaml": calendar, "jira.yaml": project_map}


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: acme.py --write    makes " + ", ".join(FILES) + " anew")
    for name, make in FILES.items():
        (HERE / name).write_text(make(), encoding="utf-8")
