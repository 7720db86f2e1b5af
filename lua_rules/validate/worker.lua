-- May this change of a worker be taken? ctx.change has what the source may set (attributes), what it
-- may not (refused), and the worker as it would be on the first day of the change (row).

local Report = require "lib.report"

local REQUIRED = {
  "name", "legal_entity", "cost_center", "labor_category", "pay_code", "employment",
}

local function owners(refused)
  local list = {}
  for attribute, owner in pairs(refused) do
    table.insert(list, attribute .. " (" .. owner .. ")")
  end
  return table.concat(list, ", ")
end

local function check_ownership(report, change, ctx)
  local taken = 0
  for _ in pairs(change.attributes) do
    taken = taken + 1
  end
  if taken == 0 then
    Report.add(report, "not_owner", "attributes",
      "source %s owns nothing of what it sent: %s; correct ownership.yaml, or stop sending it",
      ctx.source, owners(change.refused))
  end
end

local function check_complete(report, change)
  for _, attribute in ipairs(REQUIRED) do
    if change.row[attribute] == nil then
      local owner = change.refused[attribute]
      Report.add(report, "worker_invalid", attribute, "worker %s has no %s on %s%s", change.name,
        attribute, change.from, owner and "; it may only come from " .. owner or "")
    end
  end
end

local function check_employment(report, change)
  local spans = change.attributes.employment or array {}
  for i, span in ipairs(spans) do
    local last = span.to
    if last ~= nil and last ~= null and last < span.from then
      Report.add(report, "worker_invalid", "employment", "employment of worker %s ends on %s, "
        .. "before it begins on %s", change.name, last, span.from)
    end
    local before = spans[i - 1]
    if before and (before.to == nil or before.to == null or before.to >= span.from) then
      Report.add(report, "worker_invalid", "employment",
        "the employment of worker %s that begins on %s is not over when the next begins on %s",
        change.name, before.from, span.from)
    end
  end
end

local function check_aliases(report, change, master)
  for source, alias in pairs(change.attributes.aliases or {}) do
    local other = alias ~= null and master:find("worker", alias, source)
    if other and other.id ~= change.name then
      Report.add(report, "worker_invalid", "aliases",
        "%s calls worker %s by the name %s already; end that alias first", source, other.id, alias)
    end
  end
end

-- Entity and cost center may have two owners that do not speak at once: only what comes together must
-- fit together. Until it does, time entries say so.
local function check_place(report, change, master)
  local said, entity, center = change.attributes, nil, nil
  if said.legal_entity then
    entity = master:find("legal_entity", said.legal_entity)
    if not entity then
      Report.add(report, "worker_invalid", "legal_entity",
        "legal entity %s of worker %s is not in the master data", said.legal_entity, change.name)
    end
  end
  if said.cost_center then
    center = master:find("cost_center", said.cost_center)
    if not center then
      Report.add(report, "cost_center_invalid", "cost_center",
        "cost center %s of worker %s is not in the master data", said.cost_center, change.name)
    end
  end
  if entity and center and center.legal_entity ~= entity.id then
    Report.add(report, "cost_center_invalid", "cost_center",
      "cost center %s belongs to legal entity %s, but worker %s to %s", center.id,
      center.legal_entity, change.name, entity.id)
  end
  if said.labor_category and not master:find("labor_category", said.labor_category) then
    Report.add(report, "labor_category_unknown", "labor_category",
      "labor category %s of worker %s is not in the master data", said.labor_category, change.name)
  end
end

local function check(_, master, ctx)
  local report, change = Report.new(), ctx.change
  check_ownership(report, change, ctx)
  check_complete(report, change)
  check_employment(report, change)
  check_aliases(report, change, master)
  check_place(report, change, master)
  return report.list
end

return {check = check}
