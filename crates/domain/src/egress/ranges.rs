//! Addresses that belong to no public host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Network, prefix length.
const FORBIDDEN_V4: [([u8; 4], u32); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Within 2000::/3, the only part of IPv6 that is handed out to public hosts: protocol assignments with Teredo, documentation.
const FORBIDDEN_GLOBAL_V6: [([u16; 2], u32); 3] = [([0x2001, 0], 23), ([0x2001, 0xdb8], 32), ([0x3fff, 0], 20)];

/// Whether an address can be that of a public host. Forms that carry an IPv4 address (mapped, compatible, NAT64, 6to4)
/// are as public as what they carry.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let within = |(network, bits): &([u8; 4], u32)| (ip.to_bits() ^ u32::from_be_bytes(*network)) >> (32 - bits) == 0;
    !FORBIDDEN_V4.iter().any(within)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    if let Some(carried) = carried_v4(ip) {
        return is_public_v4(carried);
    }
    let start = u32::from(a) << 16 | u32::from(b);
    let within = |([x, y], bits): &([u16; 2], u32)| (start ^ (u32::from(*x) << 16 | u32::from(*y))) >> (32 - bits) == 0;
    a & 0xe000 == 0x2000 && !FORBIDDEN_GLOBAL_V6.iter().any(within)
}

/// `::a.b.c.d`, `::ffff:a.b.c.d`, `64:ff9b::a.b.c.d` and `2002:AABB:CCDD::`.
fn carried_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => from(high, low),
        [0x2002, high, low, ..] => from(high, low),
        _ => None,
    }
}
