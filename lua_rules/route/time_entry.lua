-- What is owed for a valid time entry: labor cost to the ERP, hours to payroll. A destination gets
-- its posting only if the tenant has one of that name; `destinations` below says which names there
-- are, so that `tallygate check` and `serve` refuse a configuration with another one.

local MONEY_DIGITS = 2

local function has(list, name)
  for _, item in ipairs(list) do
    if item == name then
      return true
    end
  end
  return false
end

local function labor(entry, master, worker)
  local hours = decimal.of(entry.hours)
  local category = master:find("labor_category", entry.labor_category or worker.labor_category)
  local rate = decimal.of(category.cost_rate)
  local period = master:period(worker.legal_entity, entry.date)
  local amount = hours:mul(rate, "half_up"):round(MONEY_DIGITS, "half_up")
  return {
    destination = "erp",
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
  local worker = master:find("worker", entry.worker)
  local postings = array {}
  if has(ctx.destinations, "erp") then
    table.insert(postings, labor(entry, master, worker))
  end
  if has(ctx.destinations, "payroll") then
    table.insert(postings, pay(entry, master, worker))
  end
  return postings
end

-- A posting is taken back in its own period. Where that one is closed, nothing may change any more.
-- Pay periods have no state: payroll takes a negative line in the same run or in the next.
local function reversal(posting, master, _)
  if posting.kind ~= "labor" then
    return nil
  end
  local payload = posting.payload
  local period = master:period(payload.legal_entity, payload.posting_date or payload.date)
  if period and period.state == "open" then
    return nil
  end
  return {
    code = "period_closed",
    field = "date",
    message = string.format(
      "what was posted in period %s cannot be taken back there: the period is closed; reopen it",
      posting.period),
  }
end

return {destinations = {"erp", "payroll"}, plan = plan, reversal = reversal}
