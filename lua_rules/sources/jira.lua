-- Jira's worklog webhooks, worklog_created, worklog_updated and worklog_deleted:
-- com.atlassian.jira.worklog.v1, whose schema has been checked before. A worklog names its issue by id
-- only; what that is for us says the source's project map. Jira has no approval of worklogs: what is
-- logged counts as approved by who logged it, at the time of the change.

local hours = require "lib.hours"
local time = require "lib.time"

local NOTE_MAX_BYTES = 1000

local function refused(code, field, text, ...)
  return {{code = code, field = field, message = string.format(text, ...)}}
end

-- Cloud has accountId; Data Center key, and name on older worklogs.
local function account(user)
  return user.accountId or user.key or user.name
end

-- The project's part of an issue key, "WEB" of "WEB-12".
local function project_of(key)
  return re.match(key, [[^([A-Z][A-Z0-9_]*)-\d+$]])
end

-- By the issue's id, then by what only some senders add: its key, then its project.
local function mapped(body, master, ctx)
  local issue = body.issue or {}
  local found = master:mapped(ctx.source, "issues", body.worklog.issueId)
  if not found and issue.key then
    local project = project_of(issue.key)
    found = master:mapped(ctx.source, "issues", issue.key)
      or (project and master:mapped(ctx.source, "projects", project))
  end
  return found
end

-- The texts of Atlassian's document format, in order.
local function append_texts(node, list)
  if type(node.text) == "string" then
    table.insert(list, node.text)
  end
  if type(node.content) == "table" then
    for _, child in ipairs(node.content) do
      if type(child) == "table" then
        append_texts(child, list)
      end
    end
  end
end

-- At most so many bytes, never cut inside a character.
local function cut(text)
  if #text <= NOTE_MAX_BYTES then
    return text
  end
  local last = NOTE_MAX_BYTES
  while last > 0 and text:byte(last + 1) >= 0x80 and text:byte(last + 1) < 0xC0 do
    last = last - 1
  end
  return text:sub(1, last)
end

-- nil: none.
local function note_of(comment)
  local text = comment
  if type(comment) == "table" then
    local list = {}
    append_texts(comment, list)
    text = table.concat(list, " ")
  end
  if type(text) ~= "string" or text:trim() == "" then
    return nil
  end
  return cut(text:trim())
end

-- A deleted worklog still carries the time of its last change: what is later is the event itself.
local function withdrawal(body, updated, ctx)
  local log = body.worklog
  return {{
    kind = "time_entry",
    id = ctx.source .. "-" .. log.id,
    version = math.max(body.timestamp, updated.ms + 1),
    withdrawn = {
      by = account(log.updateAuthor or log.author),
      at = time.format(body.timestamp),
      reason = "the worklog was deleted in Jira",
    },
  }}
end

local function decode(_, body, master, ctx)
  local log = body.worklog
  local started, updated = time.parse(log.started), time.parse(log.updated)
  if not started or not updated then
    return refused("schema_invalid", started and "worklog/updated" or "worklog/started",
      "worklog %s has a time that does not exist: started %s, updated %s", log.id, log.started,
      log.updated)
  end
  if body.webhookEvent == "worklog_deleted" then
    return withdrawal(body, updated, ctx)
  end
  local work = mapped(body, master, ctx)
  if not work then
    return refused("project_unmapped", "worklog/issueId",
      "Jira issue %s is not in the project map of source %s; add a row, then change the worklog in Jira",
      (body.issue or {}).key or log.issueId, ctx.source)
  end
  return {{
    kind = "time_entry",
    id = ctx.source .. "-" .. log.id,
    version = updated.ms,
    worker = account(log.author),
    project = work.project,
    task = work.task,
    date = started.date,
    hours = hours.from_seconds(log.timeSpentSeconds),
    approved_at = updated.rfc3339,
    approved_by = account(log.updateAuthor or log.author),
    note = note_of(log.comment),
  }}
end

return {decode = decode}
