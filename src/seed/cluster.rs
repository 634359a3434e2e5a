//! The topology of a live cluster, as its nodes tell it.
//!
//! A slot that is being moved is marked only at the two nodes that move it, so each master is asked; and all must tell the same.

use crate::cluster::topology::Topology;
use crate::cluster::topology::read::{topology, unreadable};
use crate::error::{ErrorKind, RdbError, Result};
use crate::net::{Address, Client, Endpoint, Options};
use crate::rdb::release::Release;
use crate::resp::Reply;

/// What a live cluster says of itself.
#[derive(Debug)]
pub struct Asked {
    /// Which node has which slots.
    pub topology: Topology,
    /// The release of the node that was named.
    pub release: Release,
    /// How many databases it has.
    pub databases: u64,
    /// How many keys there are in it: in a node's files they would be replaced.
    pub keys: u64,
}

/// Asks the cluster of which the server at `endpoint` is a node.
pub fn ask(endpoint: &Endpoint, options: &Options) -> Result<Asked> {
    let mut client = Client::connect(endpoint, options)?;
    let info = client.info()?;
    if !info.cluster {
        let what = "no node of a cluster: INFO says cluster_enabled:0";
        return Err(RdbError::other(ErrorKind::Server, what).with_file(client.name()));
    }
    let (first, _) = nodes_and_keys(&mut client, endpoint)?;
    let mut keys = 0;
    for node in first.nodes() {
        let Some((host, port)) = node.address.clone() else {
            let what = format!("CLUSTER NODES: node {node} has no address");
            return Err(RdbError::other(ErrorKind::Server, what).with_file(client.name()));
        };
        let at = endpoint.at(Address::Tcp(host, port));
        let mut other = Client::connect(&at, options)?;
        let (told, n) = nodes_and_keys(&mut other, &at)?;
        let slots = |t: &Topology| -> Vec<_> {
            t.nodes()
                .iter()
                .map(|n| (n.id.clone(), n.slots.clone()))
                .collect()
        };
        if slots(&told) != slots(&first) {
            let what = format!(
                "CLUSTER NODES: the nodes do not agree which of them has which slots ({endpoint} and {at}): wait until they do"
            );
            return Err(RdbError::other(ErrorKind::Server, what));
        }
        keys += n;
    }
    // Not everyone may ask, and only Valkey from 9.0 on has more than one.
    let reply = client.call(&[b"CONFIG", b"GET", b"cluster-databases"])?;
    let databases = reply.array().and_then(|a| a.get(1)).and_then(Reply::int);
    Ok(Asked {
        topology: first,
        release: info.release,
        databases: databases.and_then(|n| u64::try_from(n).ok()).unwrap_or(1),
        keys,
    })
}

/// What one node says.
fn nodes_and_keys(client: &mut Client, at: &Endpoint) -> Result<(Topology, u64)> {
    let host = match &at.address {
        Address::Tcp(host, _) => Some(host.as_str()),
        Address::Unix(_) => None,
    };
    let reply = client.must(&[b"CLUSTER", b"NODES"])?;
    let Some(text) = reply.bytes() else {
        return Err(unreadable("CLUSTER NODES", &reply).with_file(client.name()));
    };
    let told = topology(text, host).map_err(|e| {
        let what = format!("CLUSTER NODES: {}", e.what());
        RdbError::other(ErrorKind::Server, what).with_file(client.name())
    })?;
    let keys = client.must(&[b"DBSIZE"])?.int().unwrap_or_default();
    Ok((told, u64::try_from(keys).unwrap_or_default()))
}
