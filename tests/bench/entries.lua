-- wrk: approved time entries, each its own event, at a steady pace: every connection waits so long
-- between two requests that all together send RATE a second. After `--`: token, run's name, rate,
-- connections.
local n, run, token, pause_ms = 0, "r", "", 0

function init(args)
    token, run = args[1], args[2]
    pause_ms = 1000 * tonumber(args[4]) / tonumber(args[3])
end

function delay()
    return pause_ms
end

function request()
    n = n + 1
    local id = run .. "-" .. n
    local body = string.format('{"specversion":"1.0","id":"evt-%s","source":"urn:acme:psa",'
        .. '"type":"com.tallygate.time_entry.approved.v1","datacontenttype":"application/json",'
        .. '"data":{"id":"TE-%s","version":1,"worker":"W-%03d","project":"P-%d","task":"T-%d",'
        .. '"date":"2026-11-16","hours":"1.25","approved_by":"W-001",'
        .. '"approved_at":"2026-11-20T17:00:00Z"}}', id, id, n % 39 + 1, 101 + n % 11, n % 3 + 1)
    return wrk.format("POST", nil, {
        ["Authorization"] = "Bearer " .. token, ["Idempotency-Key"] = id,
        ["Content-Type"] = "application/cloudevents+json" }, body)
end

function done(summary, latency)
    io.write(string.format("RESULT %d %d %d %.1f %.1f\n", summary.requests, summary.duration,
        summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
        + summary.errors.timeout, latency:percentile(50), latency:percentile(99)))
end
