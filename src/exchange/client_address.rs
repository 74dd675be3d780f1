//! The client's address behind proxies (S3.6): the last hop of `X-Forwarded-For` that no trusted proxy
//! vouches for. An untrusted peer can put any text into that header, so its own address counts.

use std::net::IpAddr;

use super::client::ClientInfo;
use crate::base::Network;

/// `None`: the connection has no address.
#[must_use]
pub fn client_address(client: &ClientInfo, trusted: &[Network]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut known = client.peer?.to_canonical();
    for hop in client.forwarded.iter().rev().flat_map(|line| line.rsplit(',')) {
        if !is_trusted(known) {
            break;
        }
        match without_port(hop.trim()).parse::<IpAddr>() {
            Ok(address) => known = address.to_canonical(),
            // Nothing before a hop that is no address can be trusted.
            Err(_) => break,
        }
    }
    Some(known)
}

/// An address without the brackets and the port that some proxies write.
fn without_port(hop: &str) -> &str {
    match hop.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => {
            hop.split_once(':').filter(|(_, port)| !port.contains(':')).map_or(hop, |(address, _)| address)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_last_without_a_trusted_proxy() {
        let trusted: Vec<Network> = ["10.0.0.0/8", "::1"].map(|text| text.parse().unwrap()).into();
        for (peer, lines, wanted) in [
            ("9.9.9.9", &["1.1.1.1"][..], "9.9.9.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.2.2.2"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6, 1.1.1.1", "10.2.2.2"], "1.1.1.1"),
            ("10.0.0.1", &["10.3.3.3"], "10.3.3.3"),
            ("10.0.0.1", &["1.1.1.1, rubbish"], "10.0.0.1"),
            ("::1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["1.1.1.1:80"], "1.1.1.1"),
            ("::1", &["2001:db8::1"], "2001:db8::1"),
        ] {
            let client = ClientInfo {
                peer: peer.parse().ok(),
                forwarded: lines.iter().map(|line| Box::from(*line)).collect(),
                ..ClientInfo::default()
            };
            assert_eq!(client_address(&client, &trusted), wanted.parse().ok(), "{peer} {lines:?}");
        }
        assert_eq!(client_address(&ClientInfo::default(), &trusted), None);
    }
}
