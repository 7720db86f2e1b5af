#!/usr/bin/python3
"""Fills a fresh Tryton database with what a master data file names: run by tests/harness/tryton.py.

Works in-process through proteus, so no server is needed; the database is new, nothing is looked for first.
The file has the shape of conf/demo/master.json: legal entities become companies (party code = id), workers
become employees of their legal entity (party code = id), clients parties, projects and tasks become works
named by their ids in every company that has a worker assigned to them. `users` is a list of
{login, password, groups}.

usage: tryton_bootstrap.py CONFIG DATABASE_URI MASTER_JSON
"""
import datetime as dt
import json
import sys
from decimal import Decimal

from proteus import Model, Wizard, config

NUMERIC = {"EUR": "978", "GBP": "826", "USD": "840", "CHF": "756"}
PRICE = Decimal("120.00")


def day(text):
    return dt.date.fromisoformat(text) if text else None


def one(model, *domain):
    return Model.get(model).find(list(domain), limit=1)[0]


def currencies(master):
    """One a code, each with a rate, so that amounts of two companies can be compared."""
    made = {}
    for n, code in enumerate(sorted({e["currency"] for e in master["legal_entities"]} | {"EUR"})):
        c = Model.get("currency.currency")(name=code, code=code, symbol=code,
                                           numeric_code=NUMERIC.get(code, f"{900 + n}"),
                                           rounding=Decimal("0.01"), digits=2)
        c.rates.new(date=dt.date(2020, 1, 1), rate=Decimal(1) if code == "EUR" else Decimal("0.85"))
        c.save()
        made[code] = c.id
    return made


def companies(cfg, master, codes):
    """{legal entity: company id}; admin may work in all of them."""
    made = {}
    for entity in master["legal_entities"]:
        party = Model.get("party.party")(name=entity.get("name") or entity["id"], code=entity["id"])
        party.save()
        company = Model.get("company.company")(party=party, currency=codes[entity["currency"]])
        company.save()
        made[entity["id"]] = company.id
    admin = one("res.user", ("login", "=", "admin"))
    for company_id in made.values():
        admin.companies.append(Model.get("company.company")(company_id))
    admin.company_filter = "all"  # else rules show the current company's records alone, whatever the context
    admin.company = Model.get("company.company")(next(iter(made.values())))
    admin.save()
    cfg._context = Model.get("res.user").get_preferences(True, {})
    return made


def accounting(company, years):
    """Chart of accounts, fiscal years with periods, the product that is sold: needed to invoice."""
    account = Model.get("account.account")
    root = one("ir.model.data", ("module", "=", "account"), ("fs_id", "=", "account_template_root_en"))
    chart = Wizard("account.create_chart")
    chart.execute("account")
    chart.form.account_template = Model.get("account.account.template")(root.db_id)
    chart.form.company = Model.get("company.company")(company)
    chart.execute("create_account")
    of_company = ("company", "=", company)
    chart.form.account_receivable = account.find([of_company, ("type.receivable", "=", True)], limit=1)[0]
    chart.form.account_payable = account.find([of_company, ("type.payable", "=", True)], limit=1)[0]
    chart.execute("create_properties")
    revenue, = account.find([of_company, ("type.revenue", "=", True)], limit=1)
    expense, = account.find([of_company, ("type.expense", "=", True)], limit=1)
    for year in years:
        moves = Model.get("ir.sequence")(name=f"Moves {year}", company=company,
                                         sequence_type=one("ir.sequence.type", ("name", "=", "Account Move")))
        moves.save()
        numbers = Model.get("ir.sequence.strict")(
            name=f"Invoices {year}", company=company, prefix=f"{year}/",
            sequence_type=one("ir.sequence.type", ("name", "=", "Invoice")))
        numbers.save()
        fiscal = Model.get("account.fiscalyear")(name=str(year), company=company, post_move_sequence=moves,
                                                 start_date=dt.date(year, 1, 1),
                                                 end_date=dt.date(year, 12, 31))
        sequence, = fiscal.invoice_sequences
        for field in ("out_invoice", "in_invoice", "out_credit_note", "in_credit_note"):
            setattr(sequence, f"{field}_sequence", numbers)
        fiscal.save()
        fiscal.click("create_period")
    category = Model.get("product.category")(name=f"Consulting {company}", accounting=True,
                                             account_revenue=revenue, account_expense=expense)
    category.save()
    template = Model.get("product.template")(name=f"Consulting hour {company}", type="service",
                                             default_uom=one("product.uom", ("name", "=", "Hour")),
                                             list_price=PRICE, account_category=category)
    template.save()
    return template.products[0].id


def clients(master):
    term = Model.get("account.invoice.payment_term")(name="Direct")
    term.lines.new(type="remainder")
    term.save()
    parties = [Model.get("party.party")(name=f"Client {c}", code=c, customer_payment_term=term)
               for c in sorted({p["client"] for p in master["projects"]})]
    Model.get("party.party").save(parties)
    return {p.code: p.id for p in parties}


def employees(master, made_companies):
    """Each with a cost price, the rate of the labor category."""
    rates = {c["id"]: Decimal(c["cost_rate"]) for c in master["labor_categories"]}
    parties = [Model.get("party.party")(name=w["name"], code=w["id"]) for w in master["workers"]]
    Model.get("party.party").save(parties)
    made = []
    for w, party in zip(master["workers"], parties):
        times = w["employment"]
        end = max((t["to"] or "9999" for t in times))
        made.append(Model.get("company.employee")(
            party=party, company=made_companies[w["legal_entity"]],
            start_date=day(min(t["from"] for t in times)), end_date=day(end if end != "9999" else None)))
    Model.get("company.employee").save(made)
    prices = [Model.get("company.employee_cost_price")(employee=e, date=dt.date(2020, 1, 1),
                                                       cost_price=rates[w["labor_category"]])
              for w, e in zip(master["workers"], made)]
    Model.get("company.employee_cost_price").save(prices)


def open_until(*states):
    """The last day on which the last of the given lists of states is open; None: no end is known."""
    ends = []
    for rows in states:
        last = max((r["to"] or "9999" for r in rows if r["state"] == "open"), default="1970-01-01")
        if last != "9999":
            ends.append(last)
    return day(min(ends)) if ends else None


def works(projects, company, product, parties):
    """Projects and their tasks as works of one company, named by their ids."""
    work = Model.get("project.work")
    common = {"company": company, "product": product, "list_price": PRICE, "timesheet_available": True}
    made = []
    for p in projects:
        top = work(name=p["id"], type="project", party=parties[p["client"]],
                   project_invoice_method="timesheet", timesheet_end_date=open_until(p["states"]), **common)
        for t in p["tasks"]:
            top.children.append(work(name=t["id"], type="task",
                                     timesheet_end_date=open_until(p["states"], t["states"]), **common))
        made.append(top)
    work.save(made)


def users(master, made_companies):
    group = {g.name: g for g in Model.get("res.group").find([])}
    ids = list(made_companies.values())
    for row in master["users"]:
        user = Model.get("res.user")(login=row["login"], name=row["login"])
        for company in ids:
            user.companies.append(Model.get("company.company")(company))
        user.company, user.company_filter = Model.get("company.company")(ids[0]), "all"
        for name in row["groups"]:
            user.groups.append(Model.get("res.group")(group[name].id))
        user.password = row["password"]
        user.save()


def worked_in(master, entity):
    """Projects for which a worker of the legal entity is assigned, or that are its own."""
    home = {w["id"]: w["legal_entity"] for w in master["workers"]}
    assigned = {a["project"] for a in master["assignments"] if home.get(a["worker"]) == entity}
    return [p for p in master["projects"] if p["legal_entity"] == entity or p["id"] in assigned]


def main():
    cfg_file, uri, source = sys.argv[1:]
    with open(source, encoding="utf-8") as f:
        master = json.load(f)
    cfg = config.set_trytond(uri, user="admin", config_file=cfg_file)
    made = companies(cfg, master, currencies(master))
    parties = clients(master)
    employees(master, made)
    for entity, company in made.items():
        with cfg.set_context(company=company):
            product = accounting(company, master["years"])
            works(worked_in(master, entity), company, product, parties)
    users(master, made)


main()
