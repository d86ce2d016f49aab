-- Load through one or two gateways for Pktgen-DPDK: clear packets leave by port 0 towards the
-- ports of a gateway, what comes out behind the tunnel arrives at port 1. docs/benchmarking.md
-- says how to start it. Settings are environment variables:
--
--   PENSTOCK_MAC      link address of the gateway's port (needed)
--   PENSTOCK_SRC      first source address, default 10.0.1.13
--   PENSTOCK_DST      first destination address, default 10.0.2.24
--   PENSTOCK_SRCS     number of source addresses, default 1
--   PENSTOCK_DSTS     number of destination addresses, default 1
--   PENSTOCK_SIZES    inner IP packet lengths, default 64,512,1420
--   PENSTOCK_RATES    per cent of the link's speed, or `search`: by bisection the highest rate at
--                     which no more than PENSTOCK_LOSS of the packets is lost; default search
--   PENSTOCK_LOSS     tolerated share, default 0
--   PENSTOCK_SECONDS  of one trial, default 10
--   PENSTOCK_STEPS    of a search, default 10: to a thousandth of the link's speed
--   PENSTOCK_OUT      file for the results, a JSON object a line; default standard output
--
-- One line a trial: what was sent, what arrived, packets a second, the share that was lost.

local FRAME = 18 -- Pktgen counts the frame with its header and checksum
local TX, RX = "0", "1"

local function setting(name, default)
	local value = os.getenv("PENSTOCK_" .. name)
	if value == nil or value == "" then
		if default == nil then
			print("PENSTOCK_" .. name .. " is not set")
			pktgen.quit()
			os.exit(2)
		end
		return default
	end
	return value
end

local mac = setting("MAC")
local src, dst = setting("SRC", "10.0.1.13"), setting("DST", "10.0.2.24")
local n_src, n_dst = tonumber(setting("SRCS", "1")), tonumber(setting("DSTS", "1"))
local seconds = tonumber(setting("SECONDS", "10"))
local tolerated = tonumber(setting("LOSS", "0"))
local steps = tonumber(setting("STEPS", "10"))
local rates = setting("RATES", "search")
local out = setting("OUT", "")
local file = out ~= "" and assert(io.open(out, "a")) or io.stdout

local function address_plus(text, n)
	local a, b, c, d = text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
	local v = ((a * 256 + b) * 256 + c) * 256 + d + n
	return string.format("%d.%d.%d.%d", v // 16777216 % 256, v // 65536 % 256, v // 256 % 256, v % 256)
end

local function range_of(set, first, last, step)
	set(TX, "start", first)
	set(TX, "min", first)
	set(TX, "max", last)
	set(TX, "inc", step)
end

local function traffic(size)
	local r = pktgen.range
	local one = n_src > 1 and "0.0.0.1" or "0.0.0.0"
	range_of(r.dst_mac, mac, mac, "00:00:00:00:00:00")
	range_of(r.src_ip, src, address_plus(src, n_src - 1), one)
	one = n_dst > 1 and "0.0.0.1" or "0.0.0.0"
	range_of(r.dst_ip, dst, address_plus(dst, n_dst - 1), one)
	range_of(r.src_port, 5000, 5000, 0)
	range_of(r.dst_port, 5001, 5001, 0)
	range_of(r.pkt_size, size + FRAME, size + FRAME, 0)
	r.ip_proto(TX, "udp")
	pktgen.set_range(TX, "on")
	pktgen.set(TX, "count", 0)
	pktgen.set(TX, "burst", 32)
end

-- Both ports' counters; Pktgen renews them once a second.
local function counters()
	pktgen.delay(2500)
	local sent = pktgen.portStats(TX, "port")[tonumber(TX)]
	local got = pktgen.portStats(RX, "port")[tonumber(RX)]
	return sent.opackets, got.ipackets
end

local function trial(size, rate)
	pktgen.set(TX, "rate", rate)
	local sent0, got0 = counters()
	pktgen.start(TX)
	pktgen.delay(math.floor(seconds * 1000))
	pktgen.stop(TX)
	local sent, got = counters()
	sent, got = sent - sent0, got - got0
	local lost = sent > 0 and math.max(0, 1 - got / sent) or 1
	file:write(string.format(
		'{"size": %d, "rate_percent": %.3f, "sent": %d, "received": %d, "sent_pps": %.0f, ' ..
		'"received_pps": %.0f, "loss": %.6f}\n',
		size, rate, sent, got, sent / seconds, got / seconds, lost))
	file:flush()
	return lost
end

local function search(size)
	local low, high = 0, 100
	for _ = 1, steps do
		local rate = (low + high) / 2
		if trial(size, rate) <= tolerated then
			low = rate
		else
			high = rate
		end
	end
	file:write(string.format('{"size": %d, "highest_percent": %.3f, "tolerated_loss": %g}\n', size, low, tolerated))
	file:flush()
end

pktgen.screen("off")
for size in setting("SIZES", "64,512,1420"):gmatch("%d+") do
	traffic(tonumber(size))
	if rates == "search" then
		search(tonumber(size))
	else
		for rate in rates:gmatch("[%d.]+") do
			trial(tonumber(size), tonumber(rate))
		end
	end
end
pktgen.quit()
