-- SPDX-License-Identifier: Apache-2.0
--
-- Wireshark dissector of the SAL (Service Access Layer) header.  The format is
-- defined in ofp-ext/sal.h; tests/dissector/ checks that LAYOUT and the tables
-- of names below agree with it, so keep each entry on a line of its own.
--
--     wireshark -X lua_script:tests/dissector/salient.lua capture.pcap
--     tshark -X lua_script:tests/dissector/salient.lua -Y sal -r capture.pcap

-- LAYOUT begins.
local UDP_PORT = 6090
local OFS_VERSION = 0
local OFS_HEADER_LEN = 1
local OFS_TYPE = 2
local OFS_PROTO = 3
local OFS_SRC_FLOW = 4
local OFS_DST_FLOW = 8
local OFS_FLAGS_CLASS = 12
local OFS_INNER = 13
local OFS_CHECKSUM = 14
local OFS_SEQ = 16
local OFS_ACK = 20
local OFS_NONCE = 24
local OFS_SERVICE = 32
local OFS_OPTIONS = 64
local DATA_HEADER_LEN = 16
local CONTROL_HEADER_LEN = 32
local SERVICE_HEADER_LEN = 64
local SERVICE_ID_LEN = 32
local VERSION = 1
local TYPE_SERVICE_BIT = 0x10
local FLAG_RETRY = 0x80
local FLAG_HOP_MASK = 0x60
local FLAGS_MASK = 0xf0
local PATH_CLASS_MASK = 0x0f
local INNER_IPV4 = 4
local INNER_IPV6 = 41
local INNER_NONE = 59

local TYPES = {
    [0x01] = "DATA",
    [0x02] = "ACK",
    [0x03] = "FIN",
    [0x04] = "RESET",
    [0x05] = "RSYN_ACK",
    [0x06] = "RSYN_DONE",
    [0x11] = "SYN",
    [0x12] = "SYN_ACK",
    [0x13] = "RSYN",
    [0x14] = "DATAGRAM",
    [0x15] = "PROBE",
}

local OPTIONS = {
    [0] = "PAD",
    [1] = "ENDPOINT_ID",
    [2] = "PUBLIC_KEY",
    [3] = "LOCATOR4",
    [4] = "LOCATOR6",
    [5] = "MAC",
    [6] = "MIGRATION",
    [7] = "CHALLENGE",
    [8] = "FLOWS",
}
-- LAYOUT ends.

local INNERS = {[INNER_IPV4] = "IPv4", [INNER_IPV6] = "IPv6",
                [INNER_NONE] = "none"}
local PROTOS = {[1] = "ICMP", [6] = "TCP", [17] = "UDP"}

local sal = Proto("sal", "Service Access Layer")
local f = sal.fields
f.version = ProtoField.uint8("sal.version", "Version", base.DEC, nil, 0xf0)
f.header_len = ProtoField.uint8("sal.header_len", "Header length (words)")
f.type = ProtoField.uint8("sal.type", "Type", base.HEX, TYPES)
f.proto = ProtoField.uint8("sal.proto", "Transport protocol", base.DEC, PROTOS)
f.src_flow = ProtoField.uint32("sal.src_flow", "Source flow", base.HEX)
f.dst_flow = ProtoField.uint32("sal.dst_flow", "Destination flow", base.HEX)
f.flags = ProtoField.uint8("sal.flags", "Flags", base.HEX, nil, FLAGS_MASK)
f.retry = ProtoField.bool("sal.flags.retry", "Retry", 8, nil, FLAG_RETRY)
f.hops = ProtoField.uint8("sal.flags.hops", "Times resolved by hosts",
                          base.DEC, nil, FLAG_HOP_MASK)
f.path_class = ProtoField.uint8("sal.path_class", "Path class", base.DEC, nil,
                                PATH_CLASS_MASK)
f.inner = ProtoField.uint8("sal.inner", "Inner format", base.DEC, INNERS)
f.checksum = ProtoField.uint16("sal.checksum", "Header checksum", base.HEX)
f.checksum_ok = ProtoField.bool("sal.checksum.ok", "Checksum correct")
f.seq = ProtoField.uint32("sal.seq", "Sequence number")
f.ack = ProtoField.uint32("sal.ack", "Acknowledgement number")
f.nonce = ProtoField.uint64("sal.nonce", "Nonce", base.HEX)
f.service = ProtoField.bytes("sal.service", "Service ID")
f.option = ProtoField.uint8("sal.option", "Option", base.DEC, OPTIONS)
f.option_len = ProtoField.uint8("sal.option.len", "Length")
f.endpoint_id = ProtoField.bytes("sal.endpoint_id", "Endpoint ID")
f.public_key = ProtoField.bytes("sal.public_key", "Public key")
f.locator4 = ProtoField.ipv4("sal.locator4", "Locator")
f.locator6 = ProtoField.ipv6("sal.locator6", "Locator")
f.mac = ProtoField.bytes("sal.mac", "Authentication code")
f.option_value = ProtoField.bytes("sal.option.value", "Value")

local bad = ProtoExpert.new("sal.malformed", "Malformed SAL header",
                            expert.group.MALFORMED, expert.severity.ERROR)
local bad_checksum = ProtoExpert.new("sal.checksum.bad", "Bad checksum",
                                     expert.group.CHECKSUM,
                                     expert.severity.ERROR)
sal.experts = {bad, bad_checksum}

local inner_dissectors = {}

-- Field and exact length of the value of each option.
local OPTION_VALUES = {
    ENDPOINT_ID = {f.endpoint_id, 16},
    PUBLIC_KEY = {f.public_key, 32},
    LOCATOR4 = {f.locator4, 4},
    LOCATOR6 = {f.locator6, 16},
    MAC = {f.mac, 16},
}

-- RFC 1071 over the whole header, which sums to 0xffff if it is intact.
local function checksum_correct(header)
    local sum = 0
    for i = 0, header:len() - 2, 2 do
        sum = sum + header:range(i, 2):uint()
    end
    while sum > 0xffff do
        sum = (sum % 0x10000) + math.floor(sum / 0x10000)
    end
    return sum == 0xffff
end

local function add_options(options, tree)
    local i, n = 0, options:len()
    while i + 2 <= n do
        local kind = options:range(i, 1):uint()
        local len = options:range(i + 1, 1):uint()
        if OPTIONS[kind] == "PAD" then
            len = 4
        elseif len < 2 or i + len > n then
            tree:add_proto_expert_info(bad, "Option runs past the header")
            return
        end
        local node = tree:add(f.option, options:range(i, 1))
        local value = OPTION_VALUES[OPTIONS[kind]]
        if OPTIONS[kind] ~= "PAD" then
            node:add(f.option_len, options:range(i + 1, 1))
            if value and len == value[2] + 2 then
                node:add(value[1], options:range(i + 2, len - 2))
            elseif len > 2 then
                node:add(f.option_value, options:range(i + 2, len - 2))
            end
        end
        i = i + math.floor((len + 3) / 4) * 4
    end
end

local function min_len(kind)
    if TYPES[kind] == "DATA" then
        return DATA_HEADER_LEN
    elseif math.floor(kind / TYPE_SERVICE_BIT) % 2 == 1 then
        return SERVICE_HEADER_LEN
    end
    return CONTROL_HEADER_LEN
end

-- Returns the number of bytes of ours, 0 if the packet is not SAL.
function sal.dissector(buffer, pinfo, tree)
    local n = buffer:len()
    if n < DATA_HEADER_LEN then
        return 0
    end
    local version = math.floor(buffer(OFS_VERSION, 1):uint() / 16)
    local header_len = buffer(OFS_HEADER_LEN, 1):uint() * 4
    local kind = buffer(OFS_TYPE, 1):uint()
    if version ~= VERSION or TYPES[kind] == nil then
        return 0
    end
    pinfo.cols.protocol = "SAL"

    local node = tree:add(sal, buffer(0, math.min(header_len, n)),
                          "Service Access Layer, " .. TYPES[kind])
    node:add(f.version, buffer(OFS_VERSION, 1))
    node:add(f.header_len, buffer(OFS_HEADER_LEN, 1))
    node:add(f.type, buffer(OFS_TYPE, 1))
    node:add(f.proto, buffer(OFS_PROTO, 1))
    node:add(f.src_flow, buffer(OFS_SRC_FLOW, 4))
    node:add(f.dst_flow, buffer(OFS_DST_FLOW, 4))
    local flags = node:add(f.flags, buffer(OFS_FLAGS_CLASS, 1))
    flags:add(f.retry, buffer(OFS_FLAGS_CLASS, 1))
    flags:add(f.hops, buffer(OFS_FLAGS_CLASS, 1))
    node:add(f.path_class, buffer(OFS_FLAGS_CLASS, 1))
    node:add(f.inner, buffer(OFS_INNER, 1))
    node:add(f.checksum, buffer(OFS_CHECKSUM, 2))
    if header_len < min_len(kind) or header_len > n then
        node:add_proto_expert_info(bad, "Header length does not fit type or packet")
        return n
    end
    if TYPES[kind] ~= "DATA" then
        local correct = checksum_correct(buffer(0, header_len))
        node:add(f.checksum_ok, buffer(OFS_CHECKSUM, 2), correct):set_generated()
        if not correct then
            node:add_proto_expert_info(bad_checksum)
        end
        node:add(f.seq, buffer(OFS_SEQ, 4))
        node:add(f.ack, buffer(OFS_ACK, 4))
        node:add(f.nonce, buffer(OFS_NONCE, 8))
    end
    if header_len >= SERVICE_HEADER_LEN then
        node:add(f.service, buffer(OFS_SERVICE, SERVICE_ID_LEN))
    end
    if header_len > OFS_OPTIONS then
        add_options(buffer(OFS_OPTIONS, header_len - OFS_OPTIONS), node)
    end

    local inner = inner_dissectors[buffer(OFS_INNER, 1):uint()]
    if inner and n > header_len then
        inner:call(buffer(header_len):tvb(), pinfo, tree)
    end
    pinfo.cols.info:prepend("[SAL " .. TYPES[kind] .. "] ")
    return n
end

inner_dissectors[INNER_IPV4] = Dissector.get("ip")
inner_dissectors[INNER_IPV6] = Dissector.get("ipv6")
DissectorTable.get("udp.port"):add(UDP_PORT, sal)
