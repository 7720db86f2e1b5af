-- What is owed for a valid time entry: labor cost to the ERP of the worker's legal entity, hours to
-- payroll. A destination gets its posting only if the tenant has one of that name; `destinations` below
-- says which names there are, so that `tallygate check` and `serve` refuse a configuration with another
-- one.

local erp_of = require "lib.erp"

local MONEY_DIGITS = 2

local function has(list, name)
  for _, item in ipairs(list) do
    if item == name then
      return true
    end
  end
  return false
end

-- In which period a day is booked, and on which day of it when the day's own period is closed: the day
-- of the work stays what it was.
local function booking(master, legal_entity, date)
  local period = master:period(legal_entity, date)
  if not period or period.state == "open" or master:closed_periods() ~= "next_open" then
    return period
  end
  local next = master:next_open_period(legal_entity, date)
  return next, next and next.from
end

local function labor(entry, master, worker, destination)
  local hours = decimal.of(entry.hours)
  local category = master:find("labor_category", entry.labor_category or worker.labor_category)
  local rate = decimal.of(category.cost_rate)
  local period, posting_date = booking(master, worker.legal_entity, entry.date)
  local amount = hours:mul(rate, "half_up"):round(MONEY_DIGITS, "half_up")
  return {
    destination = destination,
    kind = "labor",
    leg = "cost",
    period = period.id,
    quantity = hours:format(0),
    payload = {
      entry = entry.id,
      version = entry.version,
      date = entry.date,
      period = period.id,
      worker = worker.id,
      project = entry.project,
      task = entry.task,
      legal_entity = worker.legal_entity,
      cost_center = worker.cost_center,
      labor_category = category.id,
      hours = hours:format(2),
      cost_rate = rate:format(MONEY_DIGITS),
      amount = amount:format(MONEY_DIGITS),
      currency = category.currency,
      posting_date = posting_date,
    },
  }
end

local function pay(entry, master, worker)
  local hours = decimal.of(entry.hours)
  local cycle = master:pay_cycle(worker.legal_entity, entry.date)
  return {
    destination = "payroll",
    kind = "hours",
    leg = "regular",
    period = cycle.id,
    quantity = hours:format(0),
    payload = {
      entry = entry.id,
      version = entry.version,
      date = entry.date,
      pay_period = cycle.id,
      worker = worker.id,
      pay_code = worker.pay_code,
      hours = hours:format(2),
    },
  }
end

local function plan(entry, master, ctx)
  local worker = master:find("worker", entry.worker, nil, entry.date)
  local postings = array {}
  local erp = erp_of(ctx.destinations, worker.legal_entity)
  if erp then
    table.insert(postings, labor(entry, master, worker, erp))
  end
  if has(ctx.destinations, "payroll") then
    table.insert(postings, pay(entry, master, worker))
  end
  return postings
end

-- A posting is taken back in its own period while that one is open, else as the calendar says. Pay
-- periods have no state: payroll takes a negative line in the same run.
local function reversal(posting, master, _)
  if posting.kind ~= "labor" then
    return nil
  end
  local payload = posting.payload
  local day = payload.posting_date or payload.date
  local own = master:period(payload.legal_entity, day)
  if own and own.state == "open" then
    return nil
  end
  local period, posting_date = booking(master, payload.legal_entity, day)
  if period and posting_date then
    payload.period = period.id
    payload.posting_date = posting_date
    return {period = period.id, payload = payload}
  end
  local refusal = {
    code = "period_closed",
    field = "date",
    message = string.format(
      "what was posted in period %s cannot be taken back there: the period is closed; reopen it",
      posting.period),
  }
  if own and master:closed_periods() == "hold" then
    refusal.waits_for = "period:" .. own.id
  end
  return refusal
end

return {destinations = {"erp", "erp.*", "payroll"}, plan = plan, reversal = reversal}
