-- Keygate behind HAProxy (2.6 or later, built with Lua): an action that asks before the request goes on.
--
--   lua-load keygate.lua                                       in "global"
--   http-request lua.keygate http://127.0.0.1:9180             in the frontend, and after it:
--   http-request deny deny_status 503 unless { var(txn.keygate_allowed) -m bool }
--
-- The second line is the guard. An error in a Lua action does not stop a request: only the variable that is
-- set at the very end does let it pass.

-- What Keygate says about the caller: the whole set, removed or overwritten on every request.
local identity = {
  "X-Auth-Account",
  "X-Auth-Kind",
  "X-Auth-Site",
  "X-Auth-Access",
  "X-Auth-Via",
  "X-Auth-Credential",
  "X-Auth-Name",
  "X-Auth-Email",
  "X-Auth-Request-Id",
}

-- What Keygate gets to see of the request, all values of each, so that a doubled one can be refused.
local judged = {
  "authorization", "cookie", "content-type", "x-http-method", "x-http-method-override", "x-method-override",
  "accept", "origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-websocket-version",
}

-- What a refused client gets to see.
local shown = {
  "www-authenticate", "location", "set-cookie", "cache-control", "retry-after", "x-auth-reason", "x-auth-request-id",
}

-- Somebody who is on his way to see a page gets one that says why he may not; programs get the bare status.
local function wants_page(request, method)
  local function one(name) return #(request[name] or {}) == 0 and (request[name] or {})[0] end
  if method ~= "GET" then return false end
  local mode, dest = one("sec-fetch-mode"), one("sec-fetch-dest")
  if mode or dest then return mode == "navigate" and dest == "document" end
  return (one("accept") or ""):find("text/html", 1, true) ~= nil
end

-- HAProxy counts the values of a header from 0, its HTTP client from 1.
local function values(headers, name)
  local list = {}
  local value = headers[name]
  local index = 0
  while value and value[index] do
    list[#list + 1] = value[index]
    index = index + 1
  end
  return list
end

-- Keygate's cookie opens doors and is not the application's business; other cookies stay.
local function keep_cookie_back(txn, request)
  local kept = {}
  for _, value in ipairs(values(request, "cookie")) do
    for cookie in value:gmatch("[^;]+") do
      local name = cookie:match("^%s*([^=%s]*)")
      local ours = name == "keygate" or name == "keygate-check" or name == "keygate-nonce" or name == "keygate-form"
        or name:sub(1, 14) == "__Host-keygate"
      if not ours then kept[#kept + 1] = cookie:match("^%s*(.-)%s*$") end
    end
  end
  txn.http:req_del_header("cookie")
  if #kept > 0 then txn.http:req_set_header("cookie", table.concat(kept, "; ")) end
end

local function refuse(txn, status, headers)
  local reply = txn:reply({ status = status })
  for _, name in ipairs(shown) do
    for _, value in ipairs(values(headers, name)) do
      reply:add_header(name, value)
    end
  end
  txn:done(reply)
end

core.register_action("keygate", { "http-req" }, function(txn, server)
  local request = txn.http:req_get_headers()
  local asked = {}
  for _, name in ipairs(judged) do
    local list = values(request, name)
    if #list > 0 then asked[name] = list end
  end

  -- The request to be judged. It is built from nothing: no header of the client's describes it.
  asked["x-original-method"] = { txn.sf:method() }
  asked["x-original-uri"] = { txn.sf:pathq() }
  asked["x-original-host"] = values(request, "host")
  asked["x-original-proto"] = { txn.f:ssl_fc() == 1 and "https" or "http" }
  asked["x-real-ip"] = { txn.sf:src() }
  -- With check.proxy_secret_file in Keygate's configuration:
  -- asked["x-auth-proxy-secret"] = { "…" }

  local answer = core.httpclient():head({
    url = server .. "/auth/haproxy",
    headers = asked,
    timeout = 5000,
  })

  if not answer or answer.status ~= 200 then
    local status = answer and answer.status or 503
    -- 0 is no answer; whatever else is not a refusal that Keygate gives is none of its answers.
    if status < 300 or status > 599 then status = 503 end
    if status == 403 and wants_page(request, txn.sf:method()) then
      -- The request becomes one for Keygate's own page, and goes nowhere else: see the frontend.
      local reason = values(answer.headers, "x-auth-reason")[1] or ""
      local id = values(answer.headers, "x-auth-request-id")[1] or ""
      txn:set_var("txn.keygate_why", "/.keygate/why?reason=" .. reason .. "&id=" .. id)
      return
    end
    return refuse(txn, status, answer and answer.headers or {})
  end

  for _, name in ipairs(identity) do
    local value = values(answer.headers, name:lower())[1]
    txn.http:req_del_header(name)
    if value and value ~= "" then txn.http:req_set_header(name, value) end
  end
  keep_cookie_back(txn, request)
  txn:set_var("txn.keygate_allowed", true)
end, 1)
