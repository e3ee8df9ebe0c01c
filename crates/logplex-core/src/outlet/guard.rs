//! Which addresses may be connected to, so that a drain's URL cannot reach what its owner could not.
//!
//! The check is made on the address that is then connected to: there is no second look-up that could give
//! another one. IPv6 forms that carry an IPv4 address are unwrapped first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A rule on addresses. What no log endpoint has (unspecified, link-local, multicast, broadcast, the
/// metadata services of clouds) is refused by every guard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressGuard {
    /// Loopback and private networks too: for who chooses the endpoints himself.
    #[default]
    Any,
    /// Only addresses of the public internet: for endpoints that strangers choose.
    PublicOnly,
}

/// An address that the guard refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {kind} and may not be connected to")]
pub struct Forbidden {
    address: IpAddr,
    kind: &'static str,
}

impl AddressGuard {
    /// Checks one address.
    ///
    /// # Errors
    ///
    /// When the guard refuses it; the error names the address and its kind.
    pub fn check(self, address: IpAddr) -> Result<(), Forbidden> {
        // Both the carrier and what it carries are judged: a form such as `::ffff:169.254.169.254` reaches
        // the IPv4 address, and a translator's own prefix may be private.
        let carried = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => carried(address).map(IpAddr::V4),
        };
        let refused =
            [Some(address), carried].into_iter().flatten().find_map(|address| self.refusal(address));
        refused.map_or(Ok(()), |kind| Err(Forbidden { address, kind }))
    }

    fn refusal(self, address: IpAddr) -> Option<&'static str> {
        let never = match address {
            IpAddr::V4(address) => never_v4(address),
            IpAddr::V6(address) => never_v6(address),
        };
        never.or_else(|| match (self, address) {
            (AddressGuard::Any, _) => None,
            (AddressGuard::PublicOnly, IpAddr::V4(address)) => not_public_v4(address),
            (AddressGuard::PublicOnly, IpAddr::V6(address)) => not_public_v6(address),
        })
    }
}

/// Where clouds answer their machines with credentials: Alibaba, Oracle, Azure; Amazon's and Google's IPv4
/// address, 169.254.169.254, is link-local.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];

/// Amazon's and Google's IPv6 metadata addresses.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

fn never_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("unspecified"),
        [169, 254, ..] => Some("link-local"),
        [224..=239, ..] => Some("multicast"),
        [255, 255, 255, 255] => Some("broadcast"),
        _ if METADATA_V4.contains(&address) => Some("a cloud's metadata service"),
        _ => None,
    }
}

fn never_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        _ if METADATA_V6.contains(&address) => Some("a cloud's metadata service"),
        _ => None,
    }
}

fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [127, ..] => Some("loopback"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private"),
        [100, 64..=127, ..] => Some("shared by a carrier"),
        [192, 0, 0 | 2, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] | [240..=255, ..] => {
            Some("reserved")
        }
        _ => None,
    }
}

fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Some("private"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] | [0x100, 0, 0, 0, ..] => Some("reserved"),
        _ => None,
    }
}

/// The IPv4 address that an IPv6 address stands for.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // `::` and `::1` are not IPv4-compatible addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Mapped, compatible, translated (RFC 2765), NAT64 (RFC 6052) and its local prefix (RFC 8215).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low] => Some(join(high, low)),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(join(high, low)),
        // Teredo (RFC 4380) inverts the client's address.
        [0x2001, 0, _, _, _, _, high, low] => Some(join(!high, !low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses, whether `Any` takes them, whether `PublicOnly` does.
    const TABLE: &[(&str, bool, bool)] = &[
        ("93.184.216.34", true, true),
        ("172.15.255.255", true, true),
        ("172.32.0.1", true, true),
        ("100.63.255.255", true, true),
        ("100.128.0.1", true, true),
        ("11.0.0.1", true, true),
        ("2606:2800:220:1::1", true, true),
        ("::ffff:93.184.216.34", true, true),
        ("64:ff9b::5db8:d822", true, true),
        ("2002:5db8:d822::1", true, true),
        ("127.0.0.1", true, false),
        ("127.255.255.255", true, false),
        ("10.1.2.3", true, false),
        ("172.16.0.1", true, false),
        ("172.31.255.255", true, false),
        ("192.168.1.1", true, false),
        ("100.64.0.1", true, false),
        ("198.18.0.1", true, false),
        ("240.0.0.1", true, false),
        ("::1", true, false),
        ("fc00::1", true, false),
        ("fdff::1", true, false),
        ("::ffff:127.0.0.1", true, false),
        ("::ffff:10.0.0.1", true, false),
        ("::127.0.0.1", true, false),
        ("64:ff9b::a00:1", true, false),
        ("64:ff9b:1::5db8:d822", true, false),
        ("2002:a00:1::1", true, false),
        ("2001:0:1:2:3:4:80ff:fffe", true, false),
        ("0.0.0.0", false, false),
        ("0.1.2.3", false, false),
        ("169.254.169.254", false, false),
        ("169.254.0.1", false, false),
        ("224.0.0.1", false, false),
        ("239.255.255.255", false, false),
        ("255.255.255.255", false, false),
        ("100.100.100.200", false, false),
        ("192.0.0.192", false, false),
        ("168.63.129.16", false, false),
        ("::", false, false),
        ("fe80::1", false, false),
        ("febf::1", false, false),
        ("ff02::1", false, false),
        ("fd00:ec2::254", false, false),
        ("fd20:ce::254", false, false),
        ("::ffff:169.254.169.254", false, false),
        ("::ffff:0.0.0.0", false, false),
        ("::169.254.169.254", false, false),
        ("::ffff:0:169.254.169.254", false, false),
        ("64:ff9b::a9fe:a9fe", false, false),
        ("64:ff9b:1::a9fe:a9fe", false, false),
        ("2002:a9fe:a9fe::1", false, false),
        ("2001:0:1:2:3:4:5601:5601", false, false),
    ];

    #[test]
    fn each_address_is_taken_or_refused_by_its_meaning() {
        for &(text, any, public) in TABLE {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(AddressGuard::Any.check(address).is_ok(), any, "any: {text}");
            assert_eq!(AddressGuard::PublicOnly.check(address).is_ok(), public, "public only: {text}");
        }
    }

    #[test]
    fn a_refusal_says_what_and_why() {
        let error = AddressGuard::Any.check("::ffff:169.254.169.254".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "::ffff:169.254.169.254 is link-local and may not be connected to");
    }
}
