-- Add usage to a day's hash, under `owner:name`. When the day has as many owners as are counted separately, further
-- ones are added to `others`.
local function count_usage(usage, owner, name, by)
  local field = (owner or '') .. ':' .. name
  if redis.call('HEXISTS', usage, field) == 0 and redis.call('HLEN', usage) >= USAGE_FIELDS then field = USAGE_OTHERS .. ':' .. name end
  redis.call('HINCRBYFLOAT', usage, field, by)
  redis.call('EXPIRE', usage, USAGE_LIFE_S)
end

-- A time in ISO 8601 as seconds since a fixed day; nil for text that is no time.
local function seconds_of(iso)
  local year, month, day, hour, minute, second = string.match(iso, '^(%d+)-(%d+)-(%d+)T(%d+):(%d+):([%d.]+)')
  if not year then return nil end
  year, month = tonumber(year), tonumber(month) - 3
  if month < 0 then year, month = year - 1, month + 12 end
  local days = 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
    + math.floor((153 * month + 2) / 5) + tonumber(day)
  return ((days * 24 + tonumber(hour)) * 60 + tonumber(minute)) * 60 + tonumber(second)
end
