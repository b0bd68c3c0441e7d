//! The address of a PostgreSQL database: `postgres://user:password@host:5432/database?sslmode=verify-full&sslrootcert=FILE`.

use std::fmt;
use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// A PostgreSQL database, and how to get in. Neither `Debug` nor `Display` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    connection: Config,
    authorities_file: Option<PathBuf>,
}

impl DatabaseUrl {
    /// Whether a text is meant to be one.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| text.starts_with(scheme))
    }

    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, in words that quote nothing of it: any part may be one of a password that was not encoded.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !Self::is_meant(text) {
            return Err("it must begin with postgres://");
        }
        // A password may have a question mark.
        let host = text.find('@').unwrap_or(0);
        let address_length = text[host..].find('?').map_or(text.len(), |place| host + place);
        let (address, query) = text.split_at(address_length);
        let query = query.trim_start_matches('?');
        let (mut mode, mut authorities_file, mut rest) = (None, None, Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => authorities_file = Some(PathBuf::from(decode(value)?)),
                _ => rest.push(parameter),
            }
        }
        let mut connection: Config = format!("{address}?{}", rest.join("&")).parse().map_err(|_| {
            "it has a part that is not understood; characters such as @ : / ? # % in a password are written %40 and so on"
        })?;
        if connection.get_hosts().is_empty() {
            return Err("it names no host");
        }
        connection.ssl_mode(match (mode, &authorities_file) {
            (None | Some("disable"), None) => SslMode::Disable,
            (Some("verify-full"), Some(_)) => SslMode::Require,
            (Some("verify-full"), None) => {
                return Err("sslmode=verify-full needs sslrootcert, a PEM file of the authorities to trust");
            }
            (None | Some("disable"), Some(_)) => {
                return Err("sslrootcert is for sslmode=verify-full");
            }
            _ => {
                return Err(
                    "sslmode must be disable or verify-full: the others do not make sure of the server",
                );
            }
        });
        Ok(Self { connection, authorities_file })
    }

    /// What to connect with.
    #[must_use]
    pub fn connection(&self) -> &Config {
        &self.connection
    }

    /// The PEM file of the authorities that the server's certificate must come from; `None`: no TLS.
    #[must_use]
    pub fn authorities_file(&self) -> Option<&Path> {
        self.authorities_file.as_deref()
    }
}

/// Percent-decodes; every PostgreSQL client reads addresses so.
fn decode(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "sslrootcert is not encoded well";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (high, low) = (digit().ok_or(WRONG)?, digit().ok_or(WRONG)?);
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| WRONG)?);
    }
    String::from_utf8(bytes).map_err(|_| WRONG)
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(SCHEMES[0])?;
        if let Some(user) = self.connection.get_user() {
            write!(formatter, "{user}@")?;
        }
        for (number, host) in self.connection.get_hosts().iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(formatter, "{comma}{name}")?,
                #[cfg(unix)]
                Host::Unix(folder) => write!(formatter, "{comma}{}", folder.display())?,
            }
            let ports = self.connection.get_ports();
            if let Some(port) = ports.get(number).or(ports.first()) {
                write!(formatter, ":{port}")?;
            }
        }
        match self.connection.get_dbname() {
            Some(database) => write!(formatter, "/{database}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::DatabaseUrl;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (text, shown) in [
            ("postgres://chat:hunter2@db.example:6432/rooms", "postgres://chat@db.example:6432/rooms"),
            ("postgresql://chat:hunter2@one:1,two:2/rooms", "postgres://chat@one:1,two:2/rooms"),
            (
                "postgres://chat@%2Frun%2Fpostgresql/rooms?connect_timeout=3",
                "postgres://chat@/run/postgresql:5432/rooms",
            ),
        ] {
            let url = DatabaseUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), format!("{url:?}").as_str()), (shown, shown));
        }
    }

    #[test]
    fn tls_is_on_with_a_certain_server_or_off() {
        let authorities =
            |text: &str| DatabaseUrl::parse(text).map(|url| url.authorities_file().map(Path::to_owned));
        let url = "postgres://chat@db/rooms";
        assert_eq!(authorities(url), Ok(None));
        assert_eq!(authorities(&format!("{url}?sslmode=disable")), Ok(None));
        let verified = authorities(&format!("{url}?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem"));
        assert_eq!(verified, Ok(Some("/etc/ca.pem".into())));
        for (query, reason) in [
            ("sslmode=require", "must be disable or verify-full"),
            ("sslmode=prefer", "must be disable or verify-full"),
            ("sslmode=verify-full", "needs sslrootcert"),
            ("sslrootcert=ca.pem", "is for sslmode=verify-full"),
            ("sslmode=verify-full&sslrootcert=%2", "not encoded well"),
        ] {
            let refused = authorities(&format!("{url}?{query}")).unwrap_err();
            assert!(refused.contains(reason), "{query}: {refused}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_quoting_it() {
        for text in [
            "postgres://",
            "postgres:///rooms",
            "postgres://chat:hunter2@db?port=hunter2",
            "mysql://chat:hunter2@db",
        ] {
            assert!(!DatabaseUrl::parse(text).unwrap_err().contains("hunter2"), "{text}");
        }
        for (query, outcome) in [("", None), ("?sslmode=require", Some("must be disable or verify-full"))] {
            let url = DatabaseUrl::parse(&format!("postgres://chat:hunter?2@db/rooms{query}"));
            let refusal = url.as_ref().err().map(|refusal| refusal.contains(outcome.unwrap_or("nothing")));
            assert_eq!(refusal, outcome.map(|_| true), "{url:?}");
        }
    }
}
