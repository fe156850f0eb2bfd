-- load: requests whose path and key come from a file, one "path key" a line, chosen evenly.

local heads = {}
local count, at = 0, 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    count = count + 1
    heads[count] = line
  end
  math.randomseed(7)
  in_order = arguments[2] == "in-order"
end

function request()
  if in_order then
    at = at % count + 1
  else
    at = math.random(count)
  end
  local path, key = heads[at]:match("^(%S+) (%S+)$")
  return "GET " .. path .. " HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer " .. key .. "\r\n\r\n"
end
