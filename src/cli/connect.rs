//! Arguments of what speaks to live servers.

use super::exit::Usage;
use clap::Args;
use rdbtool::net::{self, Endpoint, Secret, TlsOptions};
use rdbtool::replication;
use rdbtool::source::Source;
use std::path::PathBuf;

/// How to speak to servers that are named by a URL.
#[derive(Debug, Args)]
#[command(next_help_heading = "Live servers (redis://, rediss://, valkey://, valkeys://, unix://)")]
pub(crate) struct Connect {
    /// The password; better in REDISCLI_AUTH or VALKEYCLI_AUTH, where no list of processes shows it
    #[arg(short = 'a', long = "pass", value_name = "PASSWORD")]
    password: Option<String>,

    /// The user to be (ACL), if the URL names none
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// Speak TLS, though the URL does not say so
    #[arg(long)]
    tls: bool,

    /// Trust the certificates in FILE (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Trust the certificates in DIR (PEM files)
    #[arg(long, value_name = "DIR")]
    cacertdir: Option<PathBuf>,

    /// Show this certificate (PEM) to the server
    #[arg(long, value_name = "FILE", requires = "cert_key")]
    cert: Option<PathBuf>,

    /// The private key of --cert (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    cert_key: Option<PathBuf>,

    /// Believe any certificate
    #[arg(long)]
    insecure: bool,

    /// The server name to ask for, and to find in its certificate
    #[arg(long, value_name = "HOST")]
    sni: Option<String>,
}

impl Connect {
    /// What the library wants to know.
    pub(crate) fn options(&self) -> net::Options {
        net::Options {
            user: self.user.clone(),
            password: self
                .password
                .clone()
                .map(Secret::new)
                .or_else(net::password_from_env),
            tls: TlsOptions {
                enabled: self.tls,
                cacert: self.cacert.clone(),
                cacertdir: self.cacertdir.clone(),
                cert: self.cert.clone(),
                key: self.cert_key.clone(),
                insecure: self.insecure,
                sni: self.sni.clone(),
            },
            timeouts: net::Timeouts::default(),
            name: None,
        }
    }

    /// A copy of what a live server holds, as a replica gets it.
    pub(crate) fn source(&self, endpoint: &Endpoint) -> anyhow::Result<rdbtool::Result<Source>> {
        if endpoint.db.is_some() {
            let text = format!("{endpoint}: a copy is of all databases; --db picks some of them");
            return Err(Usage(text).into());
        }
        let options = replication::Options {
            net: self.options(),
            ..replication::Options::default()
        };
        Ok(replication::source(endpoint, &options).map(|(_, source)| source))
    }
}

/// Reads a URL. What it says of who to be is not shown.
pub(crate) fn endpoint(url: &str) -> anyhow::Result<Endpoint> {
    Endpoint::parse(url).map_err(|e| Usage(format!("the URL of a server: {e}")).into())
}
