-- For wrk: sends the requests of a file (each ended by a NUL) in a circle, and says in JSON what came of it.

local requests, next_one = {}, 0

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  for request in file:read("*a"):gmatch("([^%z]+)%z") do requests[#requests + 1] = request end
  file:close()
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    '\n{"count": %d, "seconds": %f, "errors": %d}\n', summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
