-- For wrk: asks without end with tokens that are there and with random ones that are not, from ever other addresses.
-- Arguments: a folder as of draws.lua, where head ends before the token; and a seed.

local bit = require "bit"
local letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
local head, tail, tokens, length, count
local crc = {}

for byte = 0, 255 do
  local value = byte
  for _ = 1, 8 do
    value = bit.bxor(bit.rshift(value, 1), bit.band(value, 1) == 1 and 0xEDB88320 or 0)
  end
  crc[byte] = value
end

local function contents(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- CRC-32 of the text, in six digits to the base 62.
local function checksum(text)
  local value = bit.bnot(0)
  for at = 1, #text do
    value = bit.bxor(bit.rshift(value, 8), crc[bit.band(bit.bxor(value, text:byte(at)), 255)])
  end
  local number, digits = bit.bnot(value) % 4294967296, ""
  for _ = 1, 6 do
    local digit = number % 62
    digits, number = letters:sub(digit + 1, digit + 1) .. digits, (number - digit) / 62
  end
  return digits
end

local function some(length)
  local text = {}
  for at = 1, length do
    local letter = math.random(62)
    text[at] = letters:sub(letter, letter)
  end
  return table.concat(text)
end

function init(arguments)
  local folder = arguments[1]
  head, tail, tokens = contents(folder .. "/head"), contents(folder .. "/tail"), contents(folder .. "/tokens")
  length = tokens:find("\n", 1, true)
  count = #tokens / length
  math.randomseed(tonumber(arguments[2]))
end

function request()
  local first = (math.random(count) - 1) * length
  local token, kind = tokens:sub(first + 1, first + length - 1), math.random(8)
  if kind == 1 then
    token = token:sub(1, -2) .. "-"
  elseif kind == 2 then
    local wrong = token:sub(1, 17) .. some(32)
    token = wrong .. checksum(wrong)
  elseif kind <= 4 then
    local unknown = "kg_s_" .. some(44)
    token = unknown .. checksum(unknown)
  end
  local address = string.format("10.%d.%d.%d", math.random(255), math.random(255), math.random(254))
  return (head:gsub("192%.0%.2%.7", address)) .. token .. tail
end

function done(summary)
  io.write(string.format('\n{"count": %d, "refused": %d}\n', summary.requests, summary.errors.status))
end
