-- Requests to the example proxy. Each thread has one connection, so a response belongs to the last request.

local words = {"fail", "stall", "again"}
local places = {
  "proxy.transaction.started", "proxy.transaction.message", "proxy.filter.request", "proxy.filter.response",
  "proxy.transaction.ended",
}
local threads = {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
end

function init(arguments)
  math.randomseed(tonumber(arguments[1]) * 1000 + number)
  statuses, wrong, examples = {}, 0, {}
end

local function pattern(size)
  return string.rep("0123456789abcdef", math.floor(size / 16) + 1):sub(1, size)
end

-- Each kind returns a path, the expected status and body, and the body of a POST. A nil body is not compared.
local kinds = {
  function() local name = math.random(1e9); return "/hello/" .. name, 200, "Hello, " .. name .. "!\n" end,
  function() local body = pattern(math.random(0, 20000)); return "/echo", 201, body, body end,
  function() local size = math.random(0, 40000); return "/chunked/" .. size, 200, pattern(size) end,
  function() return "/cacheable/" .. math.random(100), 200 end,
  function() return "/private/" .. math.random(1e9), 403, "this is private\n" end,
  function() return "/broken", 502, "the upstream failed\n" end,
  function() return "/nowhere/" .. math.random(1e9), 404, "nothing here\n" end,
}

function request()
  local path, status, body, sent = kinds[math.random(#kinds)]()
  if math.random() < 0.4 then
    local word, place = words[math.random(#words)], places[math.random(#places)]
    path = path .. "?" .. word .. "=" .. place
    if word == "fail" and place ~= "proxy.transaction.ended" then
      status, body = 500, "the proxy failed\n"
    end
  end
  expected = {path = path, status = status, body = body}
  return wrk.format(sent and "POST" or "GET", path, nil, sent)
end

function response(status, headers, body)
  statuses[status] = (statuses[status] or 0) + 1
  if status ~= expected.status or (expected.body and body ~= expected.body) then
    wrong = wrong + 1
    if #examples < 3 then
      table.insert(examples, string.format("%s: %d instead of %d, %q", expected.path, status, expected.status, body:sub(1, 80)))
    end
  end
end

function done(summary, latency)
  local total, sum = {}, 0
  for _, thread in ipairs(threads) do
    sum = sum + thread:get("wrong")
    for status, count in pairs(thread:get("statuses")) do
      total[status] = (total[status] or 0) + count
    end
    for _, example in ipairs(thread:get("examples")) do
      io.write("wrong ", (example:gsub("\n", " ")), "\n")
    end
  end
  for status, count in pairs(total) do
    io.write("status ", status, " ", count, "\n")
  end
  for name, count in pairs(summary.errors) do
    if name ~= "status" then io.write("error ", name, " ", count, "\n") end
  end
  io.write("figure wrong ", sum, "\nfigure p50 ", latency:percentile(50), "\nfigure p99 ", latency:percentile(99), "\n")
end
