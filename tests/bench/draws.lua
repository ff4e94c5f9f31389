-- For wrk: asks with the tokens of a folder as they were drawn beforehand, and says in JSON what came of it.
-- Arguments: the folder, the name of the file with the draws in it (numbers of tokens, four bytes each, little end first),
-- and with which draw to begin.

local head, tail, tokens, length, draws, at

local function contents(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function init(arguments)
  local folder = arguments[1]
  head, tail, tokens = contents(folder .. "/head"), contents(folder .. "/tail"), contents(folder .. "/tokens")
  length = tokens:find("\n", 1, true)
  draws = contents(folder .. "/" .. arguments[2])
  at = tonumber(arguments[3]) * 4 % #draws
end

function request()
  local a, b, c, d = draws:byte(at + 1, at + 4)
  at = (at + 4) % #draws
  local first = (a + 256 * (b + 256 * (c + 256 * d))) * length
  return head .. tokens:sub(first + 1, first + length - 1) .. tail
end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    '\n{"count": %d, "seconds": %f, "errors": %d}\n', summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
