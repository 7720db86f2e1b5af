-- wrk: POST a CloudEvent of about 1 KB, each with its own key and id. Arguments after `--`: the token
-- and a name for this run (keys of runs never meet). Prints what was not 2xx or 3xx.
local n, run, token = 0, "r", ""
local filler = string.rep("x", 700)

function init(args)
    token, run = args[1], args[2]
end

function request()
    n = n + 1
    local id = run .. "-" .. n
    local body = '{"specversion":"1.0","id":"' .. id .. '","source":"urn:acme:psa",'
        .. '"type":"com.tallygate.time_entry.approved.v1","datacontenttype":"application/json",'
        .. '"data":{"note":"' .. filler .. '"}}'
    return wrk.format("POST", nil, {
        ["Authorization"] = "Bearer " .. token, ["Idempotency-Key"] = id,
        ["Content-Type"] = "application/cloudevents+json" }, body)
end

function done(summary, latency)
    io.write(string.format("RESULT %d %d %d %.1f %.1f\n", summary.requests, summary.duration,
        summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
        + summary.errors.timeout, latency:percentile(50), latency:percentile(99)))
end
