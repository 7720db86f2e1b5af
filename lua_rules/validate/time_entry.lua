-- May this time entry be posted? Every violation at once. The worker is who he was on the entry's day.

local erp_of = require "lib.erp"
local Report = require "lib.report"

local HOURS_MAX = 24

-- The entry of a dated list that says the state of a day: of those that hold it, the latest.
local function entry_of(list, date)
  local found
  for _, span in ipairs(list) do
    local open_end = span.to == nil or span.to == null
    if span.from <= date and (open_end or date <= span.to) and (not found or span.from >= found.from) then
      found = span
    end
  end
  return found
end

-- "has been closed since 2026-11-01", or why it is not open otherwise.
local function why_not_open(list, date)
  local span = entry_of(list, date)
  if span then
    return string.format("has been %s since %s", span.state, span.from)
  end
  return string.format("is not open on %s", date)
end

local function last_day(list)
  local last
  for _, span in ipairs(list) do
    if span.to ~= nil and span.to ~= null and (not last or span.to > last) then
      last = span.to
    end
  end
  return last
end

local function check_worker(report, entry, master)
  local worker = master:find("worker", entry.worker, nil, entry.date)
  if not worker then
    Report.add(report, "worker_unknown", "worker",
      "worker %s is not in the master data; add the worker, or correct the identifier in the source",
      entry.worker)
    Report.wait(report, "worker:" .. entry.worker)
    return nil
  end
  if not master:in_force(worker.employment, entry.date) then
    local last = last_day(worker.employment)
    local detail = ""
    if last and last < entry.date then
      detail = string.format(" (last day %s)", last)
    end
    Report.add(report, "worker_inactive", "worker",
      "worker %s is not employed on %s%s; correct the date or the employment dates",
      worker.id, entry.date, detail)
  end
  return worker
end

local function check_task(report, entry, master, project)
  for _, task in ipairs(project.tasks) do
    if task.id == entry.task then
      if not master:in_force(task.states, entry.date, "open") then
        Report.add(report, "task_closed", "task",
          "task %s of project %s %s; ask the project's manager to reopen it or to move the time",
          task.id, project.id, why_not_open(task.states, entry.date))
      end
      return
    end
  end
  Report.add(report, "task_unknown", "task",
    "project %s has no task %s; add the task, or correct it in the source", project.id, entry.task)
end

local function check_project(report, entry, master)
  local project = master:find("project", entry.project)
  if not project then
    Report.add(report, "project_unknown", "project",
      "project %s is not in the master data; add the project, or correct the identifier in the source",
      entry.project)
    Report.wait(report, "project:" .. entry.project)
    return nil
  end
  if not master:in_force(project.states, entry.date, "open") then
    Report.add(report, "project_closed", "project",
      "project %s %s; ask the project's manager to reopen it or to move the time",
      project.id, why_not_open(project.states, entry.date))
  end
  check_task(report, entry, master, project)
  return project
end

local function check_assignment(report, entry, master, worker, project)
  if worker and project and not master:assignment(worker.id, project.id, entry.date) then
    Report.add(report, "assignment_missing", "project",
      "worker %s is not assigned to project %s on %s; add the assignment, or correct the entry",
      worker.id, project.id, entry.date)
    Report.wait(report, "assignment:" .. worker.id .. "/" .. project.id)
  end
end

local function check_labor_category(report, entry, master, worker)
  local category = entry.labor_category or (worker and worker.labor_category)
  if category and not master:find("labor_category", category) then
    Report.add(report, "labor_category_unknown", "labor_category",
      "labor category %s is not in the master data; without it there is no cost rate", category)
  end
end

local function check_cost_center(report, master, worker)
  if not worker then
    return
  end
  local center = master:find("cost_center", worker.cost_center)
  if not center then
    Report.add(report, "cost_center_invalid", "worker",
      "cost center %s of worker %s is not in the master data", worker.cost_center, worker.id)
  elseif center.legal_entity ~= worker.legal_entity then
    Report.add(report, "cost_center_invalid", "worker",
      "cost center %s belongs to legal entity %s, but worker %s to %s",
      center.id, center.legal_entity, worker.id, worker.legal_entity)
  end
end

-- What the calendar wants of a day in a closed period: a person, patience, or the next open period.
local function check_closed(report, entry, master, entity, period)
  local policy = master:closed_periods()
  if policy == "next_open" and master:next_open_period(entity, entry.date) then
    return
  end
  if policy == "next_open" then
    Report.add(report, "period_closed", "date",
      "accounting period %s is closed and no open one follows; add the next period to the calendar",
      period.id)
    return
  end
  Report.add(report, "period_closed", "date",
    "accounting period %s is closed; reopen it, or book the time on a day of an open period",
    period.id)
  if policy == "hold" then
    Report.wait(report, "period:" .. period.id)
  end
end

local function check_calendar(report, entry, master, worker)
  local entity = worker and worker.legal_entity
  local period = master:period(entity, entry.date)
  if not period then
    Report.add(report, "period_unknown", "date",
      "no accounting period holds %s; add the period to the calendar", entry.date)
  elseif period.state ~= "open" then
    check_closed(report, entry, master, entity, period)
  end
  if not master:pay_cycle(entity, entry.date) then
    Report.add(report, "pay_cycle_unknown", "date",
      "no pay cycle holds %s; add the pay cycle to the calendar", entry.date)
  end
end

local function check_hours(report, entry)
  local hours = decimal.of(entry.hours)
  if hours <= decimal.of(0) or hours > decimal.of(HOURS_MAX) then
    Report.add(report, "hours_invalid", "hours",
      "%s hours on one day; they must be more than 0 and at most %d", hours, HOURS_MAX)
  end
end

-- Where some legal entities have an ERP of their own, one that has none would be passed over in silence.
local function check_erp(report, worker, destinations)
  if not worker then
    return
  end
  local erp, any = erp_of(destinations, worker.legal_entity)
  if any and not erp then
    Report.add(report, "no_destination", "worker",
      "legal entity %s of worker %s has no ERP: the tenant has neither a destination erp.%s nor erp",
      worker.legal_entity, worker.id, worker.legal_entity)
  end
end

local function check(entry, master, ctx)
  local report = Report.new()
  local worker = check_worker(report, entry, master)
  local project = check_project(report, entry, master)
  check_assignment(report, entry, master, worker, project)
  check_labor_category(report, entry, master, worker)
  check_cost_center(report, master, worker)
  check_calendar(report, entry, master, worker)
  check_hours(report, entry)
  check_erp(report, worker, ctx.destinations)
  return report.list
end

return {check = check}
