//! Connects to a host by its name.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};

use crate::engine::host_and_port;

/// Limit for one address, if the host has others.
const ONE_ADDRESS: Duration = Duration::from_secs(3);

/// Name and port of a host, an IPv6 address without its brackets. `port`: the default.
pub fn name_and_port(host: &str, port: u16) -> (&str, u16) {
    let (name, port) = host_and_port(host, port);
    (name.trim_matches(['[', ']']), port)
}

/// All addresses of a host. `port`: the default.
pub async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host(name_and_port(host, port)).await?.collect())
}

/// Connects to the first address that answers. All but the last share half of the request's
/// deadline, because an address may lead nowhere: typically IPv6 on a host that has no IPv6
/// route.
pub async fn connect(addresses: &[SocketAddr], deadline: Duration) -> io::Result<TcpStream> {
    let Some((last, others)) = addresses.split_last() else {
        return Err(io::Error::other("its name has no address"));
    };
    let share = deadline / 2 / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in others {
        let attempt = TcpStream::connect(address);
        if let Ok(Ok(stream)) = tokio::time::timeout(share.min(ONE_ADDRESS), attempt).await {
            return Ok(stream);
        }
    }
    TcpStream::connect(last).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;

    #[test]
    fn an_address_that_leads_nowhere_does_not_use_up_the_time_of_the_next() {
        block_on(async {
            let any = "127.0.0.1:0".parse().unwrap();
            let nowhere = tokio::net::TcpSocket::new_v4().unwrap();
            nowhere.bind(any).unwrap();
            let nowhere = nowhere.listen(1).unwrap();
            let full = nowhere.local_addr().unwrap();
            let mut waiting = Vec::new();
            // Nobody accepts connections, and the queue is full.
            let soon = Duration::from_millis(300);
            while let Ok(Ok(stream)) = tokio::time::timeout(soon, TcpStream::connect(full)).await {
                waiting.push(stream);
                assert!(waiting.len() < 100, "it is never full");
            }
            let live = tokio::net::TcpListener::bind(any).await.unwrap();
            let address = live.local_addr().unwrap();
            tokio::time::pause();
            let deadline = Duration::from_secs(20);
            let found = tokio::time::timeout(deadline, connect(&[full, address], deadline)).await;
            assert_eq!(found.unwrap().unwrap().peer_addr().unwrap(), address);
        });
    }
}
