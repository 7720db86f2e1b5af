-- A list of violations, each in words a person can act on. Codes and owners: conf/catalogue.yaml.

local Report = {}

function Report.new()
  return {list = array {}}
end

function Report.add(report, code, field, text, ...)
  table.insert(report.list, {code = code, field = field, message = string.format(text, ...)})
end

-- The last violation passes by itself once this is there.
function Report.wait(report, name)
  report.list[#report.list].waits_for = name
end

return Report
